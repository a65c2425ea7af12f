"""What tests share for the whole session is gone before the lab's first test."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from workstation import paths

SHARED = """
import pathlib, pytest
LOG = pathlib.Path(__file__).parent / "log"

def note(word):
    LOG.write_text(f"{LOG.read_text() if LOG.exists() else ''}{word}\\n")

@pytest.fixture(scope="session")
def server():
    note("begins")
    yield
    note("ends")
"""


def test_a_shared_server_ends_before_the_lab_begins(tmp_path: Path) -> None:
    """It serves all tests before and none of the lab's; every test is told once."""
    tests = tmp_path / "tests"
    for name, text in {
        "integration/test_a.py": "def test_first(server): pass\ndef test_second(server): pass\n",
        "lab/test_b.py": "from shared import note\ndef test_lab(): note('lab')\ndef test_again(): note('lab')\n",
    }.items():
        (tests / name).parent.mkdir(parents=True)
        (tests / name).write_text(text)
    for name in ("conftest.py", "tree.py"):
        shutil.copy(paths.repo() / "tests" / name, tests / name)
    (tmp_path / "shared.py").write_text(SHARED)
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "shared", "-p", "no:cacheprovider", "--import-mode=importlib"]
    ran = subprocess.run(
        [*argv, "tests/integration", "tests/lab"], cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path}:{paths.repo()}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "4 passed" in ran.stdout, ran.stdout + ran.stderr
    assert (tmp_path / "log").read_text().split() == ["begins", "ends", "lab", "lab"]
