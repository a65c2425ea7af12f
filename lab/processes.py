"""Finds the lab's processes in /proc, by network namespace or by command line."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from lab import names

PROC = Path("/proc")


@dataclass(frozen=True, kw_only=True)
class RunningMachine:
    """A machine that has power: the host's PIDs of its systemd-nspawn and of its init (None while it starts)."""

    nspawn: int
    leader: int | None


def pids() -> list[int]:
    """Return the IDs of all processes of the host."""
    return [int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit()]


def command_line(pid: int) -> list[str]:
    """Return the arguments of a process. They are empty for a kernel thread, a zombie or an ended process."""
    try:
        text = (PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").rstrip("\0")
    except OSError:
        return []
    return text.split("\0") if text else []


def start_time(pid: int) -> int | None:
    """Return the start of the process in clock ticks after boot, or None for a zombie or an ended process.

    Start time and PID together identify a process even if its PID is used again.
    """
    stat = _stat(pid)
    return int(stat[19]) if stat and stat[0] != "Z" else None


def _stat(pid: int) -> list[str] | None:
    try:
        return (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def running_machines() -> dict[str, RunningMachine]:
    """Return the machines that have power, by host name."""
    flag = f"--machine={names.PREFIX}"
    found: dict[str, int] = {}
    parents: dict[int, list[int]] = {}
    for pid in pids():
        stat = _stat(pid)
        if stat is None or stat[0] == "Z":
            continue
        parents.setdefault(int(stat[1]), []).append(pid)
        argv = command_line(pid)
        if argv and Path(argv[0]).name == "systemd-nspawn":
            for argument in argv:
                if argument.startswith(flag):
                    found[argument.removeprefix(flag)] = pid
    return {host: RunningMachine(nspawn=pid, leader=_leader(parents.get(pid, []))) for host, pid in found.items()}


def powered() -> set[str]:
    """Return the names of all machines under systemd-nspawn on this host, in the lab or not."""
    flag = "--hostname="
    found = [argv for pid in pids() if (argv := command_line(pid)) and Path(argv[0]).name == "systemd-nspawn"]
    return {argument.removeprefix(flag) for argv in found for argument in argv if argument.startswith(flag)}


def _leader(children: Iterable[int]) -> int | None:
    """Return the child that is PID 1 in its own namespace."""
    for pid in children:
        with suppress(OSError):
            for line in (PROC / str(pid) / "status").read_text(errors="replace").splitlines():
                if line.startswith("NSpid:") and line.split()[-1] == "1" and len(line.split()) > 2:
                    return pid
    return None


def in_lab_namespaces() -> set[int]:
    """Return all processes in network namespaces of the lab."""
    inodes = set()
    if names.NETNS_DIR.is_dir():
        for handle in names.NETNS_DIR.glob(f"{names.PREFIX}*"):
            with suppress(OSError):
                inodes.add(handle.stat().st_ino)
    found = set()
    for pid in pids():
        with suppress(OSError):
            if (PROC / str(pid) / "ns" / "net").stat().st_ino in inodes:
                found.add(pid)
    return found


def by_command_line() -> set[int]:
    """Return the link emulator and the systemd-nspawn processes of the machines, in any namespace."""
    found = set()
    for pid in pids():
        argv = command_line(pid)
        if not argv:
            continue
        program = Path(argv[0]).name
        is_machine = program == "systemd-nspawn" and any(a.startswith(f"--machine={names.PREFIX}") for a in argv)
        if program == names.WIRES_PROGRAM or is_machine:
            found.add(pid)
    return found


def self_and_ancestors() -> set[int]:
    """Return this process and its ancestors. The lab must never kill them."""
    found, pid = set(), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        stat = _stat(pid)
        pid = int(stat[1]) if stat else 0
    return found


def kill(wanted: Iterable[int]) -> None:
    """Send SIGKILL to each process. A process that has ended already is no error."""
    for pid in wanted:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def alive(wanted: Iterable[int]) -> set[int]:
    """Return the processes that still run."""
    return {pid for pid in wanted if start_time(pid) is not None}
