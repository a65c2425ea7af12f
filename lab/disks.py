"""Data disks: ext4 of fixed size on a loop device. What was not synced is lost with the power; full is full."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from lab import mounts
from lab.command import LabError, run, wait_for

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
"""As a power cut does: neither data nor journal is written any more."""

OPTIONS = "loop,noatime,nobarrier"
"""What was synced is in the disk's file, and that is as safe as a lab needs. With barriers each sync of a machine would
be one of the host's file system too, whose journal waits for whoever writes there and has no processor just now."""

FSCK_REPAIRED = 1
RELEASE_S = 3.0
"""A dead machine's mounts are released by the kernel within milliseconds."""


def create(disk: Path, size_mib: int) -> None:
    """An empty disk of that size, sparse on the host."""
    disk.parent.mkdir(parents=True, exist_ok=True)
    with disk.open("wb") as file:
        os.truncate(file.fileno(), size_mib << 20)
    run(["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", "-m", "1", str(disk)])


def mount(disk: Path, where: Path) -> None:
    """Check and mount. The loop device goes away with the mount."""
    where.mkdir(parents=True, exist_ok=True)
    try:
        wait_for(f"{disk.name}: the old mount is released", lambda: not devices_of(disk), deadline_s=RELEASE_S)
    except LabError:
        _copy_away_from_holder(disk)
    _check(disk)
    run(["mount", "-t", "ext4", "-o", OPTIONS, str(disk), str(where)])


def _copy_away_from_holder(disk: Path) -> None:
    """Go on with a copy of what is on the disk, where another process's mount namespace still holds the old mount.

    Such a process (a container runtime, a build in a chroot) copied the host's mounts while the machine ran. The old
    file system may write back later what it had in memory, but not to the disk that the machine uses from now on.
    """
    aside = disk.with_suffix(".copy")
    run(["cp", "--sparse=always", str(disk), str(aside)])
    aside.replace(disk)


def _check(disk: Path) -> None:
    """Replay the journal and mend what a power cut may leave; refuse what needs a person."""
    # e2fsck's exit code is a bit mask: 1 is "mended", which is no failure.
    run(["sh", "-c", f'e2fsck -p "$1" || [ $? -le {FSCK_REPAIRED} ]', "e2fsck", str(disk)])


def lose_power(where: Path) -> None:
    """Whatever is mounted there keeps only what was synced; everything after this fails with EIO."""
    try:
        descriptor = os.open(where, os.O_RDONLY)
    except OSError as error:
        raise LabError(f"{where}: {error.strerror}") from None
    try:
        fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
    except OSError as error:
        raise LabError(f"{where}: cannot cut the disk's power: {error.strerror}") from None
    finally:
        os.close(descriptor)


def devices_of(disk: Path) -> list[Path]:
    """Loop devices on that file."""
    return [device for device, file in mounts.loops(with_deleted=False) if file == disk]
