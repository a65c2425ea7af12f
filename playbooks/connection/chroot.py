"""An Ansible connection into a directory with an unpacked system: chroot for commands, copying for files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ansible.errors import AnsibleError, AnsibleFileNotFound
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: chroot
short_description: Work in the system unpacked under a directory
description: The inventory's ansible_host is the directory. Needs root.
options:
  directory:
    description: The directory.
    vars:
      - name: inventory_hostname
      - name: ansible_host
"""


class Connection(ConnectionBase):  # type: ignore[misc]
    """Commands run in a chroot of the directory. No program of that system needs to run."""

    transport = "chroot"
    has_pipelining = True

    def _connect(self) -> Connection:
        self.root = Path(self.get_option("directory"))
        if not (self.root / "usr/bin/python3").exists():
            raise AnsibleError(f"{self.root} holds no system with Python")
        self._connected = True
        return self

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        done = subprocess.run(
            ["chroot", str(self.root), "/bin/sh", "-c", cmd],
            input=in_data or b"",
            capture_output=True,
            check=False,
            env=_environment(),
        )
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        if not Path(in_path).exists():
            raise AnsibleFileNotFound(f"{in_path} does not exist")
        shutil.copyfile(in_path, self._inside(out_path))

    def fetch_file(self, in_path: str, out_path: str) -> None:
        shutil.copyfile(self._inside(in_path), out_path)

    def _inside(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def close(self) -> None:
        self._connected = False


def _environment() -> dict[str, str]:
    """Return the environment of a plain login, with the machine's proxies.

    The operator's own paths do not exist there.
    """
    proxies = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
    login = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
    return login | {"DEBIAN_FRONTEND": "noninteractive"} | proxies
