"""Control groups of the machines, on a host with version 1, version 2 or both at once."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lab import names

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "pids")
"""Used for accounting only."""
CONTROLLERS_FILE, SUBTREE_CONTROL = "cgroup.controllers", "cgroup.subtree_control"
"""Version 2: files with the controllers that a group has from its parent, and those that it passes to its children."""
CPU_CONTROLLER = "cpu"
"""Divides the processors by each machine's `cpus` in the estate when all machines want them. A booting machine starts
dozens of processes at once. It must not take processors from machines that serve: at a real site each machine has its
own. The link emulator gets no group in this hierarchy, because it needs a real-time budget and a child group has none.
The figures below are shares of version 1."""
ALL_MACHINES = 2048
"""Shares of all machines together. Each session of the host and each kernel thread has 1024. Far more for the machines
starves the kernel threads that write their disks and carry their packets."""
PER_PROCESSOR = 1024
"""Shares for one processor of a machine."""
PEER_MACHINE = 8192
"""Shares of a peer's machine, which is outside the measured estate. The load generator of a drill runs there and must
not be short of processors because a site boots."""

NODES = "kubernetes-"
"""Prefix of the names of nested Kubernetes nodes' groups; the host's name follows."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The hierarchies in which a machine gets a group, systemd's own first.

    `processors` is the hierarchy that divides the processors: a separate one in version 1, the only one in version 2.
    It is None if the host does not divide them, and for processes that need a real-time budget.
    """

    hierarchies: tuple[Path, ...]
    unified: bool
    processors: Path | None = None

    def groups(self, host: str) -> list[Path]:
        """Return the machine's groups."""
        shared = [self.processors] if self.processors and not self.unified else []
        return [hierarchy / names.CGROUP / host for hierarchy in (*self.hierarchies, *shared)]

    def pods(self, host: str) -> list[Path]:
        """Return the groups of the pods on the machine. They are outside the machine's own groups."""
        return [hierarchy / f"{NODES}{host}" for hierarchy in self.hierarchies]


def detect(root: Path = ROOT) -> Layout:
    """Return the hierarchies of this host.

    With version 2 alone there is one. Otherwise they are systemd's named one, in hybrid mode `unified`, and those of
    the accounting controllers.
    """
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
    """Create the machine's groups and return them. `weight` is its share of the processors."""
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
    """Return the shares of a machine with this number of processors in the estate.

    They are at least those of a quarter processor and at most half of a peer machine's. These limits keep an estate of
    very unequal machines from starving one.
    """
    return round(min(max(cpus, 0.25) * PER_PROCESSOR, PEER_MACHINE / 2))


def setting(shares: int, *, unified: bool) -> tuple[str, str]:
    """Return the file and the text that set a group's shares of the processors.

    Version 2 counts 100 for 1024 of version 1, and the kernel's scheduler converts with the same factor.
    """
    return ("cpu.weight", str(round(shares * 100 / PER_PROCESSOR))) if unified else ("cpu.shares", str(shares))


def without_processors(layout: Layout) -> Layout:
    """Return the layout for processes that need a real-time budget: without a group that divides processors."""
    return replace(layout, processors=None)


def _delegate(root: Path) -> None:
    """Version 2: let the machines' groups account memory and processes, if the host's root does."""
    parent = root / names.CGROUP
    parent.mkdir(exist_ok=True)
    available = (root / SUBTREE_CONTROL).read_text().split()
    for name in CONTROLLERS:
        if name in available:
            (parent / SUBTREE_CONTROL).write_text(f"+{name}")


def _share_processors(root: Path) -> bool:
    """Version 2: let the machines' groups share the processors. Return False if the kernel refuses.

    A kernel with real-time groups refuses while a real-time process, for example the link emulator, is outside the
    root's group. Then all processes of the lab count alike.
    """
    try:
        for group in (root, root / names.CGROUP):
            if CPU_CONTROLLER not in (group / SUBTREE_CONTROL).read_text().split():
                (group / SUBTREE_CONTROL).write_text(f"+{CPU_CONTROLLER}")
    except OSError:
        return False
    return True


def shares_processors(layout: Layout) -> bool:
    """Return whether the host's root already shares the processors among its groups. If not, `create` turns it on."""
    return not layout.unified or CPU_CONTROLLER in (layout.hierarchies[0] / SUBTREE_CONTROL).read_text().split()


def stop_sharing_processors(layout: Layout) -> None:
    """Version 2: restore the root's setting from before the lab. The kernel refuses if other groups use it by now."""
    with suppress(OSError):
        (layout.hierarchies[0] / SUBTREE_CONTROL).write_text(f"-{CPU_CONTROLLER}")


def members(layout: Layout, hosts: Iterable[str] | None = None) -> set[int]:
    """Return all processes in the groups of these machines and their pods; without `hosts`, in the lab's own groups."""
    found: set[int] = set()
    tops = [group for host in ([""] if hosts is None else hosts) for group in layout.groups(host)]
    tops += [group for host in hosts or () for group in layout.pods(host)]
    for group in _below(tops):
        with suppress(OSError, ValueError):
            found.update(int(pid) for pid in (group / "cgroup.procs").read_text().split())
    return found


def remove(layout: Layout) -> list[Path]:
    """Remove all of the lab's groups. Return those that are still in use."""
    return _remove(_below(layout.groups("")))


def remove_nodes(powered: Collection[str], root: Path = ROOT) -> None:
    """Remove the empty pod groups of nodes without power. The `powered` machines keep theirs.

    In version 1 a machine does not have its own group in every hierarchy, so these groups are next to the host's. The
    role kubernetes_node sets their names.
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
    """Return these groups and all groups below them, the deepest first."""
    return [Path(path) for top in tops if top.is_dir() for path, _, _ in os.walk(top, topdown=False)]


def memory_bytes(layout: Layout, host: str) -> int | None:
    """Return the anonymous memory (no page cache) of machine and pods, or None if the host does not account it."""
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
