"""Locks for single hosts: only one process at a time changes a host.

New hosts are configured in parallel. A provider whose engine was killed still finishes the host that it has begun, so
a second run must wait for it. The operating system releases these advisory locks whenever their process ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from workstation import file_lock, paths


@contextmanager
def exclusive(host: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of the host. Report and wait if an interrupted run still works on the host."""
    waiting = f"{host}: an interrupted run still works on this host; waiting for its end"
    with file_lock.wait_for(lock_folder() / "hosts" / f"{host}.lock", lambda: say(waiting)):
        yield


def lock_folder() -> Path:
    """Return the folder of the state, which also contains the lock files."""
    return paths.home() / "state"
