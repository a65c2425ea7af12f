"""Kubernetes clusters: their API servers, their nodes, and the pods that the estate puts on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from estate.model import Estate, Host
from facts import ports
from facts.host_paths import KUBERNETES_PKI
from monitors.collector import DOWN, UNSEEN, Collector, Column, Context
from monitors.problem import SEPARATOR, Language, Problem, Scope, warning
from monitors.query import Queries, Query, Replies, Reply, Target, https, mapping, objects, whole

TENANTS, DEPLOYMENTS_PATH = "tenants", "/apis/apps/v1/deployments"
MAX_LIST_BYTES = 6 << 20
"""A Deployment takes 3 to 5 KiB, so the list holds more than a thousand. The whole reply may have 8 MiB, see
`ssh_session.MAX_REPLY_BYTES`."""

# An API server that restarts and pods that start are back in less than two minutes.
CLUSTER_DOWN = warning("cluster_down", "Kubernetes API 无应答", "its Kubernetes API does not answer")
NODE_NOT_READY = warning("node_not_ready", "有节点未就绪", "has nodes that are not ready")
PODS_MISSING = warning("pods_missing", "就绪的 Pod 少于所需", "has fewer ready pods than it wants")
# Only in upgrades: pods of the old version serve as well, so users and drills are not concerned. A site whose pods are
# still being replaced is not finished.
ROLLOUT_UNFINISHED = warning(
    "rollout_unfinished", "新版本的 Pod 尚未全部就绪", "its newest pods are not all ready",
    scopes=frozenset({Scope.UPGRADE}),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A Deployment that the estate puts on a site's cluster: a service, or a bureau's gateway."""

    service: str
    """Name of the Deployment."""
    namespace: str
    declared: int
    """Pods that the estate declares."""
    wanted: int | None
    """Pods that the Deployment in the cluster asks for. None if the cluster has no such Deployment."""
    ready: int
    updated: int = 0
    """Ready pods of the newest template. 0 while the controller has not read the newest template."""
    reason: str = ""
    """Why the Deployment could not be read; empty if it was read or does not exist."""


@dataclass(frozen=True, kw_only=True)
class ClusterNode:
    """A node as its API server reports it."""

    host: str
    ready: bool
    version: str = ""
    """The kubelet's version, such as 1.37.2."""


@dataclass(frozen=True, kw_only=True)
class TenantDeployment:
    """A bureau's own Deployment that is not complete."""

    namespace: str
    name: str
    ready: int
    wanted: int

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}: {self.ready} of {self.wanted} pods are ready"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A site's Kubernetes cluster, as its own API server reports it."""

    site: str
    host: str
    """Where the API server runs."""
    answers: bool
    """The API server reads its etcd and answers."""
    nodes_ready: int = 0
    nodes: int = 0
    workloads: tuple[Workload, ...] = ()
    reason: str = ""
    version: str = ""
    """The API server's version, such as 1.37.2. Empty if it did not report it."""
    node_list: tuple[ClusterNode, ...] = ()
    incomplete_tenants: tuple[TenantDeployment, ...] | None = None
    """The bureaus' Deployments that are not complete. None if they were not queried or could not be read."""


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """The clusters of all sites whose first node was asked."""

    clusters: tuple[Cluster, ...] = ()

    def cluster_at(self, site: str) -> Cluster | None:
        """Return the cluster of a site."""
        return next((cluster for cluster in self.clusters if cluster.site == site), None)


def _queries(target: Target) -> Queries:
    """Return the queries for the version, the nodes, and each Deployment that the estate puts on the site's cluster.

    There is no query for /readyz: the API server lists nodes from etcd, so a list of nodes proves as much.
    """
    if not target.estate.is_control_plane(target.host):
        return {}
    queries = {"version": _kubernetes("/version"), "nodes": _kubernetes("/api/v1/nodes")}
    for namespace, name in _declared_deployments(target.estate, target.host.at):
        queries[f"pods {name}"] = _kubernetes(f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}")
    if target.tenants:
        queries[TENANTS] = _kubernetes(DEPLOYMENTS_PATH) | {"max_bytes": MAX_LIST_BYTES}
    return queries


def _kubernetes(path: str) -> Query:
    """Return a query to the API server with the cluster's own certificates, which only root on the host can read."""
    files = {"ca_file": "ca.crt", "cert_file": "admin.crt", "key_file": "admin.key"}
    paths = {key: f"{KUBERNETES_PKI}/{name}" for key, name in files.items()}
    return https("127.0.0.1", ports.KUBERNETES_API, "kubernetes", path, **paths)


def _declared_deployments(estate: Estate, site: str) -> dict[tuple[str, str], int]:
    """Return the pods of each Deployment that the estate itself puts on the site's cluster, by namespace and name.

    They are the services placed there and the bureaus' gateways. Every other Deployment is a bureau's own.
    """
    services = (service for service in estate.services if site in service.placement.sites)
    pods = {(service.bureau, service.name): service.pods.replicas.get(site, 0) for service in services}
    return pods | {(one.name, one.gateway_name): one.gateway.replicas for one in estate.bureaus if one.gateway}


def _parse(replies: Replies) -> Clusters:
    estate = replies.estate
    pairs = ((host, reply) for host, reply in replies.pairs if estate.is_control_plane(host))
    return Clusters(clusters=tuple(_cluster(estate, host, reply) for host, reply in pairs))


def _cluster(estate: Estate, host: Host, reply: Reply) -> Cluster:
    listed = reply.document("nodes")
    if not isinstance(listed, dict) or listed.get("kind") != "NodeList":
        return Cluster(site=host.at, host=host.name, answers=False, reason=reply.why("nodes"))
    nodes = tuple(_node(item) for item in objects(listed.get("items")))
    own = _declared_deployments(estate, host.at)
    return Cluster(
        site=host.at,
        host=host.name,
        answers=True,
        version=_version(reply.object("version").get("gitVersion")),
        nodes_ready=sum(node.ready for node in nodes),
        nodes=len(nodes),
        node_list=nodes,
        workloads=tuple(_workload(reply, namespace, name, declared) for (namespace, name), declared in own.items()),
        incomplete_tenants=_tenants(reply.document(TENANTS), own),
    )


def _node(item: Mapping[str, Any]) -> ClusterNode:
    status = mapping(item.get("status"))
    return ClusterNode(
        host=str(mapping(item.get("metadata")).get("name", "")),
        ready=any(
            one.get("type") == "Ready" and one.get("status") == "True" for one in objects(status.get("conditions"))
        ),
        version=_version(mapping(status.get("nodeInfo")).get("kubeletVersion")),
    )


def _version(text: Any) -> str:
    return str(text or "").removeprefix("v")


def _workload(reply: Reply, namespace: str, name: str, declared: int) -> Workload:
    """Return a Deployment's pods. The answer is a `Status` without a `spec` if the cluster has no such Deployment."""
    deployment = reply.object(f"pods {name}")
    return Workload(
        service=name,
        namespace=namespace,
        declared=declared,
        wanted=_replicas(deployment),
        ready=whole(mapping(deployment.get("status")).get("readyReplicas")) or 0,
        updated=_updated(deployment),
        reason="" if deployment else reply.why(f"pods {name}"),
    )


def _tenants(listed: Any, own: Mapping[tuple[str, str], int]) -> tuple[TenantDeployment, ...] | None:
    """Return the incomplete Deployments of a cluster that are not the estate's own, None if the list is unreadable."""
    if not isinstance(listed, dict) or listed.get("kind") != "DeploymentList":
        return None
    found = []
    for item in objects(listed.get("items")):
        metadata = mapping(item.get("metadata"))
        place = str(metadata.get("namespace")), str(metadata.get("name"))
        ready, wanted = _updated(item), _replicas(item) or 0
        if place not in own and ready < wanted:
            found.append(TenantDeployment(namespace=place[0], name=place[1], ready=ready, wanted=wanted))
    return tuple(found)


def _replicas(deployment: Mapping[str, Any]) -> int | None:
    return whole(mapping(deployment.get("spec")).get("replicas"))


def _updated(deployment: Mapping[str, Any]) -> int:
    """Return the ready pods of the newest template, 0 while the controller has not read the newest template."""
    status, metadata = mapping(deployment.get("status")), mapping(deployment.get("metadata"))
    if status.get("observedGeneration") != metadata.get("generation"):
        return 0
    return min(whole(status.get("readyReplicas")) or 0, whole(status.get("updatedReplicas")) or 0)


def _judge(context: Context, seen: Clusters) -> Iterator[Problem]:
    """Report an unreachable API server once: its pods keep running, and its nodes and pods are unknown, not missing."""
    for cluster in seen.clusters:
        if cluster.host not in context.reached:
            continue
        if not cluster.answers:
            yield CLUSTER_DOWN.at(cluster.site, cluster.reason)
            continue
        yield from _nodes(context.estate, cluster)
        for workload in cluster.workloads:
            yield from _pods(workload, f"{workload.service}{SEPARATOR}{cluster.site}")


def _nodes(estate: Estate, cluster: Cluster) -> Iterator[Problem]:
    """Compare the nodes with the estate's: a declared node that never joined is as bad as one that is not ready."""
    ready = {node.host for node in cluster.node_list if node.ready}
    known = {host.name for host in estate.nodes_at(cluster.site)} | {node.host for node in cluster.node_list}
    if missing := sorted(known - ready):
        yield NODE_NOT_READY.at(cluster.site, f"{len(ready)}/{len(known)}: {', '.join(missing)}")


def _pods(workload: Workload, subject: str) -> Iterator[Problem]:
    """Compare the pods with the estate's number: a Deployment that a person has scaled down is not complete."""
    if workload.wanted is None:
        absent = f"no Deployment {workload.namespace}/{workload.service}; `./govcloud up platform` creates it"
        yield PODS_MISSING.at(subject, workload.reason or absent)
    elif workload.ready < (needed := max(workload.wanted, workload.declared)):
        yield PODS_MISSING.at(subject, f"{workload.ready}/{needed}")
    elif workload.updated < workload.declared:
        yield ROLLOUT_UNFINISHED.at(subject, f"{workload.updated}/{workload.declared}")


def _nodes_cell(seen: Clusters, site: str, _: Language) -> str:
    cluster = seen.cluster_at(site)
    if cluster is None:
        return UNSEEN
    return f"{cluster.nodes_ready}/{cluster.nodes}" if cluster.answers else DOWN


def _pods_cell(seen: Clusters, site: str, _: Language) -> str:
    """Return the pods of services and gateways, ready and needed."""
    cluster = seen.cluster_at(site)
    if cluster is None or not cluster.answers:
        return UNSEEN
    needed = sum(max(workload.wanted or 0, workload.declared) for workload in cluster.workloads)
    return f"{sum(workload.ready for workload in cluster.workloads)}/{needed}"


COLLECTOR = Collector[Clusters](
    rank=5,
    queries=_queries,
    parse=_parse,
    judge=_judge,
    columns=(Column(zh="节点", en="nodes", cell=_nodes_cell), Column(zh="Pod", en="pods", cell=_pods_cell)),
)
