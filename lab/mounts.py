"""The lab's mounts and loop devices, read from the kernel and not from records."""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lab import names
from lab.command import LabError

MNT_DETACH = 2
MS_SHARED = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, kw_only=True)
class Mount:
    """One line of the mount table."""

    where: Path
    kind: str
    source: str


def table() -> list[Mount]:
    """Return all mounts of this process's namespace, oldest first."""
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        kind, source = right.split()[:2]
        found.append(Mount(where=Path(_unescaped(left.split()[4])), kind=kind, source=_unescaped(source)))
    return found


def _unescaped(text: str) -> str:
    """Undo the octal escapes of the mount table."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


DELETED = " (deleted)"


def loops(*, with_deleted: bool = True) -> Iterator[tuple[Path, Path]]:
    """Yield each loop device in use with its file. A deleted file has its former name."""
    for entry in Path("/sys/block").glob("loop*"):
        try:
            file = (entry / "loop" / "backing_file").read_text().rstrip("\n")
        except OSError:
            continue
        if with_deleted or not file.endswith(DELETED):
            yield Path("/dev") / entry.name, Path(file.removesuffix(DELETED))


def is_lab_disk(file: Path) -> bool:
    """Return whether the file has a name that the lab gives to its disks."""
    return file.name.startswith(names.DISK_PREFIX) and file.name.endswith(names.DISK_SUFFIX)


def lab_mounts() -> list[Mount]:
    """Return all mounts of any lab, in any home directory, and the mounts below them; the newest first."""
    devices = {str(device) for device, file in loops() if is_lab_disk(file)}
    everything = table()
    tops = [m.where for m in everything if m.source == names.MOUNT_SOURCE or m.source in devices]
    return [m for m in reversed(everything) if any(m.where == top or top in m.where.parents for top in tops)]


def is_mounted(where: Path, source: str | None = None) -> bool:
    """Return whether a file system is mounted exactly there. With `source`, only mounts of that source count."""
    return any(mount.where == where and source in (None, mount.source) for mount in table())


def unmount(where: Path, *, lazily: bool = False) -> bool:
    """Unmount. Return False if a process still uses the mount or nothing is mounted there."""
    return bool(_libc.umount2(os.fsencode(where), MNT_DETACH if lazily else 0) == 0)


def share(where: Path, source: str = names.MOUNT_SOURCE) -> None:
    """Mount a small file system for mount points, shared so that an unmount takes effect in every machine too.

    When a machine starts, its mount namespace gets a hidden copy of all mounts of the host. Without sharing, every
    other machine would keep the disk of a dead machine in use.
    """
    where.mkdir(parents=True, exist_ok=True)
    _mount(source, where, "tmpfs", 0, "size=4m,mode=755")
    _mount(None, where, None, MS_SHARED, None)


def _mount(source: str | None, where: Path, kind: str | None, flags: int, options: str | None) -> None:
    plain = [None if text is None else text.encode() for text in (source, kind, options)]
    if _libc.mount(plain[0], os.fsencode(where), plain[1], flags, plain[2]):
        raise LabError(f"{where}: cannot mount {kind or 'it as shared'}: {os.strerror(ctypes.get_errno())}")


def overlay(image: Path, upper: Path, work: Path, where: Path) -> None:
    """Mount a machine's root: the image, and on top of it the machine's own changes."""
    for directory in (upper, work, where):
        directory.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={image},upperdir={upper},workdir={work}"
    _mount(names.MOUNT_SOURCE, where, "overlay", 0, options)
