"""The journal finds the open acts of a killed run; steps check before and after the act, with a deadline."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from failover.journal import Journal, Undo, journals, read, still_open
from failover.protocols import SystemClock
from failover.step import POLL_S, CheckFailed, Step, run_step

RESTORE_POWER = Undo(kind="power_on", target="futian")
STOP_LOAD = Undo(kind="stop_applicant", target="citizen1/x")


class Clock(SystemClock):
    """A clock on which waiting takes no real time."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def test_an_act_stays_open_until_it_is_undone(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run")
    journal.note("begin", "applicants-start", undo=STOP_LOAD)
    journal.note("begin", "power-off", undo=RESTORE_POWER)
    journal.note("acted", "power-off")
    assert journal.open_undos() == (RESTORE_POWER, STOP_LOAD), "the latest act must be undone first"
    assert [(found.path, found.open_undos()) for found in journals(tmp_path)] == [
        (journal.path, (RESTORE_POWER, STOP_LOAD))
    ]
    journal.note("undone", "power-on", undo=RESTORE_POWER)
    assert journal.open_undos() == (STOP_LOAD,)


def test_a_journal_truncated_at_any_byte_still_has_every_act(tmp_path: Path) -> None:
    """The line is on disk before the act. So wherever the file ends, every act with a complete line is known."""
    journal = Journal(tmp_path / "run")
    journal.note("begin", "applicants-start", undo=STOP_LOAD)
    first = journal.path.stat().st_size
    journal.note("begin", "power-off", undo=RESTORE_POWER)
    whole = journal.path.read_text()
    for cut in range(len(whole) + 1):
        found = still_open(read(whole[:cut]))
        assert (STOP_LOAD in found) == (cut >= first - 1)
        assert (RESTORE_POWER in found) == (cut >= len(whole) - 1)


def test_a_step_whose_check_fails_does_not_act(tmp_path: Path) -> None:
    acted: list[int] = []
    step = Step(name="x", deadline_s=1, before=lambda: "no power", act=lambda: acted.append(1), undo=RESTORE_POWER)
    journal = Journal(tmp_path)
    with pytest.raises(CheckFailed, match="no power"):
        run_step(step, journal, Clock())
    assert not acted
    assert not journal.open_undos()


def test_the_undo_is_on_disk_before_the_act(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    seen: list[tuple[Undo, ...]] = []
    run_step(
        Step(name="x", deadline_s=1, act=lambda: seen.append(journal.open_undos()), undo=RESTORE_POWER),
        journal,
        Clock(),
    )
    assert seen == [(RESTORE_POWER,)]


def test_a_check_after_the_act_is_repeated_until_the_deadline(tmp_path: Path) -> None:
    answers = ["not yet", "not yet", ""]
    clock = Clock()
    assert run_step(Step(name="x", deadline_s=5, after=lambda: answers.pop(0)), Journal(tmp_path), clock) == ""
    assert clock.now == 2 * POLL_S
    with pytest.raises(CheckFailed, match="never"):
        run_step(Step(name="y", deadline_s=5, after=lambda: "never"), Journal(tmp_path), clock)
    assert (
        run_step(Step(name="z", deadline_s=5, after=lambda: "never", required=False), Journal(tmp_path), clock)
        == "never"
    )


def test_a_step_that_completes_an_undo_closes_it(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    run_step(Step(name="off", deadline_s=1, undo=RESTORE_POWER), journal, Clock())
    run_step(Step(name="on", deadline_s=1, completes_undo=RESTORE_POWER), journal, Clock())
    assert not journal.open_undos()
    assert [json.loads(line)["phase"] for line in journal.path.read_text().splitlines()].count("done") == 2


def test_an_act_that_raises_leaves_its_undo_open(tmp_path: Path) -> None:
    journal = Journal(tmp_path)

    def act() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_step(Step(name="off", deadline_s=1, act=act, undo=RESTORE_POWER), journal, Clock())
    assert journal.open_undos() == (RESTORE_POWER,)


def test_a_line_that_does_not_fit_on_the_disk_prevents_its_act(tmp_path: Path) -> None:
    """The system writes what fits and reports no error. A limit of the file's size does the same."""
    journal = Journal(tmp_path)
    journal.note("begin", "applicants-start", undo=STOP_LOAD)
    acted: list[int] = []
    step = Step(name="off", deadline_s=1, act=lambda: acted.append(1), undo=RESTORE_POWER)
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.path.stat().st_size + 20, former[1]))
    try:
        with pytest.raises(OSError, match=r"of \d+ bytes were written"):
            run_step(step, journal, Clock())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert not acted
    journal.note("undone", "restore", undo=STOP_LOAD)
    assert journal.open_undos() == (), "the line after a cut one is readable"
