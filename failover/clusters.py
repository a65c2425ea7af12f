"""The sites' Kubernetes clusters, looked at through their own API servers, on the hosts where these run.

`read` is pure; `cluster_views` asks. A cluster that does not answer is absent, never an error.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from estate.model import Estate
from failover.protocols import ClusterView, Machines, NodeView, Observed, Observer
from playbooks.render.kubernetes.rbac import ADMIN_CONFIG
from workstation.errors import GovcloudError

KUBECTL = ("/usr/local/bin/kubectl", f"--kubeconfig={ADMIN_CONFIG}", "--request-timeout=5s")
OBSERVE_TIMEOUT_S = 15.0


def snapshot(estate: Estate, observer: Observer, machines: Machines) -> Observed:
    """What failover sees otherwise, and the clusters."""
    return replace(observer.snapshot(), clusters=cluster_views(estate, machines))


def cluster_views(estate: Estate, machines: Machines) -> tuple[ClusterView, ...]:
    """Every cluster that answers, in the estate's order; all are asked at once."""
    sites = [cluster.site for cluster in estate.clusters]
    with ThreadPoolExecutor(max_workers=max(1, len(sites))) as pool:
        found = pool.map(lambda site: _one(estate, site, machines), sites)
        return tuple(view for view in found if view)


def _one(estate: Estate, site: str, machines: Machines) -> ClusterView | None:
    host = estate.nodes_at(site)[0].name
    version = _asked(machines, host, ["get", "--raw", "/version"])
    objects = _asked(machines, host, ["get", "nodes,deployments.apps", "--all-namespaces", "-o", "json"])
    return read(estate, site, version, objects) if version and objects else None


def _asked(machines: Machines, host: str, words: Sequence[str]) -> dict[str, Any] | None:
    try:
        answer = machines.run(host, [*KUBECTL, *words], timeout_s=OBSERVE_TIMEOUT_S)
        value = json.loads(answer.stdout) if answer.returncode == 0 else None
    except (GovcloudError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def own_deployments(estate: Estate, site: str) -> dict[tuple[str, str], int]:
    """Pods by namespace and name of what the estate itself puts on the site's cluster; all others are the bureaus'
    affair."""
    services = (service for service in estate.services if site in service.placement.sites)
    pods = {(service.bureau, service.name): service.pods.replicas[site] for service in services}
    return pods | {(one.name, one.gateway_name): one.gateway.replicas for one in estate.bureaus if one.gateway}


def read(estate: Estate, site: str, version: dict[str, Any], objects: dict[str, Any]) -> ClusterView:
    """The API server's answers as a value."""
    ours = own_deployments(estate, site)
    nodes = [item for item in objects["items"] if item["kind"] == "Node"]
    deployments = [item for item in objects["items"] if item["kind"] == "Deployment"]
    found = {_place(item): item for item in deployments if _place(item) in ours}
    return ClusterView(
        site=site,
        version=version["gitVersion"].removeprefix("v"),
        nodes=tuple(_node(item) for item in nodes),
        pods_ready=sum(min(_ready(item), ours[place]) for place, item in found.items()),
        pods_wanted=sum(ours.values()),
        absent=tuple("/".join(place) for place in ours if place not in found),
        others=tuple(
            f"{'/'.join(_place(item))}: {_ready(item)} of {item['spec']['replicas']} pods are ready"
            for item in deployments
            if _place(item) not in ours and _ready(item) < item["spec"]["replicas"]
        ),
    )


def _place(item: dict[str, Any]) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


def _node(item: dict[str, Any]) -> NodeView:
    status = item["status"]
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))
    version = status["nodeInfo"]["kubeletVersion"].removeprefix("v")
    return NodeView(host=item["metadata"]["name"], version=version, ready=ready)


def _ready(item: dict[str, Any]) -> int:
    """Pods of the wanted template that are ready; none while the controller has not seen the wanted state."""
    status = item.get("status", {})
    if status.get("observedGeneration") != item["metadata"]["generation"]:
        return 0
    return int(min(status.get("readyReplicas", 0), status.get("updatedReplicas", 0)))
