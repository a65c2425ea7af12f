"""`bench provider`: the ratio to the peer, and equal objects on both sides."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from operations.benchmarks import provider, runs

OURS = {"objects": {"median": 1050}, "create_s": {"median": 10.0}, "unchanged_s": {"median": 5.0}}


def test_the_ratio_is_the_best_peers_time_over_ours() -> None:
    """Above 1 we are faster. Figures that are not seconds do not count."""
    slow = {"create_s": {"median": 60.0}, "unchanged_s": {"median": 60.0}}
    best = {"create_s": {"median": 20.0}, "unchanged_s": {"median": 10.0}}
    assert runs.ratio(OURS, {"slow": slow, "best": best}) == 2.0
    assert runs.ratio(OURS, {}) is None


def test_both_sides_declare_the_same_objects() -> None:
    """They differ only in the namespace. Their number is the number in the goal."""
    ours, theirs = list(provider.objects("ours")), list(provider.objects("theirs"))
    assert len(ours) == len(theirs) == 1050
    for one, other in zip(ours, theirs, strict=True):
        other["metadata"]["namespace"] = "ours"
        assert one == other


def test_the_former_home_is_restored_after_a_bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A bench must not leave its own home behind for the next command of the process."""
    monkeypatch.setenv("GOVCLOUD_HOME", "/former")
    with provider._home(tmp_path):
        assert os.environ["GOVCLOUD_HOME"] == str(tmp_path)
    assert os.environ["GOVCLOUD_HOME"] == "/former"
