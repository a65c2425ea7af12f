"""Every open act is undone, even if progress cannot be printed or another undo fails."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from failover.drills import run
from failover.drills.undo import NotUndone, undo_all
from failover.journal import Journal, Undo
from failover.protocols import DrillInterfaces
from tests.unit.failover.observations import ESTATE
from workstation.errors import GovcloudError


class Mains:
    """Powers sites on, unless the site is in `fails`."""

    def __init__(self, fails: dict[str, Exception]) -> None:
        self.fails, self.powered_on = fails, list[str]()

    def off(self, target: str) -> None:
        raise AssertionError(target)

    def on(self, target: str) -> None:
        if target in self.fails:
            raise self.fails[target]
        self.powered_on.append(target)

    def is_on(self, target: str) -> bool:
        return target in self.powered_on


class NoMachines:
    """Fails on any command: these undos need no host."""

    def run(self, host: str, argv: object, *, stdin: bytes = b"", timeout_s: float = 30.0) -> None:
        raise AssertionError(host)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    made = Journal(tmp_path)
    for site in ("futian", "nanshan"):
        made.note("begin", "power-off", undo=Undo(kind="power_on", target=site))
    return made


def interfaces(mains: Mains) -> DrillInterfaces:
    unused: Any = NoMachines()
    return DrillInterfaces(machines=unused, power=mains, links=unused, observer=unused)


def test_a_closed_terminal_does_not_prevent_the_power_on(journal: Journal) -> None:
    def report(undo: Undo) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    mains = Mains({})
    assert len(undo_all(journal, interfaces(mains), report)) == 2
    assert mains.powered_on == ["nanshan", "futian"]
    assert not journal.open_undos()


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("not ours")])
def test_a_failed_undo_does_not_prevent_the_others(journal: Journal, error: Exception) -> None:
    """The failed undo stays open for the next run."""
    mains = Mains({"nanshan": error})
    with pytest.raises(NotUndone, match=re.escape(f"not undone: power on nanshan: {error}")):
        undo_all(journal, interfaces(mains), lambda undo: None)
    assert mains.powered_on == ["futian"]
    assert [undo.target for undo in journal.open_undos()] == ["nanshan"]


def test_every_failed_undo_is_reported(journal: Journal) -> None:
    mains = Mains({"nanshan": GovcloudError("no switch", "repair it"), "futian": OSError(5, "broken")})
    with pytest.raises(NotUndone) as caught:
        undo_all(journal, interfaces(mains), lambda undo: None)
    assert caught.value.failures == ("power on nanshan: no switch; repair it", "power on futian: [Errno 5] broken")
    assert len(journal.open_undos()) == 2


def test_an_unknown_undo_stays_open(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.note("begin", "sing", undo=Undo(kind="sing", target="futian"))
    with pytest.raises(NotUndone, match="unknown undo: sing futian; undo it with the version of govcloud that wrote"):
        undo_all(journal, interfaces(Mains({})), lambda undo: None)
    assert journal.open_undos()


def test_a_drill_undoes_every_interrupted_run_that_it_can_before_it_refuses(tmp_path: Path) -> None:
    """A failed run stays open, and so does a run whose journal cannot be read. The refusal names both."""
    drills, mains = tmp_path / "drills", Mains({"nanshan": OSError(5, "no switch")})
    for site in ("nanshan", "futian"):
        Journal(drills / site).note("begin", "power-off", undo=Undo(kind="power_on", target=site))
    (drills / "lost" / "journal.jsonl").mkdir(parents=True)
    for age, name in enumerate(("futian", "nanshan", "lost")):
        os.utime(drills / name / "journal.jsonl", (0, 1000 - age))
    with pytest.raises(NotUndone) as caught:
        run("site-loss", ESTATE, interfaces(mains), tmp_path)
    unreadable, failed = caught.value.failures
    assert unreadable == f"the journal {drills / 'lost' / 'journal.jsonl'} cannot be read: Is a directory (lost)"
    assert failed == "power on nanshan: [Errno 5] no switch (nanshan)"
    assert mains.powered_on == ["futian"]
    assert Journal(drills / "nanshan").open_undos()
    assert not Journal(drills / "futian").open_undos()


OLD_JOURNAL = """\
{"at": 1764570000.1, "pid": 7, "phase": "begin", "step": "applicants-start", \
"undo": {"kind": "stop_applicant", "target": "citizen1/20251201T080000-site-loss-futian"}}
{"at": 1764570001.2, "pid": 7, "phase": "acted", "step": "applicants-start"}
{"at": 1764570009.3, "pid": 7, "phase": "begin", "step": "power-off", "undo": {"kind": "power_on", "target": "futian"}}
"""
"""A run of an older version that was killed during the power off."""


class Recorder:
    """Records the commands of an undo."""

    def __init__(self) -> None:
        self.commands = list[tuple[str, list[str]]]()

    def run(self, host: str, argv: list[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> None:
        self.commands.append((host, argv))


def test_the_journal_of_an_older_version_is_undone(tmp_path: Path) -> None:
    old = Journal(tmp_path)
    old.path.write_text(OLD_JOURNAL, encoding="utf-8")
    mains, recorder = Mains({}), Recorder()
    machines: Any = recorder
    on = DrillInterfaces(machines=machines, power=mains, links=machines, observer=machines)
    assert [undo.kind for undo in undo_all(old, on, lambda undo: None)] == ["power_on", "stop_applicant"]
    assert mains.powered_on == ["futian"]
    unit = "govcloud-applicant-20251201T080000-site-loss-futian.service"
    assert recorder.commands == [("citizen1", ["systemctl", "stop", unit])]
    assert not old.open_undos()
