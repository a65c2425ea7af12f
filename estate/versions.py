"""Versions of Kubernetes that can be deployed: their modules are pinned and their settings are tested.

There are two minors, so that a cluster can be upgraded. `tools` builds only the versions that the estate declares.
"""

from __future__ import annotations

KUBERNETES = ("1.36.4", "1.37.2")
"""Oldest first, with one patch version of each minor. A newer patch version replaces it."""


def minor(version: str) -> int:
    """Return the minor version: 37 of 1.37.2. Upgrades go from one minor to the next."""
    return int(version.split(".")[1])


def ordered(version: str) -> tuple[int, ...]:
    """Return the version as numbers for comparison: 1.36.10 is newer than 1.36.9."""
    return tuple(int(part) for part in version.split("."))
