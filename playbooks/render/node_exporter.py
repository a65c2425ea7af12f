"""Metrics of a host's data disk: its free space, whether it can be written, and whether it is mounted at all.

This is Prometheus' own exporter. Only its filesystem collector runs, and only on the data disk. It listens only on the
address in the segment, and the packet filter admits only the monitoring hosts.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from estate.addressing import AddressPlan
from estate.model import Disk, Host
from facts import ports
from playbooks.host_spec import File, RoleSpec, Unit
from playbooks.render.systemd_hardening import HARDENING
from playbooks.render.text import header_comment

PORT = ports.NODE_EXPORTER
UNIT = "prometheus-node-exporter.service"
DEFAULTS_FILE = "/etc/default/prometheus-node-exporter"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/govcloud.conf"


def role_spec(plan: AddressPlan, host: Host) -> RoleSpec:
    """Return the exporter on `host`. Raise ValueError for a host without a data disk."""
    if host.disk is None:
        raise ValueError(f"{host.name} has no data disk, so there is nothing to measure")
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
    """Return the options of the Debian unit."""
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
    """Return a regular expression that matches every path except this one.

    The exporter of Debian 12 has only an option for paths to exclude, and Go's regular expressions cannot negate. So
    the expression spells the mount point, and at each letter another path may end or differ. A node has dozens of
    mounts of pods.
    """
    path = str(PurePosixPath(mount))
    other_ways = (f"{path[:i]}([^{letter}].*)?" for i, letter in enumerate(path))
    return f"^({'|'.join((*other_ways, f'{path}.+'))})$"


def drop_in(host: Host) -> str:
    """Return the unit's drop-in: its own account, hardening, and restarts until the segment's address exists.

    Prometheus and the prober share the package's account, and they read keys. The exporter does not wait for the disk,
    because a missing disk is what it must report. It reads the mounts of process 1, so its own hardening does not make
    them read-only in the report.
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
