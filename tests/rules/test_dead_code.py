"""Vulture finds no dead code, and pyproject.toml excuses only names that need it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Sequence
from fnmatch import fnmatchcase

import pytest
from vulture import Vulture

from workstation import paths

TOOLS = tomllib.loads((paths.repo() / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
SETTINGS = TOOLS["vulture"]


def unused(monkeypatch: pytest.MonkeyPatch, *, ignore_names: Sequence[str]) -> dict[str, str]:
    """Return the names of unused code with their places."""
    monkeypatch.chdir(paths.repo())
    search = Vulture(ignore_names=ignore_names, ignore_decorators=SETTINGS["ignore_decorators"])
    search.scavenge(SETTINGS["paths"])
    found = search.get_unused_code(min_confidence=SETTINGS["min_confidence"])
    return {item.name: f"{os.path.relpath(item.filename)}:{item.first_lineno} {item.name}" for item in found}


def test_dead_code_and_coverage_read_every_package() -> None:
    """A new package is in their lists, too."""
    packages = {*TOOLS["importlinter"]["root_packages"], "services"}
    assert set(SETTINGS["paths"]) == set(TOOLS["coverage"]["run"]["source"]) == packages


def test_no_code_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the code, or excuse its name in pyproject.toml with a reason. `make deadcode` prints the same."""
    assert list(unused(monkeypatch, ignore_names=SETTINGS["ignore_names"]).values()) == []


def test_every_excused_name_would_be_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old excuse would hide dead code of the same name."""
    names = unused(monkeypatch, ignore_names=())
    assert [one for one in SETTINGS["ignore_names"] if not any(fnmatchcase(name, one) for name in names)] == []
