"""Noise on the host: creates and removes mounts, namespaces and control groups while the lab's tests run.

Tests of the lab must not mistake other programs' processes, mounts, namespaces and control groups for the lab's.
Usage: `python noise.py SECONDS`. The program ends after that time or together with its parent process, and removes
everything. One round lasts three seconds, so the noise needs little processor time.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

PREFIX = "govcloud-noise-"
ROUND_S = 3.0
PR_SET_PDEATHSIG = 1
CGROUPS = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """Return at most two hierarchies in which a control group can be created. Version 1 has many, version 2 has one."""
    found = [CGROUPS] if (CGROUPS / "cgroup.procs").exists() else sorted(CGROUPS.glob("*/cgroup.procs"))
    return [path if path.is_dir() else path.parent for path in found][:2]


def one_round(folder: Path) -> None:
    """Create a mount, a network namespace with a process in it, and control groups; then remove them."""
    place = folder / "mount"
    place.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", folder.name, place], check=True)
    groups = [hierarchy / folder.name for hierarchy in hierarchies()]
    for group in groups:
        group.mkdir(exist_ok=True)
    process = subprocess.Popen(["unshare", "--net", "sleep", str(ROUND_S / 2)])
    for group in groups:
        with suppress(OSError):
            (group / "cgroup.procs").write_text(str(process.pid))
    process.wait()
    remove(folder)


def remove(folder: Path) -> None:
    """Remove all remains of a round."""
    with suppress(OSError):
        if (folder / "mount").is_mount():
            subprocess.run(["umount", folder / "mount"], check=True)
        (folder / "mount").rmdir()
        folder.rmdir()
    for hierarchy in hierarchies():
        with suppress(OSError):
            (hierarchy / folder.name).rmdir()


def main(seconds: float) -> None:
    """Make noise for so many seconds. Remove the remains of a killed run first."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for left in (
        *Path("/run").glob(f"{PREFIX}*"),
        *(group for top in hierarchies() for group in top.glob(f"{PREFIX}*")),
    ):
        if not Path(f"/proc/{left.name.removeprefix(PREFIX)}").exists():
            remove(Path("/run") / left.name)
    folder = Path("/run") / f"{PREFIX}{os.getpid()}"
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            began = time.monotonic()
            one_round(folder)
            time.sleep(max(0.0, ROUND_S - (time.monotonic() - began)))
    finally:
        remove(folder)


if __name__ == "__main__":
    main(float(sys.argv[1]))
