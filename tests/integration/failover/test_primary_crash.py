"""All steps of `primary-crash` with a real load generator and a real HTTPS server. The rest of the estate is fake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from failover.drills import Verdict
from failover.report.json_report import as_json
from failover.result import Event
from monitors.collectors import Observation
from tests.integration.failover.fake_estate import RESTART_S, TAKEOVER_S, CommandResult, FakeEstate, open_acts
from tests.unit.failover.observations import with_member
from workstation.errors import Refused


@pytest.mark.parametrize("site", ["futian", pytest.param("nanshan", marks=pytest.mark.nightly)])
def test_the_present_primary_is_killed_without_loss_of_data(fake_estate: FakeEstate, tmp_path: Path, site: str) -> None:
    """The fault heals by itself: its end is observed, and nothing is undone."""
    fake_estate.primary_site = site
    result = fake_estate.drill("primary-crash", tmp_path / "home")
    assert result.verdict is Verdict.PASS, result.reasons
    assert list(fake_estate.crashed) == [site]
    value = as_json(result)
    assert (value["site"], value["target"]) == (None, f"{site}-data1")
    assert value["measured"]["write_outage_s"] == pytest.approx(TAKEOVER_S, abs=0.3)
    assert result.restored_wall is not None
    assert result.restored_wall - result.injected_wall == pytest.approx(RESTART_S, abs=2.5)
    events = [line["event"] for line in value["timeline"]]
    order = [
        f"PostgreSQL of {site}-data1 is killed", f"no primary found (it was {site}-data1)",
        f"PostgreSQL of {site}-data1 runs again", "every health check is green",
    ]  # fmt: skip
    assert [event for event in events if event in order] == order
    assert not open_acts(tmp_path / "home"), "no act may stay open"


def test_a_primary_without_a_healthy_successor_is_not_killed(fake_estate: FakeEstate, tmp_path: Path) -> None:
    """The standby is lost after the steady state: only the check right before the kill sees it."""
    snapshot = fake_estate.snapshot

    def alone() -> Observation:
        seen = snapshot()
        return with_member(seen, "nanshan", running=False) if fake_estate.units else seen

    fake_estate.snapshot = alone  # type: ignore[method-assign]
    fake_estate.latest = snapshot  # type: ignore[method-assign]
    with pytest.raises(Refused, match="no healthy synchronous standby at another promotable site"):
        fake_estate.drill("primary-crash", tmp_path / "home")
    assert not fake_estate.crashed
    assert all(process.poll() is not None for process in fake_estate.units.values()), "the load generator was stopped"


def test_a_primary_that_moves_just_before_the_kill_is_not_killed(fake_estate: FakeEstate, tmp_path: Path) -> None:
    """The last observation still shows the old primary. Only its host notices that it has moved."""
    run, reported = fake_estate.run, list[Event]()

    def moved_before(host: str, argv: Sequence[str], **options: Any) -> CommandResult:
        if "kill -KILL" in " ".join(argv):
            fake_estate.primary_site = "nanshan"
        return run(host, argv, **options)

    fake_estate.run = moved_before  # type: ignore[method-assign]
    refused = "the drill did not begin: futian-data1: PostgreSQL was not killed: it is not the primary any more"
    with pytest.raises(Refused, match=refused):
        fake_estate.drill("primary-crash", tmp_path / "home", on_event=reported.append)
    assert not fake_estate.crashed
    assert "injected" not in [event.code for event in reported]
    assert all(process.poll() is not None for process in fake_estate.units.values()), "the load generator was stopped"
