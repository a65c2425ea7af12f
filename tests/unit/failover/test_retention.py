"""Reports are kept for ever, raw data only for the newest runs."""

from __future__ import annotations

from pathlib import Path

from failover.drills.retention import KEPT_RUNS, RAW, prune

WHOLE = {*RAW, "journal.jsonl", "report.json", "report.zh.html"}


def run(drills: Path, number: int, *, finished: bool = True) -> Path:
    """Create the folder of one run."""
    folder = drills / f"20260101T{number:06d}-site-loss-futian"
    folder.mkdir(parents=True)
    for name in WHOLE if finished else {*RAW, "journal.jsonl"}:
        (folder / name).write_text("x", encoding="utf-8")
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_only_the_raw_data_of_old_finished_runs_is_deleted(tmp_path: Path) -> None:
    broken = run(tmp_path, 0, finished=False)
    runs = [run(tmp_path, number) for number in range(1, KEPT_RUNS + 3)]
    assert prune(tmp_path) == (runs[0].name, runs[1].name)
    assert [names(folder) for folder in runs[:2]] == [WHOLE - set(RAW)] * 2
    assert all(names(folder) == WHOLE for folder in runs[2:])
    assert names(broken) == {*RAW, "journal.jsonl"}
    assert prune(tmp_path) == ()


def test_few_runs_keep_all_their_files(tmp_path: Path) -> None:
    folder = run(tmp_path, 1)
    assert prune(tmp_path) == ()
    assert names(folder) == WHOLE
    assert prune(tmp_path / "nowhere") == ()
