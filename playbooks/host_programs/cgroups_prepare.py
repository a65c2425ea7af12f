#!/usr/bin/python3
"""Create the control group for pods on a host that shares its kernel: `cgroups-prepare /NAME`.

With cgroup version 1 such a host sees the controllers read-only. The program makes them writable and creates a group in
each. A new cpuset group is empty and no process can join it, so it gets the processors and memory of its parent. With
version 2 the kubelet needs only the group.

A shared kernel also keeps the empty groups of pods that died when their host lost power. The kubelet would wait three
seconds for each before it starts a pod, so the program removes them first. The kernel refuses to remove a group that
contains a running process.
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
INHERITED = ("cpuset.cpus", "cpuset.mems")
SHARES = ("cpu.shares", "8192")
"""CPU share of all pods of the host together. Every other process on the shared kernel has 1024."""


def hierarchies(mountinfo: str) -> list[tuple[Path, bool, str]]:
    """Return (mount point, writable, kind) of every mounted hierarchy, from the text of /proc/self/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind = right.split()[0]
        if kind in ("cgroup", "cgroup2"):
            fields = left.split()
            found.append((Path(fields[4]), "rw" in fields[5].split(","), kind))
    return found


def prepare(where: Path, name: str, writable: bool) -> None:
    """Create the group in one hierarchy. First remove the empty groups of dead pods in it."""
    if not writable:
        subprocess.run(["mount", "-o", "remount,bind,rw", str(where)], check=True)
    group = where / name.strip("/")
    for path, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(path).rmdir()
    group.mkdir(parents=True, exist_ok=True)
    for setting in INHERITED:
        target = group / setting
        if target.exists() and not target.read_text().strip():
            target.write_text((where / setting).read_text())
    setting, value = SHARES
    if (group / setting).exists():
        (group / setting).write_text(value)


def main() -> int:
    name = sys.argv[1]
    unified = (ROOT / "cgroup.controllers").exists()
    for where, writable, kind in hierarchies(Path("/proc/self/mountinfo").read_text()):
        # If version 1 is mounted too, version 2 has no controllers.
        if unified or kind == "cgroup":
            prepare(where, name, writable)
    return 0


if __name__ == "__main__":
    sys.exit(main())
