#!/usr/bin/python3
"""A place for pods in the control groups of a host that shares its kernel: `cgroups-prepare /NAME`.

With version 1 such a host sees the controllers read-only; they are made writable, and below each a group is made, for
cpuset with the processors and memory of the group above it, without which nothing can join. With version 2 the kubelet
needs the group only.

A shared kernel also keeps the empty groups of pods that died with their host's power. The kubelet would ask after each
for three seconds before it starts a pod, so they go first; one in which something runs cannot be removed.
"""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
INHERITED = ("cpuset.cpus", "cpuset.mems")
SHARES = ("cpu.shares", "8192")
"""All pods of the host together, where every other process that runs on the shared kernel counts 1024."""


def hierarchies(mountinfo):
    """(mount point, writable, kind) of every mounted hierarchy, from the text of /proc/self/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind = right.split()[0]
        if kind in ("cgroup", "cgroup2"):
            fields = left.split()
            found.append((Path(fields[4]), "rw" in fields[5].split(","), kind))
    return found


def prepare(where, name, writable):
    """Make the group in one hierarchy, without what the dead have left in it."""
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


def main():
    name = sys.argv[1]
    unified = (ROOT / "cgroup.controllers").exists()
    for where, writable, kind in hierarchies(Path("/proc/self/mountinfo").read_text()):
        # Beside version 1, version 2 carries no controllers.
        if unified or kind == "cgroup":
            prepare(where, name, writable)
    return 0


if __name__ == "__main__":
    sys.exit(main())
