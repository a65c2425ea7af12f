"""The prober on an operations host: it asks from outside, as a citizen or a neighbouring site would.

It answers to the watchers of all sites on its own segment's address only. The name in certificates is asked for, not
taken from the address, so that an anycast address and a site's own address are checked alike.
"""

from __future__ import annotations

from typing import Any

import yaml

from estate.addressing import AddressPlan
from estate.model import Estate, Host, Service
from playbooks.hostplan import File, RoleInput, Unit
from playbooks.render.pki import AUTHORITY_FILE
from playbooks.render.text import banner
from playbooks.secrets import Secrets

PORT = 9115
UNIT = "prometheus-blackbox-exporter.service"
CONFIG_FILE = "/etc/prometheus/blackbox.yml"
DEFAULTS_FILE = "/etc/default/prometheus-blackbox-exporter"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/govcloud.conf"
TIMEOUT = "2s"
"""Longer than any healthy answer; a citizen has given up by then."""
PING = "ping"


def role_input(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets) -> RoleInput:
    """The prober on `host`."""
    restart = (f"restart:{UNIT}",)
    return RoleInput(
        role="blackbox",
        files=(
            File(
                path=CONFIG_FILE,
                text=config_text(estate, host),
                validate="prometheus-blackbox-exporter --config.check --config.file=%s",
                notify=restart,
            ),
            File(path=DEFAULTS_FILE, text=defaults_text(plan, host), notify=restart),
            File(path=DROP_IN, text=drop_in(host), notify=restart),
        ),
        units=(Unit(name=UNIT),),
    )


def config_text(estate: Estate, host: Host) -> str:
    """One module per service, and one that only asks whether a place is there."""
    modules: dict[str, Any] = {service.name: _https(service) for service in estate.services}
    modules[PING] = {"prober": "icmp", "timeout": TIMEOUT}
    return banner("Modules of the prober", host.name) + yaml.safe_dump({"modules": modules}, sort_keys=False)


def _https(service: Service) -> dict[str, Any]:
    return {
        "prober": "http",
        "timeout": TIMEOUT,
        "http": {
            "method": "GET",
            "valid_status_codes": [200],
            "fail_if_not_ssl": True,
            "follow_redirects": False,
            "headers": {"Host": service.name},
            "tls_config": {"ca_file": AUTHORITY_FILE, "server_name": service.name},
        },
    }


def defaults_text(plan: AddressPlan, host: Host) -> str:
    """Options of the Debian unit."""
    options = f"--config.file={CONFIG_FILE} --web.listen-address={plan.lan(host.name).ipv4}:{PORT} --log.level=warn"
    return banner("Options of the prober", host.name) + f'ARGS="{options}"\n'


def drop_in(host: Host) -> str:
    """Raw sockets for ping, and starting again until the segment's address is there."""
    return banner("Additions to the prober's unit", host.name) + (
        "[Unit]\n"
        "Wants=network-online.target\n"
        "After=network-online.target\n"
        "StartLimitIntervalSec=0\n\n"
        "[Service]\n"
        "AmbientCapabilities=CAP_NET_RAW\n"
        "CapabilityBoundingSet=CAP_NET_RAW\n"
        "NoNewPrivileges=yes\n"
        "ProtectSystem=strict\n"
        "ProtectHome=yes\n"
        "PrivateTmp=yes\n"
        "Restart=always\n"
        "RestartSec=2\n"
    )
