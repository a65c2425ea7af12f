"""The host's one lab: its lock, its identity, and the host's state to restore when the lab is removed.

`down` finds everything that it removes without this record. Only the host's state before the lab, for example its loop
devices, is known from the record alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path

from lab import names
from workstation import atomic_write, file_lock
from workstation.errors import Locked
from workstation.file_lock import Holder

LOCK_FILE = names.RUN / "lab.lock"
STATE_FILE = names.RUN / "lab.json"


@dataclass(frozen=True, kw_only=True)
class LabState:
    """The record that `up` writes of its lab. `complete` is true after every machine has answered."""

    instance: str
    checkout: str
    home: str
    digest: str
    image: str
    since: str
    boot: str
    complete: bool = False
    loops: tuple[str, ...] = ()
    """Loop devices from before the lab. The kernel keeps the nodes of newer loop devices until they are removed."""
    available_before_mib: int = 0
    processors_shared: bool = True
    """Whether the host's control groups shared the processors before the lab."""


def boot() -> str:
    """Return the identity of this boot of the host. A lab that was recorded in an earlier boot is gone."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def now() -> str:
    """Return the present time (UTC, ISO 8601), to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write(state: LabState) -> None:
    """Write the record of the lab atomically."""
    names.RUN.mkdir(parents=True, exist_ok=True)
    atomic_write.write(STATE_FILE, json.dumps(asdict(state), indent=1) + "\n", mode=0o644)


def read() -> LabState | None:
    """Return the record of the lab, or None if it is missing, unreadable or of an earlier boot.

    Unknown fields, written by another version, are ignored.
    """
    known = {field.name for field in fields(LabState)}
    try:
        value = {name: part for name, part in json.loads(STATE_FILE.read_text()).items() if name in known}
        found = LabState(**{**value, "loops": tuple(value["loops"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return found if found.boot == boot() else None


@contextmanager
def lock(command: str) -> Iterator[None]:
    """Hold the lock of the host's lab, so that only one process changes the lab.

    Raise `Locked` with the holder's command and process. The kernel frees the lock of a dead holder.
    """
    with file_lock.acquire(LOCK_FILE, command, _refusal):
        yield


def _refusal(holder: Holder | None) -> Locked:
    name = "another process"
    if holder:
        name = f"`{holder.command}` of {holder.checkout}, process {holder.pid}, since {holder.since}"
    return Locked(f"the lab of this host is locked by {name}", "wait until that process has ended, or end it")


def remove() -> None:
    """Remove the record and the lock file. The caller holds the lock and releases it when it ends."""
    STATE_FILE.unlink(missing_ok=True)
    LOCK_FILE.unlink(missing_ok=True)
