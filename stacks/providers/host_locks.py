"""Locks of single hosts: one process at a time works on each.

New hosts go side by side, but a provider whose engine was killed first finishes what it had begun. The locks are
advisory locks of the operating system: they end with their holder, however that dies.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from workstation import paths


@contextmanager
def exclusive(host: str, say: Callable[[str], None]) -> Iterator[None]:
    """Work on the host as the only process; one that still finishes an interrupted run is waited for, and told."""
    folder = lock_folder() / "hosts"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{host}.lock").open("a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{host}: an interrupted run is still at work there; waiting for its end")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def lock_folder() -> Path:
    """Beside the state."""
    return paths.home() / "state"
