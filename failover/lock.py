"""The lock that allows one drill or one move of the primary at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workstation import file_lock
from workstation.errors import Locked
from workstation.file_lock import Holder


@contextmanager
def held(home: Path, what: str) -> Iterator[None]:
    """Hold the lock of drills and moves. Raises Locked (exit 8) with the holder's name and start."""
    with file_lock.acquire(home / "drills" / "lock", what, _refusal):
        yield


def _refusal(holder: Holder | None) -> Locked:
    name = "the holder has not written its name yet"
    if holder:
        name = f"{holder.command}, process {holder.pid} of {holder.user} on {holder.host}, since {holder.since}"
    return Locked(f"another run holds the lock: {name}", "wait for it, or stop it with Ctrl-C")
