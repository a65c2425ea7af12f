"""The operator's network namespace of the lab. It has no default route, so its traffic cannot leave the machine."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from workstation.errors import GovcloudError

NAME = "gc-ops"
_HANDLE = Path("/run/netns") / NAME
_THREADS = Path("/proc/self/task")
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def exists() -> bool:
    """Return whether a lab has created the namespace."""
    return _HANDLE.exists()


def in_operator_namespace() -> bool:
    """Return whether this process already runs in the namespace."""
    try:
        return Path("/proc/self/ns/net").stat().st_ino == _HANDLE.stat().st_ino
    except OSError:
        return False


def enter_argv() -> list[str]:
    """Return the prefix that runs a command in the namespace; empty if this process already runs in it.

    `nsenter` enters only the network. `ip netns exec` would also create a private mount namespace, and no other process
    would see a drill's remounted disks.
    """
    return [] if in_operator_namespace() else ["nsenter", f"--net={_HANDLE}"]


def enter() -> None:
    """Put this process into the namespace until it ends. All threads and processes that it starts later are in it too.

    Raise RuntimeError if another thread already runs: it would stay outside, and its packets could leave the machine.
    """
    if len(list(_THREADS.iterdir())) > 1:
        raise RuntimeError("another thread was started before the lab's network namespace was entered")
    with _HANDLE.open("rb") as there:
        set_network(there.fileno())


def set_network(descriptor: int) -> None:
    """Put the calling thread into the network namespace of an open file."""
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise GovcloudError(f"cannot enter a network namespace: {os.strerror(ctypes.get_errno())}")
