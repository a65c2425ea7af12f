"""Control groups of the machines, v1, v2 or both at once, whatever this host has."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab import names

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "pids")
"""Accounting only. Nobody gets a group of `cpu`: a child group there has no real-time budget, which the wires need."""

NODES = "kubernetes-"
"""What the names of nested Kubernetes nodes' groups begin with."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The hierarchies in which a machine gets a group; systemd's own come first."""

    hierarchies: tuple[Path, ...]
    unified: bool

    def groups(self, host: str) -> list[Path]:
        """The machine's groups."""
        return [hierarchy / names.CGROUP / host for hierarchy in self.hierarchies]


def detect(root: Path = ROOT) -> Layout:
    """What this host has. v2 only: one hierarchy. Otherwise systemd's named one and, in hybrid mode, `unified`."""
    if (root / "cgroup.controllers").exists():
        return Layout(hierarchies=(root,), unified=True)
    candidates = [root / "systemd", root / "unified", *(root / name for name in CONTROLLERS)]
    return Layout(hierarchies=tuple(path for path in candidates if (path / "cgroup.procs").exists()), unified=False)


def create(layout: Layout, host: str) -> list[Path]:
    """Make the machine's groups and return them."""
    if layout.unified:
        _delegate(layout.hierarchies[0])
    groups = layout.groups(host)
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    return groups


def _delegate(root: Path) -> None:
    """v2: let the machines' groups account memory and processes, where the host's root does."""
    parent = root / names.CGROUP
    parent.mkdir(exist_ok=True)
    available = (root / "cgroup.subtree_control").read_text().split()
    for name in CONTROLLERS:
        if name in available:
            (parent / "cgroup.subtree_control").write_text(f"+{name}")


def members(layout: Layout, hosts: Iterable[str] | None = None) -> set[int]:
    """Every process in the groups of those machines, or in any of the lab's."""
    found: set[int] = set()
    for group in _all(layout, [""] if hosts is None else hosts):
        with suppress(OSError, ValueError):
            found.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    return found


def remove(layout: Layout) -> list[Path]:
    """Remove all of the lab's groups; returns those that are still in use."""
    return _remove(_all(layout, [""]))


def remove_nodes(root: Path = ROOT) -> None:
    """Remove the empty groups of pods that nodes without power have left.

    A machine has no group of its own in every hierarchy of version 1, so there these groups lie beside those of the
    host. The role kubernetes_node gives them their names.
    """
    for top in sorted(root.glob(f"*/{NODES}*")):
        _remove([Path(path) for path, _, _ in os.walk(top, topdown=False)])


def _remove(groups: Iterable[Path]) -> list[Path]:
    left = []
    for group in groups:
        try:
            group.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            left.append(group)
    return left


def _all(layout: Layout, tops: Iterable[str]) -> list[Path]:
    """The lab's groups at and below `tops` (empty: all) in every hierarchy, the deepest first."""
    roots = [hierarchy / names.CGROUP / top for hierarchy in layout.hierarchies for top in tops]
    return [Path(path) for root in roots if root.is_dir() for path, _, _ in os.walk(root, topdown=False)]


def memory_bytes(layout: Layout, host: str) -> int | None:
    """Anonymous memory of the machine, page cache excluded; None where the host does not account it."""
    for group in layout.groups(host):
        for key in ("anon", "total_rss"):
            with suppress(OSError, ValueError):
                for line in (group / "memory.stat").read_text().splitlines():
                    name, _, value = line.partition(" ")
                    if name == key:
                        return int(value)
    return None
