"""All steps of `path-loss` with a real load generator and a real HTTPS server. Only the rest of the estate is fake."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from failover.drills import Event, Verdict
from failover.journal import Journal
from failover.report.json_report import as_json
from tests.integration.failover.fake_estate import REROUTE_S, FakeEstate, open_acts
from workstation.errors import RolledBack


def test_a_link_is_cut_and_restored_without_loss_of_data(fake_estate: FakeEstate, tmp_path: Path) -> None:
    result = fake_estate.drill("path-loss", tmp_path / "home", target="city-b")
    assert result.verdict is Verdict.PASS, result.reasons
    value = as_json(result)
    assert (value["site"], value["target"]) == (None, "city-b")
    measured = value["measured"]
    assert measured["write_outage_s"] == pytest.approx(REROUTE_S, abs=0.3)
    assert measured["recovery_s"] > 6, "the link must stay cut for a while"
    assert measured["writes_after_heal"]["writes"] > 0
    assert not measured.keys() & {"pods_serving_s", "return_of_power"}
    events = [line["event"] for line in value["timeline"]]
    order = [
        "link city-b drops all packets in both directions", "routing sessions on link city-b are down",
        "citizens are served again without failures", "link city-b carries packets again",
        "routing sessions on link city-b are up again", "every health check is green",
    ]  # fmt: skip
    assert [event for event in events if event in order] == order
    assert not fake_estate.cut_links
    assert not open_acts(tmp_path / "home"), "no act may stay open"


def test_ctrl_c_during_the_cut_ends_the_cut(fake_estate: FakeEstate, tmp_path: Path) -> None:
    fake_estate.on_cut = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(RolledBack, match="heal link city-a"):
        fake_estate.drill("path-loss", tmp_path / "home")
    assert not fake_estate.cut_links


@pytest.mark.nightly
def test_a_killed_run_is_undone_by_the_next_drill_of_any_kind(fake_estate: FakeEstate, tmp_path: Path) -> None:
    fault = fake_estate.fault("path-loss", "city-a")
    Journal(tmp_path / "home" / "drills" / "20260101T000000-path-loss-city-a").note("begin", "inject", undo=fault.undo)
    fake_estate.cut_links.add("city-a")
    reported: list[Event] = []
    result = fake_estate.drill("site-loss", tmp_path / "home", target="nanshan", on_event=reported.append)
    assert (reported[0].code, reported[0].subject) == ("undo", "heal link city-a")
    assert not fake_estate.cut_links
    assert result.healthy_wall is not None
