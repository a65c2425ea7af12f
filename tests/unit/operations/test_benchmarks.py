"""`bench`: the summary over all runs, which has the same form for every bench."""

from __future__ import annotations

from pathlib import Path

from failover.ledger import Attempt, Entry
from operations.benchmarks.load_test import failure
from operations.benchmarks.runs import conditions, document


def test_figures_are_over_all_runs_and_the_conditions_are_the_newest() -> None:
    """An older run may lack a figure that was added later. A figure that the newest run lacks is not reported."""
    runs = [
        {"seconds": 30.0, "changes": 0, "gone": 1, "conditions": {"load_1min": 9.0}},
        {"seconds": 20.0, "changes": 0, "conditions": {"load_1min": 5.0}},
        {"seconds": 28.0, "changes": 0, "hosts": 12, "conditions": {"load_1min": 1.0}},
    ]
    found = document("unchanged", runs, Path("/raw.jsonl"))
    assert set(found) == {"bench", "ours", "peers", "ratio", "failures", "conditions"}
    assert found["ours"] == {
        "seconds": {"min": 20.0, "median": 28.0, "max": 30.0},
        "changes": {"min": 0, "median": 0, "max": 0},
        "hosts": {"min": 12, "median": 12, "max": 12},
    }
    assert found["conditions"] == {"load_1min": 1.0, "runs": 3, "raw": "/raw.jsonl"}
    assert (found["peers"], found["ratio"]) == ({}, None)


def test_conditions_describe_the_machine() -> None:
    found = conditions()
    assert found["cores"] >= 1
    assert found["memory_mib"] > 100
    assert found["kernel"]


def entry(*attempts: Attempt) -> Entry:
    """Return a write with these attempts."""
    return Entry(n=1, kind="write", family=4, key="k", digest="d", scheduled_s=1.0, attempts=attempts)


def test_a_failure_has_its_first_answer_and_the_number_of_attempts() -> None:
    refused = Attempt(sent_s=1.0, answered_s=1.5, status=503, code="overloaded", site="futian")
    described = failure(entry(refused, Attempt(sent_s=2.0, answered_s=2.1, status=200)))
    assert described == {
        "sent_s": 1.0, "answered_s": 1.5, "status": 503, "code": "overloaded", "site": "futian", "attempts": 2,
    }  # fmt: skip
    assert failure(entry(Attempt(sent_s=1.0, error="timeout"))) == {"sent_s": 1.0, "error": "timeout", "attempts": 1}
    assert failure(entry()) == {"scheduled_s": 1.0, "attempts": 0}


def test_failures_are_from_the_newest_run_and_are_not_a_figure() -> None:
    failed = {"status": 503, "attempts": 2}
    runs = [
        {"failed": 2, "failures": [{"status": 500}], "conditions": {"cores": 2}},
        {"failed": 1, "failures": [failed], "conditions": {"cores": 2}},
    ]
    found = document("rollout", runs, Path("/raw.jsonl"))
    assert found["failures"] == [failed]
    assert set(found["ours"]) == {"failed"}
