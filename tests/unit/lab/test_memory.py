"""The peak of memory use is measured while it lasts, not at the end."""

from __future__ import annotations

import threading

import pytest

from lab import lab_state
from lab.memory import PeakMemory


def test_the_lowest_available_memory_is_kept() -> None:
    """A short peak counts too: the machine needs that much memory."""
    done, values = threading.Event(), iter([8000, 5000, 7000, 7500])

    def available() -> int:
        found = next(values, None)
        if found is None:
            done.set()
        return found or 7500

    with PeakMemory(available, every_s=0.001) as peak:
        assert done.wait(10)
    assert peak.lowest_mib == 5000


def test_the_peak_is_counted_from_before_the_lab(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is None if no lab has recorded the memory before its start."""
    with PeakMemory(lambda: 6000) as peak:
        pass
    state = lab_state.LabState(
        instance="a", checkout="/x", home="/y", digest="d", image="i", since="s", boot="b", loops=(),
        available_before_mib=10000,
    )  # fmt: skip
    monkeypatch.setattr(lab_state, "read", lambda: state)
    assert peak.used_mib() == 4000
    monkeypatch.setattr(lab_state, "read", lambda: None)
    assert peak.used_mib() is None
