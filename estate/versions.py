"""Versions of Kubernetes that can be brought to a cluster: their modules are pinned and their settings are proven.

Two minors, so that a cluster can go from one to the next. `tools` builds those that the estate names, and no others.
"""

from __future__ import annotations

KUBERNETES = ("1.36.4", "1.37.2")
"""Oldest first, one patch of each minor: a newer patch takes its place."""


def minor(version: str) -> int:
    """The number that upgrades go along: 37 of 1.37.2."""
    return int(version.split(".")[1])


def ordered(version: str) -> tuple[int, ...]:
    """For comparing: 1.36.10 is newer than 1.36.9."""
    return tuple(int(part) for part in version.split("."))
