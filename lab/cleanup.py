"""Removes the lab in any state. Everything is found by name in the kernel, not in records."""

from __future__ import annotations

import fcntl
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from lab import cgroups, lab_state, mounts, names, network, processes, sysctls
from lab.command import LabError, run, wait_for
from lab.names import Directories
from workstation import file_lock

LOOP_CTL_REMOVE = 0x4C81
Progress = Callable[[str], None]


def remove_all(directories: Directories, on_event: Progress) -> None:
    """Remove processes, mounts, loop devices, namespaces, control groups and files, and restore the sysctls.

    It can be repeated and interrupted at any point. Raise `LabError` with the objects that cannot be removed.
    """
    state = lab_state.read()
    homes = {directories.lab, *([Directories(home=Path(state.home)).lab] if state else [])}
    layout = cgroups.detect()
    kill_processes(layout)
    _unmount_all()
    if in_use := _detach_loops():
        on_event(_holders(in_use))
    if state:
        _remove_loop_nodes(state.loops)
    _remove_namespaces()
    wait_for("the lab's control groups are empty", lambda: not cgroups.remove(layout), deadline_s=10)
    cgroups.remove_nodes(processes.powered())
    if state and not state.processors_shared:
        cgroups.stop_sharing_processors(layout)
    if failed := sysctls.restore():
        on_event(f"these sysctls could not be restored: {', '.join(failed)}")
    for directory in homes:
        _remove_tree(directory)
    _remove_nspawn_state()
    (names.RUN / "wires.sock").unlink(missing_ok=True)
    lab_state.STATE_FILE.unlink(missing_ok=True)


def leftovers() -> list[str]:
    """Return the number of each kind of remains of any lab, as text. The list is empty on a clean host."""
    found = [f"{len(m)} mounts" for m in [mounts.lab_mounts()] if m]
    found += [f"{len(p)} processes" for p in [_lab_processes(cgroups.detect())] if p]
    if names.NETNS_DIR.is_dir() and (namespaces := list(names.NETNS_DIR.glob(f"{names.PREFIX}*"))):
        found.append(f"{len(namespaces)} namespaces")
    if loops := [file for _, file in mounts.loops(with_deleted=False) if mounts.is_lab_disk(file)]:
        found.append(f"{len(loops)} loop devices")
    return found


def _lab_processes(layout: cgroups.Layout) -> set[int]:
    found = processes.by_command_line() | processes.in_lab_namespaces() | cgroups.members(layout)
    return found - processes.self_and_ancestors()


def kill_processes(layout: cgroups.Layout) -> None:
    """Kill machines, the link emulator, and all processes in the lab's namespaces and control groups.

    Repeat until no process is left.
    """

    def nothing_left() -> bool:
        left = processes.alive(_lab_processes(layout))
        processes.kill(left)
        return not left

    wait_for("the lab's processes are gone", nothing_left, deadline_s=20)


def _unmount_all() -> None:
    def unmounted() -> bool:
        for mount in mounts.lab_mounts():
            mounts.unmount(mount.where)
        return not mounts.lab_mounts()

    try:
        wait_for("the lab's mounts are gone", unmounted, deadline_s=5)
    except LabError:
        # A shell's working directory is below it: detach it from the tree. The kernel frees it when the shell leaves.
        for mount in mounts.lab_mounts():
            mounts.unmount(mount.where, lazily=True)


def _detach_loops() -> list[Path]:
    """Free the loop devices. Return those that another mount namespace still uses.

    The kernel frees these together with that namespace.
    """
    ours: list[Path] = []

    def detached() -> bool:
        for device in (device for device, file in mounts.loops() if mounts.is_lab_disk(file)):
            run(["losetup", "--detach", str(device)], check=False)
        # A device of a deleted file does not count: an earlier cleanup waited for it before it deleted the file.
        ours[:] = [device for device, file in mounts.loops(with_deleted=False) if mounts.is_lab_disk(file)]
        return not ours

    with suppress(LabError):
        wait_for("the lab's loop devices are free", detached, deadline_s=5)
    return ours


def _holders(devices: list[Path]) -> str:
    """Return a message with the processes that may still use the devices.

    These processes copied this host's mounts into their own mount namespace.
    """
    here = Path("/proc/self/ns/mnt").stat().st_ino
    found: dict[int, str] = {}
    for pid in processes.pids():
        with suppress(OSError):
            namespace = Path(f"/proc/{pid}/ns/mnt").stat().st_ino
            if namespace != here and (argv := processes.command_line(pid)):
                found.setdefault(namespace, f"process {pid} ({' '.join(argv)[:60]})")
    joined = ", ".join(map(str, devices))
    holders = "; ".join(found.values()) or "unknown"
    return f"{joined}: another mount namespace still uses them, until it ends: {holders}"


def _remove_loop_nodes(before: tuple[str, ...]) -> None:
    """Remove the loop devices that the lab added. The kernel keeps them; devices from before the lab stay."""
    in_use = {str(device) for device, _ in mounts.loops()}
    with suppress(OSError), Path("/dev/loop-control").open("rb") as control:
        for entry in Path("/sys/block").glob("loop*"):
            number = re.fullmatch(r"loop(\d+)", entry.name)
            if number and f"/dev/{entry.name}" not in {*before, *in_use}:
                with suppress(OSError):
                    fcntl.ioctl(control, LOOP_CTL_REMOVE, int(number[1]))


def _remove_namespaces() -> None:
    """Delete the lab's namespaces, then the file system that the lab mounted for them if no other process uses it."""
    if not names.NETNS_DIR.is_dir():
        return
    spaces = [path.name for path in names.NETNS_DIR.glob(f"{names.PREFIX}*")]
    network.remove_netns(spaces)
    for name in spaces:  # without its mount, a handle is an empty file
        (names.NETNS_DIR / name).unlink(missing_ok=True)
    if not mounts.is_mounted(names.NETNS_DIR, names.NETNS_SOURCE) or any(names.NETNS_DIR.iterdir()):
        return
    if mounts.unmount(names.NETNS_DIR):
        with suppress(OSError):  # the directory below the mount may have files of other programs
            names.NETNS_DIR.rmdir()


def _remove_tree(directory: Path) -> None:
    """Delete the lab's files. Raise `LabError` if a mount is left below them: the deletion would reach into it."""
    below = [m.where for m in mounts.table() if directory in m.where.parents]
    if below:
        raise LabError(
            f"still mounted: {', '.join(map(str, below))}",
            "end the processes that use it, then run ./govcloud lab down again",
        )
    shutil.rmtree(directory, ignore_errors=True)
    if directory.exists():
        shutil.rmtree(directory)


def _remove_nspawn_state() -> None:
    """Remove the files that systemd-nspawn keeps of killed machines."""
    for directory in (names.NSPAWN_STATE / "propagate", names.NSPAWN_STATE / "unix-export"):
        for path in directory.glob(f"{names.PREFIX}*") if directory.is_dir() else ():
            with suppress(OSError):
                mounts.unmount(path, lazily=True)
                path.rmdir()
    for path in (names.NSPAWN_STATE / "locks").glob("inode-*"):
        with suppress(OSError), path.open("rb") as file:
            if file_lock.try_lock(file.fileno()):  # no machine uses it
                path.unlink()
