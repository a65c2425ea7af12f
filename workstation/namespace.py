"""The operator's network namespace of the lab. It has no default route: nothing in it can leave the machine."""

from __future__ import annotations

from pathlib import Path

NAME = "gc-ops"
_HANDLE = Path("/run/netns") / NAME


def exists() -> bool:
    """Whether a lab has made it."""
    return _HANDLE.exists()


def in_operator_namespace() -> bool:
    """Whether this process already runs in it."""
    try:
        return Path("/proc/self/ns/net").stat().st_ino == _HANDLE.stat().st_ino
    except OSError:
        return False


def enter_argv() -> list[str]:
    """What to put before a command so that it runs there; empty where it already does.

    `nsenter` on the network alone: `ip netns exec` would also make a private mount namespace, in which a drill's
    remounted disks would stay invisible to everyone else.
    """
    return [] if in_operator_namespace() else ["nsenter", f"--net={_HANDLE}"]
