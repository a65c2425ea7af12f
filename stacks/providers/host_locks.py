"""Locks for single hosts: only one process at a time changes a host.

New hosts are configured in parallel. A provider whose engine was killed still finishes the host that it has begun, so
a second run must wait for it. The operating system releases these advisory locks whenever their process ends.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from workstation import paths


@contextmanager
def exclusive(host: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of the host. Report and wait if an interrupted run still works on the host."""
    folder = lock_folder() / "hosts"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{host}.lock").open("a", encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{host}: an interrupted run still works on this host; waiting for its end")
            fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def lock_folder() -> Path:
    """Return the folder of the state, which also contains the lock files."""
    return paths.home() / "state"
