"""`python` starts the environment's interpreter with this checkout, and leaves all arguments to it."""

from __future__ import annotations

import subprocess
import sys

from tests import bytecode
from workstation import paths

PROGRAM = "import cli, sys; print(sys.executable, sys.flags.safe_path, sys.argv[1:], cli.__file__); sys.exit(7)"


def test_arguments_and_exit_code_are_pythons_own() -> None:
    argv = [sys.executable, "-P", "-m", "cli", "python", "-c", PROGRAM, "--json", "-k", "name", "--help"]
    env = {"PYTHONPATH": str(paths.repo()), "PATH": "/usr/bin:/bin", **bytecode.VARIABLES}
    done = subprocess.run(argv, cwd="/", env=env, capture_output=True, text=True, check=False)
    expected = f"{sys.executable} True ['--json', '-k', 'name', '--help'] {paths.repo() / 'cli' / '__init__.py'}"
    assert (done.returncode, done.stdout.strip(), done.stderr) == (7, expected, "")
