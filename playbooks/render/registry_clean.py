"""The nightly clean-up that keeps a site's image registry from filling its disk: program, read rights and timer."""

from __future__ import annotations

import json

from estate.addressing import AddressPlan
from estate.model import Estate, Host
from playbooks import host_programs
from playbooks.host_spec import File
from playbooks.render import pki
from playbooks.render.kubernetes import pki as kubernetes_pki
from playbooks.render.kubernetes import rbac
from playbooks.render.kubernetes.api_server import API_UNIT
from playbooks.render.kubernetes.cluster import CLUSTER_CA_FILE, PKI, REGISTRY_PORT, api_url, data_directory
from playbooks.render.kubernetes.daemon import identity
from playbooks.render.systemd_hardening import HARDENING
from playbooks.render.text import header_comment
from playbooks.secrets import ClusterSecrets

NAME = "govcloud-registry-clean"
TIMER = f"{NAME}.timer"
PROGRAM = f"{host_programs.DIRECTORY}/registry-clean"
SETTINGS_FILE = "/etc/govcloud/registry-clean.json"


def files(
    estate: Estate, plan: AddressPlan, host: Host, cluster: ClusterSecrets, registry_unit: str, group: str
) -> tuple[File, ...]:
    """Return all files. Members of `group` may read the registry's storage."""
    settings = json.dumps(_settings(estate, plan, host, registry_unit), indent=2) + "\n"
    units = "/etc/systemd/system"
    return (
        File(path=PROGRAM, text=host_programs.source("registry_clean"), mode="0755"),
        File(path=SETTINGS_FILE, text=settings),
        *identity(kubernetes_pki.CLEANER, cluster, "root", ()),
        File(path=f"{units}/{NAME}.service", text=service(host, registry_unit, group)),
        File(path=f"{units}/{TIMER}", text=timer(host), notify=(f"restart:{TIMER}",)),
    )


def _settings(estate: Estate, plan: AddressPlan, host: Host, registry_unit: str) -> dict[str, object]:
    own = f"{PKI}/{kubernetes_pki.CLEANER}"
    return {
        "storage": data_directory(host, "registry"),
        "registry": {
            "url": f"https://{plan.lan(host.name).ipv4}:{REGISTRY_PORT}",
            "authority": pki.AUTHORITY_FILE,
            "cert": pki.CERT_FILE,
            "key": pki.KEY_FILE,
        },
        "cluster": {
            "url": api_url(estate, plan, host.at),
            "authority": CLUSTER_CA_FILE,
            "cert": f"{own}.crt",
            "key": f"{own}.key",
        },
        "lists": lists(),
        "collect": ["/usr/bin/systemctl", "try-restart", registry_unit],
    }


def lists() -> list[str]:
    """Return the API paths that list all objects with image references."""
    return [
        f"/{'apis/' + group if group else 'api'}/v1/{kind}"
        for group, kinds in rbac.IMAGES_NAMED_BY.items()
        for kind in kinds
    ]


def service(host: Host, registry_unit: str, group: str) -> str:
    """Return the unit. It runs as root without capabilities: it reads root's keys and may ask systemd for a restart."""
    return f"""{header_comment("Clean-up of the image registry", host.name)}[Unit]
Description=Remove images from which no pod can be started any more
After={registry_unit} {API_UNIT}

[Service]
Type=oneshot
ExecStart={PROGRAM} {SETTINGS_FILE}
SupplementaryGroups={group}
TimeoutStartSec=900
{HARDENING}
"""


def timer(host: Host) -> str:
    """Return the timer: once a night, at half past three in the city.

    A missed run is not repeated at boot: after a power loss other work comes first.
    """
    return f"""{header_comment("Clean-up of the image registry", host.name)}[Unit]
Description=When images are removed from the registry

[Timer]
OnCalendar=*-*-* 19:30:00 UTC
RandomizedDelaySec=30min

[Install]
WantedBy=timers.target
"""
