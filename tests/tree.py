"""The checkout, as git sees it: noted before the first test, compared after the last."""

from __future__ import annotations

import subprocess

import pytest

from workstation import paths

TREE = pytest.StashKey[str]()
"""What `git status` said before the first test."""


def tree() -> str:
    """Every file of the checkout that is changed or new, as `git status` has it; empty outside of a repository."""
    argv = ["git", "status", "--porcelain", "--untracked-files=all"]
    return subprocess.run(argv, cwd=paths.repo(), capture_output=True, text=True, check=False).stdout
