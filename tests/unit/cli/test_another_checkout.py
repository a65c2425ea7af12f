"""Whoever stands in one checkout and calls another's `govcloud` is given that one's code from beginning to end."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from workstation import paths, subprocesses


def test_the_current_directory_gives_no_code(tmp_path: Path) -> None:
    for package in ("cli", "estate"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('the code of the current directory')\n")
    done = subprocess.run(
        subprocesses.python_module("cli", "estate", "check"),
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(paths.repo())}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_every_command_of_ours_is_started_so() -> None:
    folders = ("cli", "stacks", "lab", "failover", "playbooks", "monitors")
    bare = [
        str(file)
        for folder in folders
        for file in (paths.repo() / folder).rglob("*.py")
        if 'sys.executable, "-m"' in file.read_text(encoding="utf-8")
    ]
    assert not bare
