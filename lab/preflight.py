"""Checks whether this host can run the lab, before anything is changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from lab.command import LabError
from workstation import paths

PROGRAMS = ("systemd-nspawn", "ip", "bridge", "nsenter", "setsid", "mkfs.ext4", "e2fsck", "mount", "losetup")


def host() -> None:
    """Raise `LabError` for the first missing prerequisite."""
    if os.geteuid() != 0:
        raise LabError("the lab needs root: namespaces, mounts and loop devices", "run it as root or with sudo")
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        raise LabError(f"missing on this host: {', '.join(missing)}", "run ./govcloud setup")
    if "overlay" not in Path("/proc/filesystems").read_text():
        raise LabError("this kernel has no overlay file system", "load the module: modprobe overlay")
    if not Path("/dev/loop-control").exists():
        raise LabError("this kernel has no loop devices", "load the module: modprobe loop")


def image() -> Path:
    """Return the root file system that all machines share. Raise `LabError` if it has not been built."""
    current = paths.cache() / "image" / "current"
    if not current.exists():
        raise LabError("the machines' base image is missing", "run ./govcloud setup, which builds it")
    resolved = current.resolve()
    return resolved / "rootfs" if (resolved / "rootfs").is_dir() else resolved
