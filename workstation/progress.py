"""Report steps, expected durations and progress to the operator, always on standard error."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

logger = logging.getLogger(__name__)


def say(text: str) -> None:
    """Print one line for the operator and log it. If the terminal is closed, continue without printing."""
    logger.info("%s", text)
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Return a readable duration: `3 min 10 s`, `0.4 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


@contextmanager
def step(title: str, expected_s: float | None = None) -> Iterator[None]:
    """Report the start of a step with its expected duration in seconds, and its result."""
    say(f"▸ {title}" + (f" (about {duration(expected_s)})" if expected_s else ""))
    start = time.monotonic()
    try:
        yield
    except BaseException as error:
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        say(f"  {title}: {why} after {duration(time.monotonic() - start)}")
        raise
    say(f"  {title}: done in {duration(time.monotonic() - start)}")
