"""Files that the lab writes on a machine before its first start: its name and its keys.

Stacks configure the networks and services of our own machines. Peers' machines are fixtures: their complete
configuration is rendered and written here too.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from lab.ssh_keys import KeyPair
from lab.topology import Machine
from playbooks.host_spec import File

FileOnDisk = tuple[bytes, int, int, int]
"""Content, mode, user id, group id."""


def identity_files(machine: Machine, host_key: KeyPair, operator_key: str) -> dict[str, FileOnDisk]:
    """Return the files with name, machine ID and keys, by path."""
    return {
        "/etc/hostname": (f"{machine.name}\n".encode(), 0o644, 0, 0),
        # Without an ID, systemd treats the boot as a "first boot" and enables every unit of the image.
        "/etc/machine-id": (f"{uuid.uuid4().hex}\n".encode(), 0o444, 0, 0),
        "/etc/ssh/ssh_host_ed25519_key": (host_key.private, 0o600, 0, 0),
        "/etc/ssh/ssh_host_ed25519_key.pub": (f"{host_key.public}\n".encode(), 0o644, 0, 0),
        "/root/.ssh/authorized_keys": (f"{operator_key}\n".encode(), 0o600, 0, 0),
    }


def on_disk(file: File, image: Path) -> FileOnDisk:
    """Return the file with the image's numbers for owner and group."""
    uid = _number(image / "etc/passwd", file.owner)
    gid = _number(image / "etc/group", file.group)
    return file.text.encode(), int(file.mode, 8), uid, gid


def _number(table: Path, name: str) -> int:
    for line in table.read_text().splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2])
    raise KeyError(f"{table} has no {name}")
