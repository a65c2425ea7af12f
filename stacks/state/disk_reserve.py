"""Disk space for the state: checked before a run, and reserved until its end.

An engine that cannot write its checkpoint has already changed hosts. So a run starts only if there is enough free
space, and it keeps a reserve file. If the disk fills up during the run, the reserve is deleted and the run is stopped
in order: hosts that have started are finished. The engine retries each write for half a minute, so it can still save
the result.
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
"""Far more than the checkpoints of about 20 hosts need, each with its draft, its `.bak` and its history."""
CHECKPOINT_FACTOR = 8
"""The reserve is this multiple of all checkpoints together, if that is more than `MIN_BYTES`."""
POLL_S = 0.2
"""The engine retries a failed write after one second."""
FREE_SPACE = "free disk space there, and run the same command again: it continues where it stopped"
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def reserved(on_full: Callable[[str], None]) -> Iterator[None]:
    """Keep the reserve file until the end of the block.

    When the disk fills up, delete the reserve and call `on_full` once, from another thread. Raise `GovcloudError` if
    there is not enough space at the start.
    """
    reserve, size, ended = state_home() / ".reserve", needed(), threading.Event()
    _allocate(reserve, size)

    def watch() -> None:
        while not ended.wait(POLL_S):
            if (left := free()) < size // 2:
                reserve.unlink(missing_ok=True)
                on_full(f"the disk under {state_home()} has become too full to continue: {_mib(left)} free")
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
    """Return the size of the reserve in bytes. A run needs twice this size free to start."""
    return max(
        MIN_BYTES,
        CHECKPOINT_FACTOR * sum(path.stat().st_size for path in (state_home() / ".pulumi").glob("stacks/*/*.json")),
    )


def free() -> int:
    """Return the bytes that an unprivileged process may still write on the state's file system."""
    left = os.statvfs(state_home())
    return left.f_bavail * left.f_frsize


def _allocate(reserve: Path, size: int) -> None:
    reserve.unlink(missing_ok=True)  # left by a killed command
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
            f"the disk under {state_home()} is too full to start: {_mib(free())} free, and {_mib(2 * size)} are needed "
            "to save the state safely",
            FREE_SPACE,
        ) from None


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"
