"""Telling the operator what happens, how long it should take and how far it is. Always on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def say(text: str) -> None:
    """One line for the operator. Where the terminal or the reader has gone, the work goes on without being told."""
    with suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """`3 min 10 s`, `0.4 s`: as a person says it."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


@contextmanager
def step(title: str, expected_s: float | None = None) -> Iterator[None]:
    """Say that a step begins, with its expected duration in seconds, and how it ended."""
    say(f"▸ {title}" + (f" (about {duration(expected_s)})" if expected_s else ""))
    start = time.monotonic()
    try:
        yield
    except BaseException as error:
        why = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        say(f"  {title}: {why} after {duration(time.monotonic() - start)}")
        raise
    say(f"  {title}: done in {duration(time.monotonic() - start)}")
