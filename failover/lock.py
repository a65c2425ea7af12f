"""The lock that allows one drill or one move of the primary at a time.

The kernel releases the lock when its holder ends. The file's content only names the holder.
"""

from __future__ import annotations

import fcntl
import getpass
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from workstation.errors import Locked


@contextmanager
def held(home: Path, what: str) -> Iterator[None]:
    """Hold the lock of drills and moves. Raises Locked (exit 8) with the holder's name and start."""
    path = home / "drills" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(
                f"another run holds the lock: {_holder(path)}", "wait for it, or stop it with Ctrl-C"
            ) from None
        file.truncate(0)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        holder = {"what": what, "pid": os.getpid(), "user": _user(), "host": os.uname().nodename, "since": started}
        with suppress(OSError):  # a full disk does not prevent the lock
            file.write(json.dumps(holder).encode())
        try:
            yield
        finally:
            file.truncate(0)


def _holder(path: Path) -> str:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return f"{value['what']}, process {value['pid']} of {value['user']} on {value['host']}, since {value['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "the holder has not written its name yet"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
