"""Traces of a lab on its host: a census while the lab runs, and the remains afterwards.

Other programs on the host create and remove processes, mounts, namespaces and control groups all the time. So this
module never compares the whole host. `census` records the objects of the running lab. `remains` reports which of them
still exist later, and which settings of the host differ from before.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab import cgroups, cleanup, mounts, names, processes, sysctls
from tests.polling import until

PROC = Path("/proc")
CGROUPS = Path("/sys/fs/cgroup")
GONE_WITHIN_S = 10
"""The kernel needs some seconds to remove a network namespace after its last process."""


@dataclass(frozen=True, kw_only=True)
class Before:
    """The state of the host without a lab, limited to objects and settings that a lab changes."""

    sysctls: dict[str, str]
    processors_shared: bool
    netns_mounted: bool
    loop_nodes: frozenset[str]
    cgroups: frozenset[str]
    interfaces: frozenset[str]
    files: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Census:
    """All objects of a running lab. Processes are pairs of ID and start time, in clock ticks after boot."""

    processes: frozenset[tuple[int, int]]
    mounts: frozenset[str]
    cgroups: frozenset[str]
    loop_nodes: frozenset[str]
    netns: frozenset[str]

    def __or__(self, other: Census) -> Census:
        return Census(
            processes=self.processes | other.processes,
            mounts=self.mounts | other.mounts,
            cgroups=self.cgroups | other.cgroups,
            loop_nodes=self.loop_nodes | other.loop_nodes,
            netns=self.netns | other.netns,
        )


def before() -> Before:
    """Return the present state of the host. No lab may be up."""
    return Before(
        sysctls=sysctls.read(),
        processors_shared=cgroups.shares_processors(cgroups.detect()),
        netns_mounted=mounts.is_mounted(names.NETNS_DIR),
        loop_nodes=_loop_nodes(),
        cgroups=frozenset(path for path, _, _ in os.walk(CGROUPS)),
        interfaces=_interfaces(),
        files=_files(),
    )


def census(home: Path) -> Census:
    """Return the processes, mounts, control groups, loop devices and namespaces of the running lab below `home`."""
    pids = _processes()
    return Census(
        processes=frozenset((pid, start) for pid in pids if (start := processes.start_time(pid)) is not None),
        mounts=frozenset(_mounts(home)),
        cgroups=frozenset(path for pid in pids for path in _cgroups_of(pid)),
        loop_nodes=frozenset(device.name for device, file in mounts.loops() if home in file.parents),
        netns=frozenset(path.name for path in names.NETNS_DIR.glob(f"{names.PREFIX}*")),
    )


def remains(was: Before, made: Census, home: Path) -> list[str]:
    """Return one line for each remaining object of the lab, and for each setting that is still changed."""
    now = before()
    loops = {device.name: file for device, file in mounts.loops()}
    found = [f"process {pid}: {_command(pid)}" for pid, start in made.processes if processes.start_time(pid) == start]
    found += [f"mount {where}" for where in made.mounts & set(_mounts(home))]
    found += [f"control group {path}" for path in (made.cgroups - was.cgroups) if Path(path).is_dir()]
    found += [f"loop device {name}" for name in made.loop_nodes if home in loops.get(name, Path()).parents]
    found += [f"node of loop device {name}" for name in (made.loop_nodes - was.loop_nodes) & now.loop_nodes]
    found += [f"namespace {name}" for name in made.netns if (names.NETNS_DIR / name).exists()]
    found += [f"interface {name}" for name in (now.interfaces - was.interfaces) & _interfaces_of_a_lab()]
    found += [f"file {path}" for path in now.files - was.files]
    found += [
        f"{name}: {was.sysctls[name]} -> {now.sysctls.get(name)}"
        for name in was.sysctls
        if was.sysctls[name] != now.sysctls.get(name)
    ]
    if now.processors_shared != was.processors_shared:
        found.append("the host's root control group shares the processors")
    if mounts.is_mounted(names.NETNS_DIR, names.NETNS_SOURCE) and not any(names.NETNS_DIR.iterdir()):
        found.append(f"mount {names.NETNS_DIR}")
    return sorted(found) + [f"by name: {trace}" for trace in cleanup.leftovers()]


def assert_gone(was: Before, made: Census, home: Path) -> None:
    """Wait until the lab has left no remains. Raise AssertionError with every remaining trace."""
    assert made.processes, "the census was taken while no lab was up"

    def gone() -> bool:
        left[:] = remains(was, made, home)
        return not left

    left: list[str] = []
    try:
        until("the lab has left no remains", gone, GONE_WITHIN_S)
    except AssertionError:
        raise AssertionError("remains of the lab:\n" + "\n".join(left)) from None


def kill_everything() -> None:
    """Send SIGKILL to every process of the lab: machines, wires, programs in its namespaces and control groups."""
    processes.kill(_processes())


def _processes() -> set[int]:
    """Return the lab's processes, found in three ways, and all their descendants.

    So the census does not depend on the search of `down`.
    """
    found = processes.by_command_line() | processes.in_lab_namespaces() | cgroups.members(cgroups.detect())
    parents = {pid: _parent(pid) for pid in processes.pids()}
    grew = True
    while grew:
        children = {pid for pid, parent in parents.items() if parent in found} - found
        found |= children
        grew = bool(children)
    return found - processes.self_and_ancestors()


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int((PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
    return 0


def _command(pid: int) -> str:
    return " ".join(processes.command_line(pid))[:100]


def _mounts(home: Path) -> Iterator[str]:
    """Yield mount points below the lab's home, of file systems from its disks, and of its namespaces."""
    disks = {str(device) for device, file in mounts.loops() if home in file.parents}
    for mount in mounts.table():
        is_namespace = mount.where.parent == names.NETNS_DIR and mount.where.name.startswith(names.PREFIX)
        ours = mount.source in (names.MOUNT_SOURCE, names.NETNS_SOURCE) or mount.source in disks
        if (ours and mount.where != names.NETNS_DIR) or is_namespace or home in mount.where.parents:
            yield str(mount.where)


def _cgroups_of(pid: int) -> Iterator[str]:
    """Yield the paths of the process's control groups in every hierarchy, with all parent groups."""
    with suppress(OSError):
        for line in (PROC / str(pid) / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            mounted = controllers.removeprefix("name=") or ("." if (CGROUPS / "cgroup.procs").exists() else "unified")
            group = (CGROUPS / mounted / path.lstrip("/")).resolve()
            yield from (str(part) for part in (group, *group.parents) if CGROUPS in part.parents)


def _loop_nodes() -> frozenset[str]:
    return frozenset(path.name for path in Path("/sys/block").glob("loop*"))


def _interfaces() -> frozenset[str]:
    return frozenset(path.name for path in Path("/sys/class/net").iterdir())


def _interfaces_of_a_lab() -> set[str]:
    """Return all names that the topology gives to the lab's interfaces. No interface of the host has such a name."""
    from estate.addressing import plan
    from estate.loader import load
    from lab.topology import MANAGEMENT_BRIDGE, topology

    estate = load()
    ports = [port for machine in topology(estate, plan(estate)).machines for port in machine.ports]
    return {MANAGEMENT_BRIDGE, *(port.outside for port in ports), *(port.inside for port in ports)}


def _files() -> frozenset[str]:
    """Return the files of the lab's runtime folder, and systemd-nspawn's files about the lab's machines."""
    own = {str(path) for path in names.RUN.rglob("*")}
    return frozenset(own | {str(path) for path in names.NSPAWN_STATE.rglob(f"{names.PREFIX}*")})
