"""Shared by all unit tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The operator's home directory, which does not exist yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("GOVCLOUD_HOME", str(folder))
    return folder


@pytest.fixture
def no_root() -> Iterator[None]:
    """Give up root for the test, because root may read everything."""
    own, unprivileged = os.geteuid(), 65534
    os.seteuid(own or unprivileged)
    yield
    os.seteuid(own)
