"""Machines as folders: an `ssh` that carries commands out here, each address in a folder of its own.

No SSH server is needed on the host of the tests. An address without a folder has no power. A program `ingress` in a
folder answers in place of the machine's own ingress.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from estate.addressing import plan
from estate.loader import load

SSH = """#!/bin/sh
for word; do
    case $word in *@*) address=${word#*@} ;; esac
    line=$word
done
root=$GOVCLOUD_TEST_MACHINES/$address
[ -d "$root" ] || { echo "ssh: connect to host $address port 22: No route to host" >&2; exit 255; }
case $line in *http://*) [ -x "$root/ingress" ] && exec "$root/ingress" ;; esac
exec sh -c "$(printf %s "$line" | sed "s#/var/lib/govcloud#$root#g")"
"""
ESTATE = load()


class Machines:
    """All machines of the estate; every one has power."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        binaries = folder / "bin"
        binaries.mkdir(parents=True)
        (binaries / "ssh").write_text(SSH, encoding="utf-8")
        (binaries / "ssh").chmod(0o755)
        patch.setenv("PATH", f"{binaries}:{os.environ['PATH']}")
        patch.setenv("GOVCLOUD_TEST_MACHINES", str(folder))
        for host in ESTATE.managed_hosts:
            self.disk(host.name).mkdir()

    def disk(self, host: str) -> Path:
        """What the host has under /var/lib/govcloud."""
        return self._folder / str(plan(ESTATE).management(host))

    def hold(self, disks: Path) -> None:
        """What other machines have on theirs."""
        for host in ESTATE.managed_hosts:
            shutil.copytree(disks / self.disk(host.name).name, self.disk(host.name), dirs_exist_ok=True)

    def copy_of(self, host: str) -> Path:
        """Where the host keeps its copy of the state."""
        return self.disk(host) / "state" / "state.tar"

    def power_off(self, site: str) -> None:
        """Nobody answers there any more; the disks stay."""
        for host in ESTATE.hosts_at(site):
            shutil.move(self.disk(host.name), self._folder / f"off-{host.name}")

    def power_on(self, site: str) -> None:
        """They answer again."""
        for host in ESTATE.hosts_at(site):
            shutil.move(self._folder / f"off-{host.name}", self.disk(host.name))
