"""Files that the lab puts on a machine before its first start: who it is, who may enter, and all of a fixture's set-up.

Our own machines get nothing else: their networks and services are the stacks' work. Peers' machines are fixtures, so
theirs is rendered and written here.
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
    """Name, machine ID and keys."""
    return {
        "/etc/hostname": (f"{machine.name}\n".encode(), 0o644, 0, 0),
        # Given, so that the first boot is no "first boot": that would enable every unit of the image.
        "/etc/machine-id": (f"{uuid.uuid4().hex}\n".encode(), 0o444, 0, 0),
        "/etc/ssh/ssh_host_ed25519_key": (host_key.private, 0o600, 0, 0),
        "/etc/ssh/ssh_host_ed25519_key.pub": (f"{host_key.public}\n".encode(), 0o644, 0, 0),
        "/root/.ssh/authorized_keys": (f"{operator_key}\n".encode(), 0o600, 0, 0),
    }


def on_disk(file: File, image: Path) -> FileOnDisk:
    """With the image's numbers for owner and group."""
    uid = _number(image / "etc/passwd", file.owner)
    gid = _number(image / "etc/group", file.group)
    return file.text.encode(), int(file.mode, 8), uid, gid


def _number(table: Path, name: str) -> int:
    for line in table.read_text().splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2])
    raise KeyError(f"{table} has no {name}")
