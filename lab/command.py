"""Running the host's own tools, with their words in the error."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from workstation.errors import GovcloudError

TIMEOUT_S = 60.0


class LabError(GovcloudError):
    """The host refused something that the lab needs."""


def run(argv: Sequence[str], *, stdin: str = "", check: bool = True) -> str:
    """Standard output of a tool of the host. Raises `LabError` with its last words; without `check` never."""
    try:
        done = subprocess.run(
            argv, input=stdin, capture_output=True, text=True, errors="replace", timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise LabError(f"{argv[0]} is missing on this host", "run ./govcloud setup") from None
    except subprocess.TimeoutExpired:
        raise LabError(f"{shlex.join(argv)}: no end within {TIMEOUT_S:g} s") from None
    if check and done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise LabError(f"{shlex.join(argv)}: {' / '.join(words[-3:]) or f'exit {done.returncode}'}")
    return done.stdout


def wait_for(what: str, condition: Callable[[], bool], *, deadline_s: float, every_s: float = 0.02) -> None:
    """Poll until `condition` holds. Raises `LabError` saying what did not come."""
    end = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > end:
            raise LabError(f"{what}: not within {deadline_s:g} s")
        time.sleep(every_s)


_libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000


@contextmanager
def network_of(handle: Path) -> Iterator[None]:
    """The calling thread is in the network namespace behind `handle`; other threads are not. For sockets made here."""
    with Path("/proc/thread-self/ns/net").open("rb") as before, handle.open("rb") as there:
        _setns(there.fileno())
        try:
            yield
        finally:
            _setns(before.fileno())


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, CLONE_NEWNET):
        raise LabError(f"cannot enter a network namespace: {os.strerror(ctypes.get_errno())}")
