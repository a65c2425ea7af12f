"""The prober on a monitoring host. It sends requests from outside, as a citizen or a neighbouring site would.

It listens only on the address of its own segment, for the monitoring hosts of all sites. It checks certificates for the
service's name instead of the address, so that anycast addresses and a site's own addresses are checked in the same way.
To a cluster's API server it shows a certificate with the right to read only whether the server and its nodes are ready.
"""

from __future__ import annotations

from typing import Any

import yaml

from estate.addressing import AddressPlan
from estate.model import Estate, Host, Service
from facts import ports
from playbooks.host_spec import File, RoleSpec, Unit
from playbooks.render.kubernetes import pki as kubernetes_pki
from playbooks.render.kubernetes.cluster import key_pair, secret_file
from playbooks.render.pki import AUTHORITY_FILE
from playbooks.render.text import header_comment
from playbooks.secrets import Secrets

PORT = ports.BLACKBOX_EXPORTER
UNIT = "prometheus-blackbox-exporter.service"
CONFIG_FILE = "/etc/prometheus/blackbox.yml"
DEFAULTS_FILE = "/etc/default/prometheus-blackbox-exporter"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/govcloud.conf"
CLUSTERS = "/etc/prometheus/clusters"
TIMEOUT = "2s"
"""Longer than any healthy answer. A citizen has given up by then."""
PING = "ping"
NODE_READY = '"type":"Ready","status":"True"'
"""Text in the answer of the API server. It writes JSON in this compact form to clients that are programs."""


def role_spec(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets) -> RoleSpec:
    """Return the role on `host`."""
    restart = (f"restart:{UNIT}",)
    return RoleSpec(
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
            *(file for cluster in estate.clusters for file in _identity(cluster.site, secrets)),
        ),
        units=(Unit(name=UNIT),),
    )


def _identity(site: str, secrets: Secrets) -> tuple[File, File, File]:
    """Return the prober's certificate for a site's API server, and the CA that it trusts there.

    It reads both each time.
    """
    cluster = secrets.clusters[site]
    own = key_pair(cluster, kubernetes_pki.MONITORING)
    return (
        File(path=f"{CLUSTERS}/{site}-ca.crt", text=cluster.authority),
        File(path=f"{CLUSTERS}/{site}.crt", text=own.cert),
        secret_file(f"{CLUSTERS}/{site}.key", own.key, owner="prometheus"),
    )


def cluster_module(site: str) -> str:
    """Return the name of the module that checks whether the site's API server is ready."""
    return f"cluster-{site}"


def node_module(site: str) -> str:
    """Return the name of the module that asks the site's API server whether a node is ready."""
    return f"node-{site}"


def config_text(estate: Estate, host: Host) -> str:
    """Return one module for each public service, two for each cluster, and one that pings a place."""
    modules: dict[str, Any] = {service.name: _https(service) for service in estate.public_services}
    for cluster in estate.clusters:
        modules[cluster_module(cluster.site)] = _kubernetes(cluster.site)
        modules[node_module(cluster.site)] = _kubernetes(
            cluster.site, fail_if_body_not_matches_regexp=[NODE_READY], headers={"Accept": "application/json"}
        )
    modules[PING] = {"prober": "icmp", "timeout": TIMEOUT}
    return header_comment("Modules of the prober", host.name) + yaml.safe_dump({"modules": modules}, sort_keys=False)


def _https(service: Service) -> dict[str, Any]:
    tls = {"ca_file": AUTHORITY_FILE, "server_name": service.name}
    return _module(tls, headers={"Host": service.name})


def _kubernetes(site: str, **more: Any) -> dict[str, Any]:
    files = {"ca_file": f"{CLUSTERS}/{site}-ca.crt", "cert_file": f"{CLUSTERS}/{site}.crt"}
    return _module({**files, "key_file": f"{CLUSTERS}/{site}.key", "server_name": "kubernetes"}, **more)


def _module(tls: dict[str, str], **more: Any) -> dict[str, Any]:
    """Return a module that expects the answer 200 over TLS."""
    http = {"method": "GET", "valid_status_codes": [200], "fail_if_not_ssl": True, "follow_redirects": False}
    return {"prober": "http", "timeout": TIMEOUT, "http": {**http, **more, "tls_config": tls}}


def defaults_text(plan: AddressPlan, host: Host) -> str:
    """Return the options of the Debian unit."""
    options = f"--config.file={CONFIG_FILE} --web.listen-address={plan.lan(host.name).ipv4}:{PORT} --log.level=warn"
    return header_comment("Options of the prober", host.name) + f'ARGS="{options}"\n'


def drop_in(host: Host) -> str:
    """Return the unit's drop-in: raw sockets for ping, and restarts until the segment's address exists."""
    return header_comment("Additions to the prober's unit", host.name) + (
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
