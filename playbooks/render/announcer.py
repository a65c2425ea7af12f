"""Role announcer: the daemon on each edge that announces a service's address only while the site's ingress answers."""

from __future__ import annotations

import json

from estate.addressing import AddressPlan, Dual
from estate.model import Estate, Host, HostRole
from facts import ports
from playbooks import host_programs
from playbooks.host_spec import File, RoleSpec, Unit
from playbooks.render.ingress import gateway_path, gateways
from playbooks.render.text import header_comment, join_lines

INTERVAL_S, TIMEOUT_S = 0.5, 1.0
RISE, FALL, FALL_SLOW = 2, 3, 30
"""Answers in a row that make a service healthy, failures in a row that make it unhealthy, and late answers in a row
that do so. Late answers need half a minute: a late site usually has too much work, and if its load moved, the next site
would be late too. The ingress' own checks find a hanging service after some seconds, and then the answer is a
failure."""
HEALTHY_METRIC, LAST_RESORT_METRIC = 100, 900
"""Kernel metrics by which FRR distinguishes the two kinds of announcement."""
PROTOCOL = 99
PROGRAM = f"{host_programs.DIRECTORY}/announcer.py"
SETTINGS = "/etc/govcloud/announcer.json"
PORT = ports.HTTPS


def role_spec(estate: Estate, plan: AddressPlan, host: Host) -> RoleSpec:
    """Return the role on an edge."""
    restart = ("restart:govcloud-announcer.service",)
    settings = json.dumps(_settings(estate, plan, host), indent=2) + "\n"
    return RoleSpec(
        role="announcer",
        files=(
            File(path=PROGRAM, text=host_programs.source("announcer"), mode="0755", notify=restart),
            File(path=SETTINGS, text=settings, notify=restart),
            File(path="/etc/systemd/system/govcloud-announcer.service", text=_unit(host), notify=restart),
        ),
        units=(Unit(name="govcloud-announcer.service"),),
    )


def _settings(estate: Estate, plan: AddressPlan, host: Host) -> dict[str, object]:
    ingress = estate.hosts_at(host.at, HostRole.KUBE)
    placed = [service for service in estate.public_services if host.at in service.placement.sites] if ingress else []
    services = [
        _announced(service.name, ready, plan.anycast[service.name], plan.lan(ingress[0].name))
        for service in placed
        if (ready := service.contract.health.ready)
    ]
    services += [
        _announced(bureau.gateway_name, gateway_path(bureau), plan.gateways[bureau.name], plan.lan(ingress[0].name))
        for bureau in (gateways(estate, ingress[0]) if ingress else ())
    ]
    pool = estate.networks.services
    return {
        "rendered_by": f"govcloud for {host.name}; do not edit",
        "interval_s": INTERVAL_S,
        "timeout_s": TIMEOUT_S,
        "rise": RISE,
        "fall": FALL,
        "fall_slow": FALL_SLOW,
        "protocol": PROTOCOL,
        "metrics": {"announced": HEALTHY_METRIC, "last-resort": LAST_RESORT_METRIC},
        "aggregates": [str(pool.ipv4), str(pool.ipv6)],
        "services": services,
    }


def _announced(name: str, path: str, address: Dual, via: Dual) -> dict[str, object]:
    return {
        "name": name,
        "check": {"address": str(via.ipv4), "port": PORT, "host": name, "path": path},
        "routes": [
            {"prefix": f"{address.ipv4}/32", "via": str(via.ipv4)},
            {"prefix": f"{address.ipv6}/128", "via": str(via.ipv6)},
        ],
    }


def _unit(host: Host) -> str:
    return header_comment("Announcer of the services' addresses", host.name) + join_lines(
        "[Unit]",
        "Description=Announce the services of this site while its ingress answers",
        "After=frr.service systemd-networkd.service",
        "",
        "[Service]",
        f"ExecStart=/usr/bin/python3 -I {PROGRAM} {SETTINGS}",
        "# The routes outlive the process: a crash here takes no service off the network.",
        "Restart=always",
        "RestartSec=1",
        "CapabilityBoundingSet=CAP_NET_ADMIN CAP_DAC_OVERRIDE",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateTmp=yes",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
    )
