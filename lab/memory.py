"""The most memory that was taken while something ran: by looking every second at what is still available."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from lab import lab_state, status

EVERY_S = 1.0


class PeakMemory:
    """Looks from the block's beginning to its end. `lowest_mib` is the least that was available; page cache counts as
    available, so what is cached is never taken for what is needed."""

    def __init__(self, available: Callable[[], int] = status.available_mib, every_s: float = EVERY_S) -> None:
        self._available, self._every_s = available, every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.lowest_mib = available()

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()

    def used_mib(self) -> int | None:
        """How much less was available than before the lab that is up was started; None where that was not noted."""
        state = lab_state.read()
        return state.available_before_mib - self.lowest_mib if state and state.available_before_mib else None

    def _watch(self) -> None:
        while not self._end.wait(self._every_s):
            self.lowest_mib = min(self.lowest_mib, self._available())
