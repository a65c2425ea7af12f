"""Measures the peak use of memory during a block, by reading the available memory every second."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Self

from lab import lab_state, status

EVERY_S = 1.0


class PeakMemory:
    """Measures from the block's beginning to its end. `lowest_mib` is the lowest available memory.

    Page cache counts as available, so cached files never count as used memory.
    """

    def __init__(self, available: Callable[[], int] = status.available_mib, every_s: float = EVERY_S) -> None:
        self._available, self._every_s = available, every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.lowest_mib = available()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def used_mib(self) -> int | None:
        """Return how much less memory was available than before the lab's start, or None if that is not recorded."""
        state = lab_state.read()
        return state.available_before_mib - self.lowest_mib if state and state.available_before_mib else None

    def _watch(self) -> None:
        while not self._end.wait(self._every_s):
            self.lowest_mib = min(self.lowest_mib, self._available())
