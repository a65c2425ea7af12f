"""`bench`: the names in its help, the loads by default, the goals of the newest run and the exit code."""

from __future__ import annotations

from typing import Any

import pytest

from cli import bench
from estate.loader import load
from failover.vantage import LoadProfile
from operations.benchmarks import runs
from tests.unit.cli.command_result import Call

NAME = "messages"


@pytest.fixture
def value(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The raw value of the next run. It is measured nowhere; its load is in `load`."""
    value: dict[str, Any] = {
        "decided": 10, "missing": 0, "handover_p99_ms": 800.5, "goals": {"missing": 0, "handover_p99_ms": 2000},
    }  # fmt: skip

    def measured(name: str, estate: object, load: LoadProfile, on_event: object) -> dict[str, Any]:
        value["load"] = load
        return {key: given for key, given in value.items() if key != "load"}

    monkeypatch.setattr("cli.bench.into_namespace", lambda estate: None)
    monkeypatch.setattr("operations.benchmarks.runs._measure", measured)
    return value


def test_the_help_lists_the_benches_of_the_projects_estate() -> None:
    assert ", ".join(runs.names(load())) == bench.NAMES


def test_the_newest_run_is_compared_with_its_goals(call: Call, value: dict[str, Any]) -> None:
    """A goal that an earlier run has missed does not count."""
    value["handover_p99_ms"] = 2000.5
    missed = call("bench", NAME)
    assert missed.code == 5
    assert "goal of handover_p99_ms: at most 2000; the newest run has 2000.5: missed" in missed.stdout
    value["handover_p99_ms"] = 1999.5
    met = call("bench", NAME)
    assert met.code == 0
    assert "goal of handover_p99_ms: at most 2000; the newest run has 1999.5: met" in met.stdout
    assert "max 2000.5" in met.stdout


def test_a_missing_message_misses_a_goal_in_json_too(call: Call, value: dict[str, Any]) -> None:
    """The object is complete, and nothing follows it."""
    value["missing"] = 1
    done = call("bench", NAME, "--json")
    assert done.code == 5
    assert done.document["goals"]["missing"] == {"at_most": 0, "newest": 1, "met": False}
    assert done.document["ours"]["decided"] == {"min": 10, "median": 10, "max": 10}


def test_a_bench_without_goals_ends_with_0(call: Call, value: dict[str, Any]) -> None:
    value["goals"] = {}
    assert call("bench", "approvals").code == 0
    assert (value["load"].rate_per_s, value["load"].limit_s) == (50, 120)


def test_rate_and_duration_are_options(call: Call, value: dict[str, Any]) -> None:
    assert call("bench", NAME, "--rate", "5", "--seconds", "30").code == 0
    assert (value["load"].rate_per_s, value["load"].limit_s, value["load"].recipients) == (5, 30, True)
