"""The certificates of a Kubernetes cluster and their owners.

A cluster has its own authorities. The API server takes a certificate's subject for a user and its organizations for
groups, so it must not accept certificates of the estate's authority or of another site's cluster. The cluster's etcd
has a third authority, because a client of etcd can read and write everything.
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
"""The API server's own user name towards kubelets. It has exactly the rights for that and no others."""


MONITORING_USER = "govcloud:watchers"
"""The user of the monitoring hosts. It may ask whether the API server and its nodes are ready, and nothing else."""

CLEANER_USER = "govcloud:registry-clean"
"""The user that lists all objects with image references, so that the registry keeps those images."""


def node(host: Host) -> str:
    """Return the name of a node's certificate."""
    return f"node-{host.name}"


def bureau(name: str) -> str:
    """Return the name of the certificate of a bureau's users."""
    return f"bureau-{name}"


def leaves(estate: Estate, plan: AddressPlan, site: str) -> tuple[Leaf, ...]:
    """Return the certificates of the cluster's authority, nodes last. Raise ValueError for a site without a cluster."""
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
    """Return the certificates of the authority of the cluster's etcd: the member, and its only client."""
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
