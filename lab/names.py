"""Names of the lab's objects on the host. `down` finds everything by these names, even without records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workstation import namespace

PREFIX = "gc-"
OPERATOR = namespace.NAME
WIRES = f"{PREFIX}wires"
"""Namespace with the segments' bridges and the outer ends of all links."""

NETNS_DIR = Path("/run/netns")
RUN = Path("/run/govcloud")
"""Directory with the lock and the record of the host's lab. A reboot removes both, like the lab itself."""

MOUNT_SOURCE = "govcloud-lab"
"""Source of the lab's mounts in the mount table."""
NETNS_SOURCE = "govcloud-netns"
"""Source of the file system on `NETNS_DIR` if the lab mounted it. `down` finds it by this name, without a record."""
DISK_PREFIX, DISK_SUFFIX = "govcloud-", ".disk"
CGROUP = "govcloud"
WIRES_GROUP = "wires"
"""The control group of the link emulator, next to the machines' groups. The end of a login session does not kill it."""
WIRES_PROGRAM = "govcloud-wires"
NSPAWN_STATE = Path("/run/systemd/nspawn")


def netns(host: str) -> str:
    """Return the name of a machine's network namespace, which is also its name for systemd-nspawn."""
    return f"{PREFIX}{host}"


@dataclass(frozen=True, kw_only=True)
class Directories:
    """Directories and files of one lab, below `home`."""

    home: Path

    @property
    def lab(self) -> Path:
        """Everything that `down` deletes."""
        return self.home / "lab"

    @property
    def mounts(self) -> Path:
        """A small separate file system for the mount points."""
        return self.lab / "mounts"

    def machine(self, host: str) -> Path:
        """Overlay and console log of one machine."""
        return self.lab / "machines" / host

    def root(self, host: str) -> Path:
        """Mount point of the machine's root."""
        return self.mounts / host / "root"

    def upper(self, host: str) -> Path:
        """Return the machine's system disk: its differences from the image."""
        return self.machine(host) / "upper"

    def data(self, host: str) -> Path:
        """Mount point of the machine's data disk on the host, which is then bound into the machine."""
        return self.mounts / host / "data"

    def disk(self, host: str) -> Path:
        """File behind the machine's data disk."""
        return self.lab / "disks" / f"{DISK_PREFIX}{host}{DISK_SUFFIX}"

    def console(self, host: str) -> Path:
        """Return the file of the machine's console output of all boots."""
        return self.machine(host) / "console.log"

    @property
    def wires_socket(self) -> Path:
        """Control socket of the link emulator."""
        return RUN / "wires.sock"

    @property
    def wires_log(self) -> Path:
        """Log of the link emulator."""
        return self.lab / "wires.log"
