"""Role registry: the site's image registry, on the node with the control plane.

Clients show a certificate of the estate's authority; the firewall admits the site's nodes and the operator. Running
pods do not depend on that: an image is referenced by the digest of its content. Each night a program removes images
that no pod can be started from any more (`playbooks/host_programs/registry_clean.py`).
"""

from __future__ import annotations

import hashlib

from estate.addressing import AddressPlan
from estate.model import Estate, Host
from facts.host_paths import data_folder
from playbooks.host_spec import Account, File, RoleSpec, Unit
from playbooks.render import pki, registry_clean
from playbooks.render.kubernetes.cluster import REGISTRY_PORT, data_directory, document, on_disk
from playbooks.render.text import header_comment
from playbooks.secrets import Secrets

UNIT = "docker-registry.service"
ACCOUNT = "docker-registry"
CONFIG_FILE = "/etc/docker/registry/config.yml"
COLLECT = f"/usr/bin/docker-registry garbage-collect {CONFIG_FILE}"


def role_spec(estate: Estate, plan: AddressPlan, host: Host, secrets: Secrets) -> RoleSpec:
    """Return the registry. Raise ValueError for a host that does not run the control plane."""
    if not estate.is_control_plane(host):
        raise ValueError(f"{host.name} has no control plane, so it has no registry")
    certificate = hashlib.sha256(secrets.certificates[host.name].cert.encode()).hexdigest()
    restart = (f"restart:{UNIT}",)
    return RoleSpec(
        role="registry",
        files=(
            File(
                path=CONFIG_FILE,
                # The registry reads its certificate only at start, so a new certificate must change the configuration.
                text=f"{config(host)}# Serves with the certificate of SHA-256 {certificate}.\n",
                notify=restart,
            ),
            File(path=f"/etc/systemd/system/{UNIT}.d/60-govcloud.conf", text=drop_in(host), notify=restart),
            *registry_clean.files(estate, plan, host, secrets.clusters[host.at], UNIT, ACCOUNT),
        ),
        units=(Unit(name=UNIT), Unit(name=registry_clean.TIMER)),
        accounts=(Account(name=ACCOUNT, groups=(pki.GROUP,), home="/var/lib/docker-registry"),),
    )


def config(host: Host) -> str:
    """Return the registry's settings."""
    return header_comment("Image registry", host.name) + document(
        {
            "version": 0.1,
            "log": {"level": "warn", "formatter": "text", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": data_directory(host, "registry"), "maxthreads": 32},
                "delete": {"enabled": True},
                "cache": {"blobdescriptor": "inmemory"},
            },
            "http": {
                "addr": f":{REGISTRY_PORT}",
                "tls": {
                    "certificate": pki.CERT_FILE,
                    "key": pki.KEY_FILE,
                    "clientcas": [pki.AUTHORITY_FILE],
                    "minimumtls": "tls1.2",
                },
                "headers": {"X-Content-Type-Options": ["nosniff"]},
            },
        }
    )


def drop_in(host: Host) -> str:
    """Return additions to Debian's unit: the data disk, hardening, and the garbage collection of blobs.

    A push uploads its manifest last. So blobs without a manifest may be removed only while no push is possible, which
    is before the start. Manifests stay (only `--delete-untagged` would remove them, and our manifests have no tags). If
    a collection fails, for example on an empty disk, it removes nothing and does not stop the registry from starting.
    """
    directory = data_directory(host, "registry")
    return f"""{header_comment("Image registry", host.name)}[Unit]
After=network.target
{on_disk(host)}StartLimitIntervalSec=0

[Service]
ExecStartPre=+/usr/bin/install -d -o {ACCOUNT} -g {ACCOUNT} -m 0750 {directory}
ExecStartPre=-{COLLECT}
TimeoutStartSec=600
Restart=always
RestartSec=1
CapabilityBoundingSet=
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths={data_folder(host)}
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
UMask=0027
"""
