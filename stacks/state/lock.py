"""One change at a time: locks the stacks, names the holder, and removes locks of dead engines.

There are two kinds of locks. Ours is a lock of `workstation.file_lock`. The command and its workers share it, so it
ends when the last of them ends. After a command was killed, the next one is refused until the hosts that the first had
started are finished. The backend's locks are files with a process ID. They outlive a killed engine, so `remove_stale`
deletes the locks of dead processes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stacks.state import state_files
from workstation import file_lock
from workstation.errors import Locked
from workstation.file_lock import Holder

CLOCK_SLACK_S = 5.0
"""The kernel reports the boot time in whole seconds, and an engine creates its lock right after it has started."""
WAIT = "wait until it ends, or stop it; its changes are kept and the next run continues from there"


@contextmanager
def acquire(command: str) -> Iterator[int]:
    """Lock the estate's stacks until the end of the block. Yield the descriptor of the lock.

    Raise `Locked` with the holder and the time if another process has the lock.
    """
    with file_lock.acquire(state_files.state_home() / "govcloud.lock", command, _refusal) as descriptor:
        remove_stale()
        yield descriptor


def remove_stale() -> tuple[str, ...]:
    """Remove the backend's locks of dead engines and return their stacks. Raise `Locked` if an engine still runs."""
    cleared = []
    for path in sorted((state_files.state_home() / ".pulumi" / "locks").rglob("*.json")):
        stack = path.parent.name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            pid, since = int(content["pid"]), str(content.get("timestamp", ""))
        except (ValueError, KeyError, OSError):
            pid, since = 0, ""
        if pid and _engine_runs(pid, path):
            raise Locked(
                f"stack {stack} is locked by process {pid} (an engine whose command was killed) since {since}", WAIT
            )
        path.unlink(missing_ok=True)
        cleared.append(stack)
    return tuple(cleared)


def _engine_runs(pid: int, lock_file: Path) -> bool:
    """Whether the engine that made the lock still runs.

    A process with the same ID that started later is another process.
    """
    try:
        name = Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()
        return name.startswith("pulumi") and _start_s(pid) <= lock_file.stat().st_mtime + CLOCK_SLACK_S
    except OSError:
        return False


def _start_s(pid: int) -> float:
    """Return when a process started, in seconds since the epoch."""
    ticks = float(_stat(pid)[19])
    boot = next(
        line for line in Path("/proc/stat").read_text(encoding="utf-8").splitlines() if line.startswith("btime ")
    )
    return float(boot.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str]:
    """Return the kernel's fields of a process, starting with its state.

    Raise `OSError` if the process does not exist.
    """
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()


def _refusal(holder: Holder | None) -> Locked:
    name = "another process that has only just started"
    if holder:
        name = f"process {holder.pid} (`{holder.command}`) since {holder.since}"
        if not _is_alive(holder.pid):
            name += ", which was killed; its workers are still finishing the hosts that they had started"
    return Locked(f"the stacks are locked by {name}", WAIT)


def _is_alive(pid: int) -> bool:
    """Whether the process still runs. A zombie, which only waits for its parent, does not count."""
    try:
        return _stat(pid)[0] != "Z"
    except OSError:
        return False


def own_command() -> str:
    """Return the command line of this process, for the lock file."""
    return " ".join(["govcloud", *sys.argv[1:]])
