"""`bench`: figures over all runs, in the one shape that every bench has."""

from __future__ import annotations

from pathlib import Path

from cli.measure import conditions, document


def test_figures_are_over_all_runs_and_the_conditions_are_the_newest() -> None:
    """An older run may lack a figure that has been added since; one that is not measured any more is left out."""
    runs = [
        {"seconds": 30.0, "changes": 0, "gone": 1, "conditions": {"load_1min": 9.0}},
        {"seconds": 20.0, "changes": 0, "conditions": {"load_1min": 5.0}},
        {"seconds": 28.0, "changes": 0, "hosts": 12, "conditions": {"load_1min": 1.0}},
    ]
    found = document("unchanged", runs, Path("/raw.jsonl"))
    assert set(found) == {"bench", "ours", "peers", "ratio", "conditions"}
    assert found["ours"] == {
        "seconds": {"min": 20.0, "median": 28.0, "max": 30.0},
        "changes": {"min": 0, "median": 0, "max": 0},
        "hosts": {"min": 12, "median": 12, "max": 12},
    }
    assert found["conditions"] == {"load_1min": 1.0, "runs": 3, "raw": "/raw.jsonl"}
    assert (found["peers"], found["ratio"]) == ({}, None)


def test_conditions_name_what_figures_depend_on() -> None:
    found = conditions()
    assert found["cores"] >= 1
    assert found["memory_mib"] > 100
    assert found["kernel"]
