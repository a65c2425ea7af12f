"""Machines as folders: an `ssh` that runs commands here, with a separate folder for each address.

So the tests need no SSH server. An address without a folder is powered off. A program `ingress` in a folder replaces
the machine's own ingress.
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
    """All machines of the estate, all powered on."""

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
        """Return the folder that replaces the host's /var/lib/govcloud."""
        return self._folder / str(plan(ESTATE).management(host))

    def copy_disks(self, disks: Path) -> None:
        """Copy the disks of other machines to these."""
        for host in ESTATE.managed_hosts:
            shutil.copytree(disks / self.disk(host.name).name, self.disk(host.name), dirs_exist_ok=True)

    def backup_of(self, host: str) -> Path:
        """Return the path of the host's backup of the state."""
        return self.disk(host) / "state" / "state.tar"

    def power_off(self, site: str) -> None:
        """Make all hosts of a site unreachable. Their disks stay."""
        for host in ESTATE.hosts_at(site):
            shutil.move(self.disk(host.name), self._folder / f"off-{host.name}")

    def power_on(self, site: str) -> None:
        """Make the hosts of a site reachable again."""
        for host in ESTATE.hosts_at(site):
            shutil.move(self._folder / f"off-{host.name}", self.disk(host.name))
