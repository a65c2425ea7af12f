"""Locks between the processes of this machine. The lock file names the holder.

They are advisory locks of the operating system (flock). A process that inherits the descriptor holds the lock too. The
kernel releases it when the last of them ends, so a killed holder leaves nothing to clean up. The content of the file
only names the holder. The entry `./govcloud` needs this module before the Python environment exists, so it imports the
standard library only.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from workstation import paths
from workstation.errors import Locked


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that holds a lock, as the lock file names it. `since` is in UTC (ISO 8601), to the second."""

    command: str
    pid: int
    user: str
    host: str
    checkout: str
    since: str


@contextmanager
def acquire(path: Path, command: str, refusal: Callable[[Holder | None], Locked]) -> Iterator[int]:
    """Hold the lock until the end of the block, and yield its descriptor.

    If another process has the lock, raise the error that `refusal` makes of its holder. The holder is None if it has
    not written its name yet, or could not, for example on a full disk.
    """

    def refuse() -> None:
        raise refusal(_holder(path))

    with _locked(path, refuse) as descriptor:
        os.ftruncate(descriptor, 0)
        with suppress(OSError):  # a full disk does not prevent the lock
            os.pwrite(descriptor, json.dumps(asdict(_this_process(command))).encode(), 0)
        try:
            yield descriptor
        finally:
            os.ftruncate(descriptor, 0)


@contextmanager
def wait_for(path: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock until the end of the block. If another process has it, call `on_wait` and wait for its end."""
    with _locked(path, on_wait):
        yield


def try_lock(descriptor: int) -> bool:
    """Lock an open file or folder. Return False if another process has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def lock(descriptor: int) -> None:
    """Lock an open file or folder. Wait until no other process has locked it."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def _locked(path: Path, on_busy: Callable[[], None]) -> Iterator[int]:
    """Lock the file and yield its descriptor. If it is locked, call `on_busy`; wait if that returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not try_lock(descriptor):
                on_busy()
                lock(descriptor)
            if _is_at(path, descriptor):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the path still names the open file. The former holder may have removed it after we had opened it."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _this_process(command: str) -> Holder:
    return Holder(
        command=command,
        pid=os.getpid(),
        user=_user(),
        host=os.uname().nodename,
        checkout=str(paths.repo()),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _holder(path: Path) -> Holder | None:
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
