"""Tests that run in a process of their own, beside others: all is told once, and nothing stays behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import beside
from tests.waiting import until
from workstation import paths

LONG_S = 300.0
"""A full machine is slow; a hang is for ever."""
CONFTEST = """
from tests import beside

def pytest_configure(config):
    beside.register(config)
"""
WAITING = """
import os, time
from pathlib import Path
import pytest

HERE = Path(__file__).parent

@pytest.fixture(scope="module")
def started():
    (HERE / "began").write_text(str(os.getppid()))
    yield
    (HERE / "ended").touch()

def test_waits(started):
    deadline = time.monotonic() + 300
    while (HERE / "wait").exists() and time.monotonic() < deadline:
        time.sleep(0.05)

def test_fails():
    print("what it said")
    assert 1 == 2

@pytest.mark.parametrize("text", ["a b", "c::d"])
def test_is_skipped(text):
    pytest.skip("the reason")

def test_may_die():
    if (HERE / "die").exists():
        os._exit(3)

def test_is_last(started):
    assert not os.environ.get("GOVCLOUD_TESTS_PIPE")
"""
OTHER = """
import os
from pathlib import Path

def test_runs_meanwhile():
    beside = Path(__file__).parents[1] / "integration/data"
    assert (beside / "began").read_text() == str(os.getpid())
    (beside / "wait").unlink()
"""
OTHER_BEGINS = """
import time
from pathlib import Path

def test_waits_for_it():
    deadline = time.monotonic() + 300
    while not (Path(__file__).parents[1] / "integration/data/began").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small project with a folder whose tests run beside; the folder."""
    folder = tmp_path / "tests" / "integration" / "data"
    files = {
        folder / "test_waiting.py": WAITING,
        tmp_path / "tests" / "a" / "test_a.py": OTHER_BEGINS,
        tmp_path / "tests" / "a" / "test_b.py": OTHER,
        tmp_path / "conftest.py": CONFTEST,
        tmp_path / "pytest.ini": "[pytest]\naddopts = --import-mode=importlib -p no:cacheprovider\n",
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "wait").touch()
    return folder


def started(tree: Path, *options: str) -> subprocess.Popen[str]:
    """A run of the small project."""
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "-v", *options], cwd=tree.parents[2], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(paths.repo()), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip


def test_each_test_is_told_at_its_place_and_counted_once(tree: Path) -> None:
    """The folder's tests run while others do: one of these ends what one of those waits for."""
    said = started(tree).communicate(timeout=LONG_S)[0]
    told = re.findall(r"(test_\w+)(?:\[[^]]*\])? (PASSED|FAILED|SKIPPED)", said)
    assert told == [
        ("test_waits_for_it", "PASSED"),
        ("test_runs_meanwhile", "PASSED"),
        ("test_waits", "PASSED"),
        ("test_fails", "FAILED"),
        ("test_is_skipped", "SKIPPED"),
        ("test_is_skipped", "SKIPPED"),
        ("test_may_die", "PASSED"),
        ("test_is_last", "PASSED"),
    ], said
    assert "what it said" in said
    assert "1 failed, 5 passed, 2 skipped" in said.splitlines()[-1]
    assert (tree / "ended").exists()


def test_what_a_dead_process_leaves_undone_has_failed(tree: Path) -> None:
    """With what it said last."""
    (tree / "die").touch()
    said = started(tree).communicate(timeout=LONG_S)[0]
    assert "3 failed, 3 passed, 2 skipped" in said.splitlines()[-1]
    assert "its process ended (3) before it" in said


def test_alone_it_runs_here(tree: Path) -> None:
    """There is nothing to be beside of."""
    (tree / "wait").unlink()
    process = started(tree, "-k", "is_last")
    said = process.communicate(timeout=LONG_S)[0]
    assert "1 passed" in said
    assert (tree / "began").read_text() == str(os.getpid())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_however_a_run_ends_what_is_beside_takes_down_what_it_started(tree: Path, number: signal.Signals) -> None:
    """Also when nobody is left to tell it."""
    (tree.parents[1] / "a" / "test_b.py").unlink()
    process = started(tree)
    until("it has begun", (tree / "began").exists, LONG_S)
    process.send_signal(number)
    process.communicate(timeout=LONG_S)
    until("it has ended", (tree / "ended").exists, LONG_S)


def test_the_folders_are_there() -> None:
    """A folder that was renamed would silently run alone."""
    for folder in beside.PRIORITY:
        assert list((paths.repo() / folder).glob("test_*.py")), folder
        assert beside.folder_of(paths.repo() / folder / "test_any.py") == folder
