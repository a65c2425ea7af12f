"""All steps of `site-loss` with a real load generator and a real HTTPS server. Only the rest of the estate is fake."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from failover import drills, lock
from failover.drills import DrillResult, Event, Verdict
from failover.drills.undo import NotUndone
from failover.journal import Undo
from failover.report.json_report import as_json
from tests.integration.failover.fake_estate import START_S, FakeEstate, open_acts
from workstation.errors import GovcloudError, Locked, Refused, RolledBack, WrongUse


def run(fake_estate: FakeEstate, home: Path, **options: Any) -> DrillResult:
    return fake_estate.drill("site-loss", home, **{"target": "futian", **options})


def test_a_site_is_lost_and_restored_without_loss_of_data(fake_estate: FakeEstate, tmp_path: Path) -> None:
    reported: list[Event] = []
    result = run(fake_estate, tmp_path / "home", lang="zh", on_event=reported.append)
    assert result.verdict is Verdict.PASS, result.reasons
    assert result.exit_code == 0
    value = as_json(result)
    measured = value["measured"]
    assert measured["write_outage_s"] == pytest.approx(2.0, abs=0.3)
    assert measured["read_outage_s"] == 0.0
    assert (measured["lost"], measured["duplicated"], measured["unknown"]) == (0, 0, 0)
    assert measured["recovery_s"] > 6
    assert measured["pods_serving_s"] == pytest.approx(START_S, abs=1.0)
    events = [line["event"] for line in value["timeline"]]
    assert "futian loses power, its links drop all packets" in events
    assert "primary is nanshan-data1, timeline 3" in events
    assert events.index("futian is powered on") < events.index("the pods of futian serve again")
    assert [e.code for e in reported] == [e.code for e in result.events]
    folder = tmp_path / "home" / "drills" / result.id
    assert json.loads((folder / "report.json").read_text())["verdict"] == "pass"
    assert Path(result.report) == folder / "report.zh.html"
    assert not open_acts(tmp_path / "home"), "no act may stay open"
    assert not list(fake_estate.folder.glob(f"{result.id}*")), "the vantage must be cleaned up"
    assert not fake_estate.watched, "the watch must have ended"


def test_a_deleted_row_makes_the_drill_fail(fake_estate: FakeEstate, tmp_path: Path) -> None:
    """Also if the database does not answer the first two queries: they must not discard the measurement."""
    fake_estate.silent = 2
    fake_estate.spoil = lambda rows: "".join(line for n, line in enumerate(rows.splitlines(keepends=True)) if n != 5)
    result = run(fake_estate, tmp_path / "home")
    assert result.verdict is Verdict.VIOLATED
    assert result.exit_code == 1
    assert as_json(result)["measured"]["lost"] == 1


def test_a_drill_on_an_unsteady_estate_is_refused_before_any_change(fake_estate: FakeEstate, tmp_path: Path) -> None:
    fake_estate.off("nanshan")
    fake_estate.estate = fake_estate.estate.model_copy()
    with pytest.raises(Refused, match="nanshan-edge1: is not reached over the management network"):
        run(fake_estate, tmp_path / "home", clock=ImpatientClock())
    assert fake_estate.is_on("futian")
    assert not fake_estate.units


@pytest.mark.usefixtures("hangup")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_ctrl_c_during_the_power_off_powers_on_and_reports_it(
    fake_estate: FakeEstate, tmp_path: Path, number: signal.Signals
) -> None:
    """So does SIGTERM, and SIGHUP of a closed terminal or SSH session."""
    fake_estate.on_off = lambda: os.kill(os.getpid(), number)
    reported: list[Event] = []
    with pytest.raises(RolledBack, match="power on futian") as caught:
        run(fake_estate, tmp_path / "home", on_event=reported.append)
    assert caught.value.exit_code == 7
    assert fake_estate.is_on("futian")
    assert all(process.poll() is not None for process in fake_estate.units.values()), "the load generator was stopped"
    assert next(e.subject for e in reported if e.code == "undo") == "power on futian"
    assert not fake_estate.watched, "the watch must have ended"
    assert not open_acts(tmp_path / "home")


def test_a_killed_run_is_recognised_and_undone_by_the_next(fake_estate: FakeEstate, tmp_path: Path) -> None:
    home = tmp_path / "home"
    script = (
        "import os,sys;from pathlib import Path;from failover.journal import Journal,Undo;"
        "Journal(Path(sys.argv[1])).note('begin','power-off',undo=Undo(kind='power_on',target='nanshan'));"
        "os.kill(os.getpid(),9)"
    )
    killed = subprocess.run(
        [sys.executable, "-c", script, str(home / "drills" / "20260101T000000-site-loss-nanshan")], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    fake_estate.off("nanshan")
    reported: list[Event] = []
    result = run(fake_estate, home, on_event=reported.append)
    assert reported[0].code == "undo"
    assert reported[0].subject == "power on nanshan"
    assert result.healthy_wall is not None


def test_the_lock_names_its_holder(fake_estate: FakeEstate, tmp_path: Path) -> None:
    with lock.held(tmp_path, "drill site-loss at nanshan"):
        with pytest.raises(Locked, match=f"drill site-loss at nanshan, process {os.getpid()}"):
            run(fake_estate, tmp_path)


@pytest.mark.parametrize("wrong", [{"target": "atlantis"}, {"rate_per_s": 0}, {"rate_per_s": 1e6}])
def test_unknown_names_and_figures_are_wrong_use(
    fake_estate: FakeEstate, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    with pytest.raises(WrongUse):
        run(fake_estate, tmp_path, **wrong)
    with pytest.raises(WrongUse, match="site-loss"):
        drills.get("flood")


@pytest.mark.nightly
def test_an_undo_that_fails_after_an_interrupt_is_reported_and_stays_open(
    fake_estate: FakeEstate, tmp_path: Path
) -> None:
    """The load generator is stopped nevertheless. The next run would power on first."""

    def no_power(target: str) -> None:
        raise GovcloudError("no switch")

    fake_estate.on_off = lambda: os.kill(os.getpid(), signal.SIGINT)
    fake_estate.on = no_power  # type: ignore[method-assign]
    with pytest.raises(NotUndone, match="interrupted; not undone: power on futian: no switch"):
        run(fake_estate, tmp_path / "home")
    assert open_acts(tmp_path / "home") == [Undo(kind="power_on", target="futian")]
    assert all(process.poll() is not None for process in fake_estate.units.values())


class ImpatientClock:
    """A clock on which waiting takes no real time, so that a deadline passes at once."""

    def __init__(self) -> None:
        self.now = 1_760_000_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds
