"""The operator's network namespace of the lab. It has no default route, so its traffic cannot leave the machine."""

from __future__ import annotations

from pathlib import Path

NAME = "gc-ops"
_HANDLE = Path("/run/netns") / NAME


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
