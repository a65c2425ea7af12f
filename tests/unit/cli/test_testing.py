"""Tests of `govcloud test`: its runs, the sharing of the machine, the second attempt and the slowest tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.testing import A_FEW, DURATIONS, PARTS, TIMED, Scope, run_part, runs, slowest, tree
from tests.conftest import ONE_AT_A_TIME, share_of
from workstation import paths
from workstation.errors import WrongUse


@pytest.mark.parametrize("scope", [Scope.LAB, Scope.SHORT])
def test_timed_tests_run_alone_after_all_others_and_the_lab_at_the_end(scope: Scope) -> None:
    """The first run ignores their folders. The other runs have one process."""
    shared, timed, lab = (run.arguments() for run in runs(scope))
    assert lab == ["tests/lab"]
    assert timed == [*TIMED]
    assert [word for word in shared if word.startswith("--ignore=")] == [f"--ignore={folder}" for folder in TIMED]
    assert not set(TIMED) & set(shared)


@pytest.mark.parametrize("scope", [Scope.UNIT, Scope.RULES])
def test_quick_tests_have_one_run(scope: Scope) -> None:
    """The unit tests and the rules need no run that follows."""
    assert len(runs(scope)) == 1


def test_the_nightly_tests_run_in_parts_or_all_together() -> None:
    """Without --part, all parts run in order."""
    parts = [runs(Scope.NIGHTLY, number) for number in range(1, len(PARTS) + 1)]
    assert tuple(run for part in parts for run in part) == runs(Scope.NIGHTLY)


@pytest.mark.parametrize(("scope", "part"), [(Scope.NIGHTLY, 0), (Scope.NIGHTLY, len(PARTS) + 1), (Scope.SHORT, 1)])
def test_a_part_that_does_not_exist_is_wrong_use(scope: Scope, part: int) -> None:
    """The message names the parts that exist, or the tier that has parts."""
    with pytest.raises(WrongUse) as refused:
        runs(scope, part)
    assert "part" in str(refused.value)


@pytest.mark.parametrize("path", [*TIMED, *ONE_AT_A_TIME])
def test_each_named_folder_or_file_exists(path: str) -> None:
    """A wrong name would protect no test."""
    found = paths.repo() / path
    assert found.is_file() or sorted(found.glob("test_*.py"))


def test_tests_that_share_fixtures_run_in_one_process() -> None:
    """The tests of a file always share them. The tests of a folder do if all its files use the same machines."""
    one, other = (
        "tests/integration/clusters/test_cluster.py::test_a",
        "tests/integration/clusters/test_upgrade.py::test_b",
    )
    assert share_of(one) == share_of(other) == "tests/integration/clusters"
    assert share_of("tests/unit/cli/test_demo.py::test_a[x::y]") == "tests/unit/cli/test_demo.py"


def test_a_file_is_never_divided_among_processes(tmp_path: Path) -> None:
    """In a run of two processes with our own scheduler, all tests of a file record the same process."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_xdist_make_scheduler\n")
    for name in ("a", "b", "c", "d"):
        (tmp_path / f"test_{name}.py").write_text(RECORDING)
    parallel = ["-n", "2", "--dist", "loadscope", "--no-loadscope-reorder"]
    argv = [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), "-p", "no:cacheprovider", *parallel, "."]
    own = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    subprocess.run(argv, cwd=tmp_path, env={**own, "PYTHONPATH": str(paths.repo())}, check=True)
    recorded = [path.name.split(".") for path in (tmp_path / "recorded").iterdir()]
    assert len(recorded) == 4 * 5
    assert all(
        len({worker for file, worker, _ in recorded if file == name}) == 1 for name in {file for file, _, _ in recorded}
    )


RECORDING = """
import pathlib, pytest

@pytest.mark.parametrize("n", range(5))
def test_that_records_its_process(n, worker_id):
    folder = pathlib.Path(__file__).parent / "recorded"
    folder.mkdir(exist_ok=True)
    (folder / f"{pathlib.Path(__file__).stem}.{worker_id}.{n}").touch()
"""


@pytest.mark.skipif(DURATIONS not in os.environ, reason="`./govcloud test` did not start these tests")
def test_processes_of_the_tests_keep_compiled_modules() -> None:
    """Otherwise each process that a test starts would compile all libraries again, which most tests would wait for."""
    assert sys.pycache_prefix == str(paths.bytecode())
    assert not sys.dont_write_bytecode


def test_ignored_files_count_as_changes_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most files that a test leaves behind are bytecode and caches, and git ignores these."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    monkeypatch.setattr("cli.testing.paths.repo", lambda: tmp_path)
    before = tree()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "left.pyc").write_bytes(b"")
    assert tree() != before


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """Run one file of tests like `test unit`: in parallel, then failed tests alone."""
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_sessionfinish, pytest_xdist_make_scheduler\n", encoding="utf-8"
    )
    for name in [name for name in os.environ if name.startswith(("PYTEST", "GOVCLOUD_TESTS"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("cli.testing.paths.repo", lambda: tmp_path)
    monkeypatch.setattr("cli.testing.subprocesses.python_module", lambda *words: [sys.executable, "-m", *words])

    def run(text: str) -> int:
        (tmp_path / "test_it.py").write_text(text, encoding="utf-8")
        here = ["--rootdir", str(tmp_path), "-p", "no:cacheprovider", "-n", "2", "--dist", "loadscope", "test_it.py"]
        return run_part(here, {**os.environ, "PYTHONPATH": str(paths_of_the_project)})

    paths_of_the_project = Path(__file__).parents[3]
    return run


FAILS_NEXT_TO_OTHERS = """
import os, pytest

@pytest.mark.parametrize("n", range({failing}))
def test_that_needs_the_machine(n):
    assert "PYTEST_XDIST_WORKER" not in os.environ

def test_that_passes():
    pass
"""


def test_a_test_that_fails_next_to_others_and_passes_alone_is_reported(
    suite: Callable[[str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is reported by name as unsteady. The run succeeds, but the report shows that there was a problem."""
    assert suite(FAILS_NEXT_TO_OTHERS.format(failing=2)) == 0
    reported = [line for line in capsys.readouterr().err.splitlines() if "unsteady" in line]
    assert [f"test_that_needs_the_machine[{n}] failed" in line for n, line in enumerate(reported)] == [True, True]


def test_a_test_that_also_fails_alone_fails_the_run(suite: Callable[[str], int]) -> None:
    """A second attempt hides no defect."""
    assert suite("def test_fault():\n    assert False\n") == 1


def test_many_failures_get_no_second_attempt(suite: Callable[[str], int]) -> None:
    """A lack of processor time does not cause so many failures."""
    assert suite(FAILS_NEXT_TO_OTHERS.format(failing=A_FEW + 1)) == 1


def test_the_slowest_tests_of_all_runs_are_named_with_the_total_time(tmp_path: Path) -> None:
    """The total time starts with the command, so a later run's total includes the earlier runs."""
    file = tmp_path / "durations"
    file.write_text(f"{time.time() - 60}\n" + "".join(f"{n}.5 tests/test_a.py::test_{n}[x y]\n" for n in range(12)))
    total, tests = slowest(file)
    assert 60 <= total < 70
    assert [name for _, name in tests] == [f"tests/test_a.py::test_{n}[x y]" for n in range(11, 1, -1)]


def test_a_run_ends_with_its_slowest_tests_and_pytests_summary_line(tmp_path: Path) -> None:
    """The time of a fixture counts for the first test that uses it."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_terminal_summary\n")
    (tmp_path / "test_a.py").write_text("def test_one():\n    pass\n")
    file = tmp_path / "durations"
    file.write_text(f"{time.time()}\n7.0 tests/lab/test_slow.py::test_before\n")
    own = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    argv = [sys.executable, "-m", "pytest", "--rootdir", str(tmp_path), "-p", "no:cacheprovider", "test_a.py"]
    done = subprocess.run(
        argv, cwd=tmp_path, env={**own, "PYTHONPATH": str(paths.repo()), DURATIONS: str(file)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    *_, total, last = done.stdout.splitlines()
    assert "test_slow.py::test_before" in done.stdout
    assert "test_a.py::test_one" in done.stdout
    assert total.startswith("total time: ")
    assert "1 passed" in last
