"""Room for the state: asked for before a run, and held in reserve for its end.

An engine that cannot write its checkpoint has already changed hosts. So a run begins only where there is room and holds
a file in reserve. When the disk fills up all the same, the reserve is given back and the run ended in order: what it
had begun is finished, and the engine, which tries each write for half a minute, still writes it down.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stacks.state.state_files import state_home
from workstation.errors import GovcloudError

MIN_BYTES = 16 << 20
"""Bytes: far more than the checkpoints of some twenty hosts, each with its draft, its `.bak` and its history."""
CHECKPOINT_FACTOR = 8
"""Of all checkpoints together, where that is more."""
POLL_S = 0.2
"""The engine tries a failed write again after one second."""
FREE_SPACE = "make room there, and run the same command again: it goes on from there"
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def reserved(on_full: Callable[[str], None]) -> Iterator[None]:
    """Hold the reserve to the end of the block. `on_full` is called once, from another thread, when it is given up.

    Raises `GovcloudError` where there is no room to begin with.
    """
    reserve, size, ended = state_home() / ".reserve", needed(), threading.Event()
    _take(reserve, size)

    def watch() -> None:
        while not ended.wait(POLL_S):
            if (left := free()) < size // 2:
                reserve.unlink(missing_ok=True)
                on_full(f"the disk under {state_home()} has become too full to go on: {_mib(left)} free")
                return

    watcher = threading.Thread(target=watch, name="disk-reserve", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        reserve.unlink(missing_ok=True)


def needed() -> int:
    """Bytes of the reserve; as much again must be free to begin."""
    return max(
        MIN_BYTES,
        CHECKPOINT_FACTOR * sum(path.stat().st_size for path in (state_home() / ".pulumi").glob("stacks/*/*.json")),
    )


def free() -> int:
    """Bytes that are left to us where the state lies."""
    left = os.statvfs(state_home())
    return left.f_bavail * left.f_frsize


def _take(reserve: Path, size: int) -> None:
    reserve.unlink(missing_ok=True)  # of a command that was killed
    try:
        if free() < 2 * size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with reserve.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, size)
    except OSError as error:
        reserve.unlink(missing_ok=True)
        if error.errno not in _FULL:
            raise
        raise GovcloudError(
            f"the disk under {state_home()} is too full to begin: {_mib(free())} free, and {_mib(2 * size)} are needed "
            "to write down safely what is done",
            FREE_SPACE,
        ) from None


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
