"""Common parts of the roles of a Kubernetes cluster: its hosts, paths and ports.

The first kube host of a site runs the control plane and the site's registry. All kube hosts are nodes. Every cluster is
independent: it has its own etcd, authorities and registry, so that no site needs another one to start a pod.
"""

from __future__ import annotations

import yaml

from estate.addressing import AddressPlan
from estate.model import Cluster, Estate, Host
from facts import host_paths, ports
from facts.host_paths import data_folder
from playbooks.host_spec import File
from playbooks.secrets import Certificate, ClusterSecrets

DIRECTORY = host_paths.KUBERNETES
PKI = host_paths.KUBERNETES_PKI
CLUSTER_CA_FILE = f"{PKI}/ca.crt"

API_PORT = ports.KUBERNETES_API
REGISTRY_PORT = ports.IMAGE_REGISTRY
REGISTRY = "registry.govcloud"
"""The host name in image references. It is the same at every site: containerd connects to the site's own registry."""

TLS_CIPHERS = (
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
)
"""For TLS 1.2, with elliptic keys only. TLS 1.3 has its own ciphers."""

CONTAINERD = "containerd.service"
CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
CNI_SETTINGS = "/etc/cni/net.d"
OPERATORS_GROUP = "govcloud:operators"


def cluster_of(estate: Estate, host: Host) -> Cluster:
    """Return the cluster of the node `host`. Raise ValueError if the host is not a node."""
    cluster = estate.cluster_at(host.at)
    if cluster is None or host not in estate.nodes_at(host.at):
        raise ValueError(f"{host.name} is no node of a Kubernetes cluster")
    return cluster


def control_plane_host(estate: Estate, site: str) -> Host:
    """Return the node that runs the control plane and the registry. Raise ValueError for a site without a cluster."""
    nodes = estate.nodes_at(site)
    if not nodes:
        raise ValueError(f"{site} has no Kubernetes cluster")
    return nodes[0]


def image_reference(name: str, digest: str) -> str:
    """Return a reference to an image by its digest: it is the same at every site, and no other image can replace it."""
    return f"{REGISTRY}/{name}@{digest}"


def api_url(estate: Estate, plan: AddressPlan, site: str) -> str:
    """Return the URL of the API server for the nodes."""
    return f"https://{plan.lan(control_plane_host(estate, site).name).ipv4}:{API_PORT}"


def data_directory(host: Host, name: str) -> str:
    """Return a data directory, on the host's own data disk if it has one."""
    return f"{data_folder(host)}/{name}"


def on_disk(host: Host) -> str:
    """Return lines of a unit's [Unit] section: without the disk, the unit never writes below the mount point."""
    if host.disk is None:
        return ""
    return f"RequiresMountsFor={host.disk.mount}\nAssertPathIsMountPoint={host.disk.mount}\n"


def secret_file(path: str, text: str, *, owner: str = "root", notify: tuple[str, ...] = ()) -> File:
    """Return a file that only its owner can read."""
    return File(path=path, text=text, owner=owner, group=owner, mode="0400", secret=True, notify=notify)


def document(*values: object) -> str:
    """Return YAML for Kubernetes, in the order of the values."""
    return yaml.safe_dump_all(values, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False)


def key_pair(secrets: ClusterSecrets, name: str) -> Certificate:
    """Return a certificate and its key. Raise KeyError if the cluster has no certificate of that name."""
    return secrets.certificates[name]
