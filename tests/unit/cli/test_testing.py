"""Which tests share the machine, and which have it to themselves."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from cli.testing import ALONE, FOLDERS, Scope, parts, tree
from tests.conftest import ONE_AT_A_TIME
from workstation import paths


@pytest.mark.parametrize("scope", [Scope.LAB, Scope.ALL])
def test_what_measures_times_comes_after_all_others_and_runs_alone(scope: Scope) -> None:
    """Its run names those folders only and has one process; the run before it leaves them out."""
    shared, alone = parts(FOLDERS[scope])
    assert alone == list(ALONE)
    assert [word for word in shared if word.startswith("--ignore=")] == [f"--ignore={folder}" for folder in ALONE]
    assert not set(ALONE) & set(shared)


@pytest.mark.parametrize("scope", [Scope.UNIT, Scope.RULES])
def test_quick_tests_have_one_run(scope: Scope) -> None:
    """Nothing comes after them."""
    assert len(parts(FOLDERS[scope])) == 1


@pytest.mark.parametrize("folder", [*ALONE, *ONE_AT_A_TIME])
def test_each_folder_that_is_named_is_there(folder: str) -> None:
    """A name that leads nowhere would protect nothing."""
    assert sorted((paths.repo() / folder).glob("test_*.py"))


@pytest.mark.parametrize("folder", ONE_AT_A_TIME)
def test_files_that_want_the_same_machines_are_in_one_process(request: pytest.FixtureRequest, folder: str) -> None:
    """As far as this run has collected them: each of their tests is in the folder's group."""
    found = [item for item in request.session.items if f"/{folder}/" in item.path.as_posix()]
    assert {mark.args for item in found for mark in item.iter_markers("xdist_group")} <= {(folder,)}
    own = request.node.get_closest_marker("xdist_group")
    assert own.args == ("tests/unit/cli/test_testing.py",)


def test_a_file_that_git_ignores_is_seen_in_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytecode and caches that a test leaves behind are what is ignored most."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    monkeypatch.setattr("cli.testing.paths.repo", lambda: tmp_path)
    before = tree()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "left.pyc").write_bytes(b"")
    assert tree() != before
