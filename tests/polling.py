"""Waits until a condition is true, with a deadline, instead of sleeping for a fixed time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

EVERY_S = 0.1


def until(what: str, check: Callable[[], Any], within_s: float, every_s: float = EVERY_S) -> Any:
    """Return the first true result of `check`. Raise AssertionError with `what` when the time is over."""
    deadline, last = time.monotonic() + within_s, None
    while time.monotonic() < deadline:
        last = check()
        if last:
            return last
        time.sleep(every_s)
    raise AssertionError(f"{what}: not within {within_s:g} s (last: {last!r})")
