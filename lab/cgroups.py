"""Control groups of the machines, v1, v2 or both at once, whatever this host has."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lab import names

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "pids")
"""Accounting only."""
CONTROLLERS_FILE, SUBTREE_CONTROL = "cgroup.controllers", "cgroup.subtree_control"
"""Version 2: what a group has of its parent, and what its children have of it."""
CPU_CONTROLLER = "cpu"
"""When all want the processors, each machine has as much of them as its number in the estate says: one that boots, with
dozens of processes at once, takes none from those that serve, which in a real city have processors of their own. The
wires get no group there: a child group has no real-time budget, which they need. Figures are those of version 1."""
ALL_MACHINES = 2048
"""All machines together. Each of the host's sessions counts 1024 and so does each kernel thread: far more for the
machines starves those that write their disks and carry their packets."""
PER_PROCESSOR = 1024
"""One processor of a machine."""
PEER_MACHINE = 8192
"""A machine of the world outside, which is no part of what a drill measures: the one that measures must not be short of
processors because a site boots."""

NODES = "kubernetes-"
"""What the names of nested Kubernetes nodes' groups begin with; the rest is the host's name."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The hierarchies in which a machine gets a group; systemd's own come first.

    `processors` is the one that shares them out: of its own with version 1, the only one with version 2. None where
    nothing shares them, and for what needs a real-time budget.
    """

    hierarchies: tuple[Path, ...]
    unified: bool
    processors: Path | None = None

    def groups(self, host: str) -> list[Path]:
        """The machine's groups."""
        shared = [self.processors] if self.processors and not self.unified else []
        return [hierarchy / names.CGROUP / host for hierarchy in (*self.hierarchies, *shared)]

    def pods(self, host: str) -> list[Path]:
        """The groups of the pods on the machine; with version 1 they lie beside the machine's own."""
        return [hierarchy / f"{NODES}{host}" for hierarchy in self.hierarchies]


def detect(root: Path = ROOT) -> Layout:
    """What this host has. v2 only: one hierarchy. Otherwise systemd's named one and, in hybrid mode, `unified`."""
    if (root / CONTROLLERS_FILE).exists():
        shares = CPU_CONTROLLER in (root / CONTROLLERS_FILE).read_text().split()
        return Layout(hierarchies=(root,), unified=True, processors=root if shares else None)
    candidates = [root / "systemd", root / "unified", *(root / name for name in CONTROLLERS)]
    return Layout(
        hierarchies=tuple(path for path in candidates if (path / "cgroup.procs").exists()),
        unified=False,
        processors=root / CPU_CONTROLLER if (root / CPU_CONTROLLER / "cgroup.procs").exists() else None,
    )


def create(layout: Layout, host: str, *, weight: int = PER_PROCESSOR) -> list[Path]:
    """Make the machine's groups and return them; `weight` is its part of the processors."""
    if layout.unified:
        _delegate(layout.hierarchies[0])
    groups = layout.groups(host)
    for group in groups:
        group.mkdir(parents=True, exist_ok=True)
    if layout.processors and (not layout.unified or _share_processors(layout.processors)):
        all_machines = layout.processors / names.CGROUP
        for group, shares in ((all_machines, ALL_MACHINES), (all_machines / host, weight)):
            file, text = setting(shares, unified=layout.unified)
            (group / file).write_text(text)
    return groups


def weight(cpus: float) -> int:
    """A machine's part, by its processors in the estate: between a quarter of one and half of what the world outside
    has, so that an estate of very unequal machines starves none."""
    return round(min(max(cpus, 0.25) * PER_PROCESSOR, PEER_MACHINE / 2))


def setting(shares: int, *, unified: bool) -> tuple[str, str]:
    """File and text that give a group its part of the processors. Version 2 counts 100 where version 1 counts 1024, and
    the kernel's scheduler converts it back by the same rule of three."""
    return ("cpu.weight", str(round(shares * 100 / PER_PROCESSOR))) if unified else ("cpu.shares", str(shares))


def without_processors(layout: Layout) -> Layout:
    """The same for what needs a real-time budget."""
    return replace(layout, processors=None)


def _delegate(root: Path) -> None:
    """v2: let the machines' groups account memory and processes, where the host's root does."""
    parent = root / names.CGROUP
    parent.mkdir(exist_ok=True)
    available = (root / SUBTREE_CONTROL).read_text().split()
    for name in CONTROLLERS:
        if name in available:
            (parent / SUBTREE_CONTROL).write_text(f"+{name}")


def _share_processors(root: Path) -> bool:
    """v2: let the machines' groups share the processors. A kernel with real-time groups refuses it as long as a
    real-time process, as the wires are, is outside of the root's group; then all processes of the lab count alike."""
    try:
        for group in (root, root / names.CGROUP):
            if CPU_CONTROLLER not in (group / SUBTREE_CONTROL).read_text().split():
                (group / SUBTREE_CONTROL).write_text(f"+{CPU_CONTROLLER}")
    except OSError:
        return False
    return True


def shares_processors(layout: Layout) -> bool:
    """Whether the host's root shares the processors among its groups already, as `create` would have it do."""
    return not layout.unified or CPU_CONTROLLER in (layout.hierarchies[0] / SUBTREE_CONTROL).read_text().split()


def stop_sharing_processors(layout: Layout) -> None:
    """v2: the root as it was before the lab. The kernel refuses where others have come to rely on it."""
    with suppress(OSError):
        (layout.hierarchies[0] / SUBTREE_CONTROL).write_text(f"-{CPU_CONTROLLER}")


def members(layout: Layout, hosts: Iterable[str] | None = None) -> set[int]:
    """Every process in the groups of those machines and of their pods, or in any of the lab's own groups."""
    found: set[int] = set()
    tops = [group for host in ([""] if hosts is None else hosts) for group in layout.groups(host)]
    tops += [group for host in hosts or () for group in layout.pods(host)]
    for group in _below(tops):
        with suppress(OSError, ValueError):
            found.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    return found


def remove(layout: Layout) -> list[Path]:
    """Remove all of the lab's groups; returns those that are still in use."""
    return _remove(_below(layout.groups("")))


def remove_nodes(powered: Collection[str], root: Path = ROOT) -> None:
    """Remove the empty groups of pods that nodes without power have left; `powered` machines keep theirs.

    A machine has no group of its own in every hierarchy of version 1, so there these groups lie beside those of the
    host. The role kubernetes_node gives them their names.
    """
    tops = [top for top in sorted(root.glob(f"*/{NODES}*")) if top.name.removeprefix(NODES) not in powered]
    _remove(_below(tops))


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


def _below(tops: Iterable[Path]) -> list[Path]:
    """These groups and all below them, the deepest first."""
    return [Path(path) for top in tops if top.is_dir() for path, _, _ in os.walk(top, topdown=False)]


def memory_bytes(layout: Layout, host: str) -> int | None:
    """Anonymous memory of the machine and its pods, page cache excluded; None where the host does not account it."""
    found = [read for group in (*layout.groups(host), *layout.pods(host)) if (read := _anonymous(group)) is not None]
    return sum(found) if found else None


def _anonymous(group: Path) -> int | None:
    for key in ("anon", "total_rss"):
        with suppress(OSError, ValueError):
            for line in (group / "memory.stat").read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == key:
                    return int(value)
    return None
