"""A call of another checkout's `govcloud` runs only that checkout's code, not code of the current directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from workstation import paths, subprocesses


def test_no_code_is_imported_from_the_current_directory(tmp_path: Path) -> None:
    for package in ("cli", "estate"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('the code of the current directory')\n")
    done = subprocess.run(
        subprocesses.python_module("cli", "estate", "check"),
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(paths.repo())}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_every_start_of_a_command_uses_the_safe_form() -> None:
    folders = ("cli", "operations", "stacks", "lab", "failover", "playbooks", "monitors")
    bare = [
        str(file)
        for folder in folders
        for file in (paths.repo() / folder).rglob("*.py")
        if 'sys.executable, "-m"' in file.read_text(encoding="utf-8")
    ]
    assert not bare
