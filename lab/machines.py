"""Machines: each runs systemd in its own container over the shared image, and its power can be cut.

No program may enter a machine's namespaces with the host's rights: the clock is not namespaced, so the program could
set the host's clock. The only way in is SSH.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from lab import cgroups, disks, launch, mounts, names, processes
from lab.command import wait_for
from lab.names import Directories
from lab.topology import Machine

DROPPED = "CAP_SYS_TIME,CAP_SYS_MODULE,CAP_SYS_RAWIO,CAP_SYS_BOOT"
"""These capabilities reach the host: its clock, kernel modules, raw memory, reboot."""

WANTS = "etc/systemd/system/multi-user.target.wants"


class Machines:
    """The lab's machines, below one set of directories."""

    def __init__(self, directories: Directories, image: Path, layout: cgroups.Layout) -> None:
        self.directories, self.image, self.layout = directories, image, layout

    def prepare(self, machine: Machine, files: Mapping[str, tuple[bytes, int, int, int]], units: Iterable[str]) -> None:
        """Create a new system disk with these files and with units to start at boot, and an empty data disk.

        `files` maps a path to content, mode, user ID and group ID.
        """
        shutil.rmtree(self.directories.machine(machine.name), ignore_errors=True)
        upper = self.directories.upper(machine.name)
        upper.mkdir(parents=True)
        for path, (content, mode, uid, gid) in files.items():
            target = upper / path.lstrip("/")
            _make_directories(upper, target.parent, self.image)
            target.write_bytes(content)
            target.chmod(mode)
            os.chown(target, uid, gid)
        for unit in units:
            link = upper / WANTS / unit
            _make_directories(upper, link.parent, self.image)
            link.symlink_to(f"/lib/systemd/system/{unit}")
        if machine.disk:
            disks.create(self.directories.disk(machine.name), machine.disk.size_mib)

    def mount(self, machine: Machine) -> None:
        """Mount the machine's root and data disk before its start."""
        directory = self.directories.machine(machine.name)
        mounts.overlay(self.image, directory / "upper", directory / "work", self.directories.root(machine.name))
        if machine.disk:
            disks.mount(self.directories.disk(machine.name), self.directories.data(machine.name))

    def start(self, machine: Machine) -> None:
        """Power on the machine and return at once. The machine boots on its own and outlives this process."""
        launch.start_detached(
            self._nspawn(machine),
            groups=cgroups.create(self.layout, machine.name, weight=_weight(machine)),
            log=self.directories.console(machine.name),
            environment={"SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"},
        )

    def _nspawn(self, machine: Machine) -> list[str]:
        argv = [
            "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--settings=no",
            f"--directory={self.directories.root(machine.name)}",
            f"--machine={machine.netns}", f"--hostname={machine.name}",
            f"--network-namespace-path={names.NETNS_DIR / machine.netns}",
            "--capability=all", f"--drop-capability={DROPPED}",
            "--system-call-filter=add_key keyctl request_key bpf",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no",
            "--bind=/dev/kmsg",
        ]  # fmt: skip
        if machine.disk:
            argv.append(f"--bind={self.directories.data(machine.name)}:{machine.disk.mount}")
        return [*argv, "--boot", "--console=pipe"]

    def cut_power(self, machines: Iterable[Machine]) -> None:
        """Cut the power of all these machines at once: disks lose unsynced data, then every process is killed.

        The caller must have stopped the traffic of the machines before.
        """
        machines = list(machines)
        running = processes.running_machines()
        mounted = {mount.where for mount in mounts.table()}
        for machine in machines:
            if machine.disk and self.directories.data(machine.name) in mounted:
                disks.lose_power(self.directories.data(machine.name))
        powered = [running[m.name] for m in machines if m.name in running]
        processes.kill(pid for one in powered for pid in (one.leader, one.nspawn) if pid)
        wait_for("the machines' processes are gone", lambda: not self._stragglers(machines), deadline_s=15)
        for machine in machines:
            self.release(machine)

    def _stragglers(self, machines: Iterable[Machine]) -> set[int]:
        """Kill remaining processes again and return them: a machine may have been about to start."""
        running = processes.running_machines()
        left = {running[m.name].nspawn for m in machines if m.name in running}
        left |= processes.alive(cgroups.members(self.layout, [m.name for m in machines]))
        processes.kill(left)
        return left

    def release(self, machine: Machine) -> None:
        """Unmount the machine's root and data disk on the host."""
        mounted = {mount.where for mount in mounts.table()}
        for where in (self.directories.data(machine.name), self.directories.root(machine.name)):
            if where in mounted:
                wait_for(f"{where} is free", partial(mounts.unmount, where), deadline_s=15)


def _weight(machine: Machine) -> int:
    return cgroups.PEER_MACHINE if machine.fixture else cgroups.weight(machine.cpus)


def _make_directories(upper: Path, wanted: Path, image: Path) -> None:
    """Create the directory in the upper layer, with the owner and mode that it has in the image."""
    missing = []
    while wanted != upper and not wanted.exists():
        missing.append(wanted)
        wanted = wanted.parent
    for directory in reversed(missing):
        directory.mkdir()
        original = image / directory.relative_to(upper)
        if original.is_dir():
            status = original.stat()
            os.chown(directory, status.st_uid, status.st_gid)
            directory.chmod(status.st_mode & 0o7777)
