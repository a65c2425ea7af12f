"""Vulture finds no dead code, and pyproject.toml excuses only names that need it."""

from __future__ import annotations

import contextlib
import os
import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase

import pytest
from vulture import Vulture

from workstation import paths

TOOLS = tomllib.loads((paths.repo() / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
SETTINGS = TOOLS["vulture"]


@pytest.fixture(scope="module")
def unused() -> Mapping[str, str]:
    """Each place of unused code with its name, without any excuse."""
    with contextlib.chdir(paths.repo()):
        search = Vulture(ignore_decorators=SETTINGS["ignore_decorators"])
        search.scavenge(SETTINGS["paths"])
        found = search.get_unused_code(min_confidence=SETTINGS["min_confidence"])
        return {f"{os.path.relpath(item.filename)}:{item.first_lineno} {item.name}": item.name for item in found}


def test_dead_code_and_coverage_read_every_package() -> None:
    """A new package is in their lists, too."""
    packages = {*TOOLS["importlinter"]["root_packages"], "services"}
    assert set(SETTINGS["paths"]) == set(TOOLS["coverage"]["run"]["source"]) == packages


def test_no_code_is_dead(unused: Mapping[str, str]) -> None:
    """Remove the code, or excuse its name in pyproject.toml with a reason. `make deadcode` prints the same."""
    excused = SETTINGS["ignore_names"]
    assert [place for place, name in unused.items() if not any(fnmatchcase(name, one) for one in excused)] == []


def test_every_excused_name_would_be_reported(unused: Mapping[str, str]) -> None:
    """An old excuse would hide dead code of the same name."""
    names = set(unused.values())
    assert [one for one in SETTINGS["ignore_names"] if not any(fnmatchcase(name, one) for name in names)] == []
