"""What a host shows of anything that runs on it: to compare before and after."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from lab import cgroups, processes

PROC = Path("/proc")
LEFTOVERS = ("/run/govcloud", "/run/systemd/nspawn")
COUNTERS = {
    *("fs.aio-nr", "fs.dentry-state", "fs.file-nr", "fs.inode-nr", "fs.inode-state", "fs.quota.syncs"),
    *("kernel.ns_last_pid", "kernel.perf_event_max_sample_rate", "kernel.pty.nr", "net.netfilter.nf_conntrack_count"),
}
"""Figures that the kernel moves, some once in minutes: the sampling rate is lowered when the machine is busy."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Names of things that exist, and the kernel's settings."""

    processes: frozenset[str]
    mounts: frozenset[str]
    namespaces: frozenset[str]
    cgroups: frozenset[str]
    loops: frozenset[str]
    interfaces: frozenset[str]
    files: frozenset[str]
    sysctls: dict[str, str]


def take(known: frozenset[int] = frozenset()) -> Snapshot:
    """The host now. Of processes those that are not the work of one in `known` (other people's on this host)."""
    return Snapshot(
        processes=_processes(known),
        mounts=frozenset(" ".join(line.split()[3:5]) for line in (PROC / "self/mountinfo").read_text().splitlines()),
        namespaces=frozenset(path.name for path in Path("/run/netns").glob("*")),
        cgroups=frozenset(path for path, _, _ in os.walk("/sys/fs/cgroup")),
        loops=frozenset(
            f"{path}: {path.read_text().strip()}" for path in Path("/sys/block").glob("loop*/loop/backing_file")
        )
        | frozenset(path.name for path in Path("/sys/block").glob("loop*")),
        interfaces=frozenset(path.name for path in Path("/sys/class/net").iterdir()),
        files=frozenset(str(path) for top in LEFTOVERS for path in Path(top).rglob("*")),
        sysctls=_sysctls(),
    )


def pids() -> frozenset[int]:
    """All processes."""
    return frozenset(int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


def _processes(known: frozenset[int]) -> frozenset[str]:
    return frozenset(
        f"{pid} {_command(pid)}" for pid in pids() - known if _command(pid) and not _ancestors(pid) & (known - {1})
    )


def _command(pid: int) -> str:
    """Command line; for a kernel thread its name, of those that serve a disk."""
    try:
        line = (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        name = (PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""
    return line or (name if name.startswith(("loop", "jbd2/loop")) else "")


def _ancestors(pid: int) -> set[int]:
    found: set[int] = set()
    while pid > 1:
        try:
            pid = int((PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
        found.add(pid)
    return found


def _sysctls() -> dict[str, str]:
    text = subprocess.run(["sysctl", "-a"], capture_output=True, text=True, check=False).stdout
    return dict(line.split(" = ", 1) for line in text.splitlines() if " = " in line)


def differences(before: Snapshot, after: Snapshot, volatile: set[str]) -> list[str]:
    """What is not as before, in words. `volatile` are sysctls that change by themselves."""
    found = []
    for field in fields(Snapshot):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if isinstance(old, dict):
            found += [
                f"{field.name}: {k}: {old.get(k)} -> {new.get(k)}"
                for k in sorted({*old, *new} - volatile)
                if old.get(k) != new.get(k)
            ]
        else:
            found += [f"{field.name}: new {item}" for item in sorted(new - old)]
            found += [f"{field.name}: gone {item}" for item in sorted(old - new) if field.name != "processes"]
    return found


def changing_sysctls(one: Snapshot, other: Snapshot) -> set[str]:
    """Settings that are no settings: counters and random numbers."""
    moved = {key for key in one.sysctls if one.sysctls[key] != other.sysctls.get(key)}
    return moved | COUNTERS


def clean(before: Snapshot, known: frozenset[int], volatile: set[str]) -> None:
    """Fails unless the host is as before, within the time that the kernel needs to forget namespaces."""
    end = time.monotonic() + 10
    while left := differences(before, take(known), volatile):
        if time.monotonic() > end:
            pytest.fail("\n".join(left))
        time.sleep(0.2)


def before_it() -> tuple[Snapshot, frozenset[int], set[str]]:
    """The host as it is, who was there, and what moves by itself."""
    known = pids()
    first = take(known)
    time.sleep(2)  # what changes by itself has to be given the time to do so
    second = take(known)
    return second, known, changing_sysctls(first, second)


def kill_everything() -> None:
    """SIGKILL to every process of the lab: machines, wires and whatever runs beside them."""
    processes.kill(
        (processes.by_command_line() | processes.in_lab_namespaces() | _in_groups()) - processes.self_and_ancestors()
    )


def _in_groups() -> set[int]:
    return cgroups.members(cgroups.detect())
