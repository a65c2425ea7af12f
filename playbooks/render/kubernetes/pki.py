"""Who gets which certificate of a Kubernetes cluster.

A cluster has authorities of its own: the API server takes a certificate's subject for a user and its organizations for
groups, so no certificate of the estate's authority, and none of another site's cluster, may count there. The cluster's
etcd has a third one, because whoever gets in there reads and writes everything.
"""

from __future__ import annotations

from estate.addressing import AddressPlan
from estate.model import Estate, Host
from playbooks.render.kubernetes.cluster import OPERATORS_GROUP, control_plane_host
from playbooks.render.pki import Leaf
from playbooks.secrets import OPERATOR

API, API_TO_KUBELET, API_TO_ETCD, ETCD = "apiserver", "apiserver-kubelet", "apiserver-etcd", "etcd"
CONTROLLERS, SCHEDULER, PROXY = "controller-manager", "scheduler", "proxy"
ACCOUNTS, ADMIN, MONITORING, CLEANER = "service-accounts", "admin", "watchers", "registry-clean"
LOCAL = ("localhost", "127.0.0.1", "::1")

KUBELET_CLIENT = "govcloud:apiserver"
"""The API server's own name towards kubelets: bound to what that takes and to nothing else."""


MONITORING_USER = "govcloud:watchers"
"""Asks whether the API server and its nodes are ready, and sees nothing else."""

CLEANER_USER = "govcloud:registry-clean"
"""Lists whatever names images, so that the registry keeps those."""


def node(host: Host) -> str:
    """Name of a node's certificate."""
    return f"node-{host.name}"


def bureau(name: str) -> str:
    """Name of the certificate with which a bureau's people come."""
    return f"bureau-{name}"


def leaves(estate: Estate, plan: AddressPlan, site: str) -> tuple[Leaf, ...]:
    """What the cluster's authority signs, nodes last. Raises ValueError for a site without a cluster."""
    first, client = control_plane_host(estate, site), ("client",)
    return (
        Leaf(name=API, subject="kube-apiserver", sans=_api_names(plan, first, site), usages=("server",)),
        Leaf(name=API_TO_KUBELET, subject=KUBELET_CLIENT, sans=(), usages=client),
        Leaf(name=CONTROLLERS, subject="system:kube-controller-manager", sans=LOCAL, usages=("server", "client")),
        Leaf(name=SCHEDULER, subject="system:kube-scheduler", sans=LOCAL, usages=("server", "client")),
        Leaf(name=PROXY, subject="system:kube-proxy", sans=(), usages=client),
        Leaf(name=ACCOUNTS, subject="service accounts", sans=(), usages=()),
        Leaf(name=MONITORING, subject=MONITORING_USER, sans=(), usages=client),
        Leaf(name=CLEANER, subject=CLEANER_USER, sans=(), usages=client),
        Leaf(name=ADMIN, subject="break-glass", organizations=("system:masters",), sans=(), usages=client),
        Leaf(name=OPERATOR, subject=OPERATOR, organizations=(OPERATORS_GROUP,), sans=(), usages=client),
        *(
            Leaf(name=bureau(one.name), subject=one.name, organizations=(one.group,), sans=(), usages=client)
            for one in estate.bureaus
        ),
        *(
            Leaf(
                name=node(host),
                subject=f"system:node:{host.name}",
                organizations=("system:nodes",),
                sans=(host.name, *_lan(plan, host)),
                usages=("server", "client"),
            )
            for host in estate.nodes_at(site)
        ),
    )


def etcd_leaves() -> tuple[Leaf, ...]:
    """What the authority of the cluster's etcd signs: the member, and its only client."""
    return (
        Leaf(name=ETCD, subject="etcd", sans=LOCAL, usages=("server", "client")),
        Leaf(name=API_TO_ETCD, subject="kube-apiserver", sans=(), usages=("client",)),
    )


def _api_names(plan: AddressPlan, first: Host, site: str) -> tuple[str, ...]:
    service = plan.clusters[site].api
    return (
        first.name,
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        *LOCAL,
        *_lan(plan, first),
        str(plan.management(first.name)),
        str(service.ipv4),
        str(service.ipv6),
    )


def _lan(plan: AddressPlan, host: Host) -> tuple[str, str]:
    lan = plan.lan(host.name)
    return str(lan.ipv4), str(lan.ipv6)
