"""Shared by all unit tests."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's home directory, which does not exist yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("GOVCLOUD_HOME", str(folder))
    return folder
