"""One change at a time: who holds the estate, since when, and what a dead holder left behind.

Two locks. Ours is an advisory lock of the operating system, held by the command and by its workers. It ends with the
last of them: a killed command is waited for until the hosts that it had begun are finished. The file's content only
says who it was. The backend's locks are files with a process ID, which outlive a killed engine: those of dead
processes are removed.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from stacks.state import state_files
from workstation.errors import Locked

CLOCK_SLACK_S = 5.0
"""The kernel tells the time of boot in whole seconds, and an engine makes its lock right after it has started."""
WAIT = "wait for it to end, or end it; what it changed is kept and the next run goes on"


@contextmanager
def acquire(command: str) -> Iterator[int]:
    """Hold the estate's stacks to the end of the block; gives the descriptor that holds them.

    Raises `Locked` with holder and time.
    """
    path = state_files.state_home() / "govcloud.lock"
    with path.open("ab", buffering=0) as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Locked(f"the stacks are held by {_holder(path)}", WAIT) from None
        remove_stale()
        stream.truncate(0)
        who = {"pid": os.getpid(), "command": command, "since": datetime.now(UTC).isoformat(timespec="seconds")}
        with suppress(OSError):  # on a full disk it is held all the same
            stream.write(json.dumps(who).encode())
        try:
            yield stream.fileno()
        finally:
            stream.truncate(0)


def remove_stale() -> tuple[str, ...]:
    """Remove the backend's locks whose engine is dead; answers their stacks. Raises `Locked` for a living one."""
    cleared = []
    for path in sorted((state_files.state_home() / ".pulumi" / "locks").rglob("*.json")):
        stack = path.parent.name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            pid, since = int(content["pid"]), str(content.get("timestamp", ""))
        except (ValueError, KeyError, OSError):
            pid, since = 0, ""
        if pid and _holds(pid, path):
            raise Locked(
                f"stack {stack} is held by process {pid} (an engine whose command was killed) since {since}", WAIT
            )
        path.unlink(missing_ok=True)
        cleared.append(stack)
    return tuple(cleared)


def _holds(pid: int, lock_file: Path) -> bool:
    """Whether the process that made the lock still lives: one with its ID that started later is another."""
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
        return name.startswith("pulumi") and _start_s(pid) <= lock_file.stat().st_mtime + CLOCK_SLACK_S
    except OSError:
        return False


def _start_s(pid: int) -> float:
    """When a process started, in seconds since the epoch."""
    ticks = float(_stat(pid)[19])
    boot = next(
        line for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines() if line.startswith("btime ")
    )
    return float(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """The kernel's fields of a process, from its state on. Raises `OSError` where there is none."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()


def _holder(path: Path) -> str:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        who = f"process {content['pid']} (`{content['command']}`) since {content['since']}"
        if _lives(int(content["pid"])):
            return who
        return f"{who}, which was killed; the hosts that it had begun are being finished"
    except (ValueError, KeyError, OSError):
        return "another process that has only just begun"


def _lives(pid: int) -> bool:
    """Whether the process still works: one that only waits for its parent to take notice does not."""
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def own_command() -> str:
    """How this process was called, for whoever finds the lock."""
    return " ".join(["govcloud", *sys.argv[1:]])
