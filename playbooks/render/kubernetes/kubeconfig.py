"""Kubeconfigs: of a daemon on a host, of the operator, and of the users of a bureau."""

from __future__ import annotations

import base64

from estate.addressing import AddressPlan
from estate.model import Estate
from playbooks.render.kubernetes.cluster import API_PORT, control_plane_host, document
from playbooks.secrets import OPERATOR, Certificate, ClusterSecrets


def host_kubeconfig(server: str, cluster: str, user: str, *, authority: str, cert: str, key: str) -> str:
    """Return a client's configuration that refers to files on the host."""
    return _kubeconfig(
        server,
        cluster,
        user,
        {"certificate-authority": authority},
        {"client-certificate": cert, "client-key": key},
    )


def operator_kubeconfig(estate: Estate, plan: AddressPlan, site: str, secrets: ClusterSecrets) -> str:
    """Return the operator's kubeconfig, complete in itself, over the management network. It is secret."""
    return _complete(estate, plan, site, OPERATOR, secrets.authority, secrets.certificates[OPERATOR])


def bureau_kubeconfig(
    estate: Estate, plan: AddressPlan, site: str, bureau: str, authority: str, own: Certificate
) -> str:
    """Return the kubeconfig of a bureau's users, in their namespace; otherwise like the operator's.

    `own` is their certificate. The result is secret.
    """
    return _complete(estate, plan, site, bureau, authority, own, namespace=bureau)


def _complete(
    estate: Estate, plan: AddressPlan, site: str, user: str, authority: str, own: Certificate, **context: str
) -> str:
    address = plan.management(control_plane_host(estate, site).name)
    return _kubeconfig(
        f"https://{address}:{API_PORT}",
        site,
        user,
        {"certificate-authority-data": _encoded(authority)},
        {"client-certificate-data": _encoded(own.cert), "client-key-data": _encoded(own.key)},
        **context,
    )


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _kubeconfig(
    server: str, cluster: str, user: str, trust: dict[str, str], identity: dict[str, str], **context: str
) -> str:
    return document(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": cluster, "cluster": {"server": server, **trust}}],
            "users": [{"name": user, "user": identity}],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": user, **context}}],
            "current-context": cluster,
        }
    )
