"""Common parts of a control plane's daemons: an account each, certificates of the cluster's CA, a hardened unit."""

from __future__ import annotations

from collections.abc import Iterable

from estate.addressing import AddressPlan
from estate.model import Estate, Host
from playbooks.host_spec import File
from playbooks.render.kubernetes.cluster import PKI, api_url, key_pair, secret_file
from playbooks.render.kubernetes.kubeconfig import host_kubeconfig
from playbooks.render.systemd_hardening import HARDENING
from playbooks.render.text import header_comment
from playbooks.secrets import ClusterSecrets


def identity(name: str, cluster: ClusterSecrets, owner: str, notify: tuple[str, ...]) -> tuple[File, File]:
    """Return a certificate and its key. Only `owner` can read the key."""
    pair = key_pair(cluster, name)
    return (
        File(path=f"{PKI}/{name}.crt", text=pair.cert, notify=notify),
        secret_file(f"{PKI}/{name}.key", pair.key, owner=owner, notify=notify),
    )


def client(
    estate: Estate,
    plan: AddressPlan,
    host: Host,
    name: str,
    *,
    path: str,
    owner: str = "root",
    notify: tuple[str, ...] = (),
    folder: str = PKI,
) -> File:
    """Return a kubeconfig for the site's API server. It names the certificate `name` and the CA in `folder`."""
    text = host_kubeconfig(
        api_url(estate, plan, host.at),
        host.at,
        name,
        authority=f"{folder}/ca.crt",
        cert=f"{folder}/{name}.crt",
        key=f"{folder}/{name}.key",
    )
    return File(path=path, text=text, owner=owner, group=owner, mode="0600", notify=notify)


def unit(
    host: Host,
    what: str,
    program: str,
    flags: Iterable[str],
    account: str,
    *,
    kind: str = "exec",
    section: str = "",
    service: Iterable[str] = (),
) -> str:
    command = " \\\n    ".join((program, *flags))
    extra = "".join(f"{line}\n" for line in service)
    return f"""{header_comment(what, host.name)}[Unit]
Description={what}
After=network.target
{section}StartLimitIntervalSec=0

[Service]
Type={kind}
User={account}
Group={account}
ExecStart={command}
Restart=always
RestartSec=1
TimeoutStartSec=120
TimeoutStopSec=20
{extra}{HARDENING}

[Install]
WantedBy=multi-user.target
"""
