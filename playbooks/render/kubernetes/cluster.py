"""What the roles of a Kubernetes cluster share: who is who, where things lie, which ports they have.

The first kube host of a site runs the control plane and the site's registry; all kube hosts are nodes. Every cluster
stands alone: own etcd, own authorities, own registry, so that no site needs another to start a pod.
"""

from __future__ import annotations

import yaml

from estate.addressing import AddressPlan
from estate.model import Cluster, Estate, Host
from playbooks.host_spec import File
from playbooks.secrets import Certificate, ClusterSecrets

DIRECTORY = "/etc/kubernetes"
PKI = f"{DIRECTORY}/pki"
CLUSTER_CA_FILE = f"{PKI}/ca.crt"

API_PORT = 6443
KUBELET_PORT = 10250
REGISTRY_PORT = 5000
REGISTRY = "registry.govcloud"
"""The name in images' references, the same at every site: containerd leads it to the site's own registry."""

TLS_CIPHERS = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
)
"""For TLS 1.2; all keys are elliptic. Version 1.3 has its own."""

CONTAINERD = "containerd.service"
OPERATORS_GROUP = "govcloud:operators"


def cluster_of(estate: Estate, host: Host) -> Cluster:
    """The cluster of which the host is a node. Raises ValueError where it is none."""
    cluster = estate.cluster_at(host.at)
    if cluster is None or host not in estate.nodes_at(host.at):
        raise ValueError(f"{host.name} is no node of a Kubernetes cluster")
    return cluster


def control_plane_host(estate: Estate, site: str) -> Host:
    """The node that runs the control plane and the registry. Raises ValueError for a site without a cluster."""
    nodes = estate.nodes_at(site)
    if not nodes:
        raise ValueError(f"{site} has no Kubernetes cluster")
    return nodes[0]


def is_control_plane(estate: Estate, host: Host) -> bool:
    """Whether the host runs a control plane."""
    return host in estate.nodes_at(host.at)[:1]


def image_reference(name: str, digest: str) -> str:
    """An image by its content: the same at every site, and nobody can put another one in its place."""
    return f"{REGISTRY}/{name}@{digest}"


def api_url(estate: Estate, plan: AddressPlan, site: str) -> str:
    """Where the nodes reach the API server."""
    return f"https://{plan.lan(control_plane_host(estate, site).name).ipv4}:{API_PORT}"


def data_directory(host: Host, name: str) -> str:
    """On the host's own data disk where it has one."""
    return f"{host.disk.mount if host.disk else '/var/lib'}/{name}"


def on_disk(host: Host) -> str:
    """Lines for a unit's [Unit] section: it never writes below the mount point while the disk is absent."""
    if host.disk is None:
        return ""
    return f"RequiresMountsFor={host.disk.mount}\nAssertPathIsMountPoint={host.disk.mount}\n"


def secret_file(path: str, text: str, *, owner: str = "root", notify: tuple[str, ...] = ()) -> File:
    """A file that its owner alone reads."""
    return File(path=path, text=text, owner=owner, group=owner, mode="0400", secret=True, notify=notify)


def document(*values: object) -> str:
    """YAML as Kubernetes reads it, in the order in which it was written."""
    return yaml.safe_dump_all(values, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False)


def key_pair(secrets: ClusterSecrets, name: str) -> Certificate:
    """A certificate and its key. Raises KeyError where the cluster has none of that name."""
    return secrets.certificates[name]
