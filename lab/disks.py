"""Data disks: ext4 of fixed size on a loop device. A power cut loses unsynced data, and a full disk refuses writes."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from lab import mounts
from lab.command import LabError, run, wait_for
from workstation import atomic_write

EXT4_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
"""As at a power cut, neither data nor journal is written any more."""

OPTIONS = "loop,noatime,nobarrier"
"""Without barriers, synced data is in the disk's file: that is safe enough for a lab. With barriers, each sync of a
machine would also sync the host's file system. Its journal waits for all its writers, even for one that has no
processor at the moment."""

FSCK_REPAIRED = 1
RELEASE_S = 3.0
"""Longest wait for a dead machine's mount. The kernel releases it within milliseconds."""


def create(disk: Path, size_mib: int) -> None:
    """Create an empty disk of this size, sparse on the host."""
    disk.parent.mkdir(parents=True, exist_ok=True)
    with disk.open("wb") as file:
        os.truncate(file.fileno(), size_mib << 20)
    run(["mkfs.ext4", "-q", "-F", "-E", "nodiscard,lazy_itable_init=1,lazy_journal_init=1", "-m", "1", str(disk)])


def mount(disk: Path, where: Path) -> None:
    """Check and mount the disk. The loop device disappears with the mount."""
    where.mkdir(parents=True, exist_ok=True)
    try:
        wait_for(f"the old mount of {disk.name} is released", lambda: not devices_of(disk), deadline_s=RELEASE_S)
    except LabError:
        _copy_away_from_holder(disk)
    _check(disk)
    run(["mount", "-t", "ext4", "-o", OPTIONS, str(disk), str(where)])


def _copy_away_from_holder(disk: Path) -> None:
    """Replace the disk by a copy, because another process's mount namespace still uses the old mount.

    That process (a container runtime, a build in a chroot) copied the host's mounts while the machine ran. The old
    file system may still write its cached data later, but not to the disk that the machine uses from now on.
    """
    with atomic_write.replacing(disk, durable=False) as copy:
        run(["cp", "--sparse=always", str(disk), str(copy)])


def _check(disk: Path) -> None:
    """Replay the journal and repair damage of a power cut. Raise `LabError` if a person must decide on the repair."""
    # e2fsck's exit code is a bit mask: 1 means "errors were corrected" and is no failure.
    run(["sh", "-c", f'e2fsck -p "$1" || [ $? -le {FSCK_REPAIRED} ]', "e2fsck", str(disk)])


def lose_power(where: Path) -> None:
    """Cut the power of the disk mounted there: it keeps only synced data, and every later operation fails with EIO."""
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
    """Return the loop devices on this file."""
    return [device for device, file in mounts.loops(with_deleted=False) if file == disk]
