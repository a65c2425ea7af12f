"""Figures of a host's data disk: how much room is left, whether it can be written, whether it is there at all.

Prometheus' own exporter, of whose collectors only the one of file systems runs, and that one on the disk alone. It
answers on the address in the segment only, and the packet filter admits the watchers.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from estate.addressing import AddressPlan
from estate.model import Disk, Host
from playbooks.host_spec import File, RoleSpec, Unit
from playbooks.render.systemd_hardening import HARDENING
from playbooks.render.text import header_comment

PORT = 9100
UNIT = "prometheus-node-exporter.service"
DEFAULTS_FILE = "/etc/default/prometheus-node-exporter"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/govcloud.conf"


def role_spec(plan: AddressPlan, host: Host) -> RoleSpec:
    """The exporter on `host`. Raises ValueError for a host without a data disk."""
    if host.disk is None:
        raise ValueError(f"{host.name} has no data disk, so there is nothing to tell")
    restart = (f"restart:{UNIT}",)
    return RoleSpec(
        role="node_exporter",
        files=(
            File(path=DEFAULTS_FILE, text=defaults_text(plan, host, host.disk), notify=restart),
            File(path=DROP_IN, text=drop_in(host), notify=restart),
        ),
        units=(Unit(name=UNIT),),
    )


def defaults_text(plan: AddressPlan, host: Host, disk: Disk) -> str:
    """Options of the Debian unit."""
    options = (
        f"--web.listen-address={plan.lan(host.name).ipv4}:{PORT}",
        "--web.disable-exporter-metrics",
        "--collector.disable-defaults",
        "--collector.filesystem",
        f"--collector.filesystem.mount-points-exclude={all_but(disk.mount)}",
        "--log.level=warn",
    )
    return header_comment("Options of the disk's exporter", host.name) + f'ARGS="{" ".join(options)}"\n'


def all_but(mount: str) -> str:
    """An expression that matches every path but this one.

    The exporter of Debian 12 can only be told what to leave out, and Go's expressions cannot negate: so the mount point
    is spelled, and at each letter a path may end or go another way. A node has dozens of mounts of pods.
    """
    path = str(PurePosixPath(mount))
    other_ways = (f"{path[:i]}([^{letter}].*)?" for i, letter in enumerate(path))
    return f"^({'|'.join((*other_ways, f'{path}.+'))})$"


def drop_in(host: Host) -> str:
    """An account of its own, confinement, and starting again until the segment's address is there.

    The package's account is the watcher's and the prober's too, which read keys. It does not wait for the disk: that
    one is missing is what it has to tell. It reads the mounts of process 1, so its confinement makes none read-only.
    """
    return f"""{header_comment("Additions to the unit of the disk's exporter", host.name)}[Unit]
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
User=node-exporter
DynamicUser=yes
Restart=always
RestartSec=2
{HARDENING}
"""
