"""Each city site carries the whole load alone."""

from __future__ import annotations

from estate.checks.breach import Breach, Breaches, at
from estate.model import Estate, Kind, Service

CLUSTER_MIB = 1024
"""What Kubernetes itself takes on the node with the control plane: docs/measurements.md."""
NODE_MIB = 384
"""What it takes on every further node."""
NODE_DISK_MIB = 3072
"""Two versions of the images, unpacked, the registry's copy, the cluster's state; the kubelet evicts from 90 % on."""


def each_site_carries_the_load_alone(estate: Estate) -> Breaches:
    """The kube hosts of every active site have the processors and the memory for all services active there."""
    sites = {site.name for site in estate.sites}
    for site in sorted({s for service in estate.services for s in service.placement.active} & sites):
        services = [service for service in estate.services if site in service.placement.active]
        hosts = estate.hosts_at(site, Kind.KUBE)
        if not hosts:
            continue
        first = hosts[0].name
        cpus, needed_cpus = sum(host.cpus for host in hosts), sum(s.demand.cpus for s in services)
        if cpus < needed_cpus:
            yield _short(at(estate, "hosts", first, "cpus"), f"{cpus:g}", f"{needed_cpus:g} processors", site, services)
        memory, needed = sum(host.memory_mib for host in hosts), sum(s.demand.memory_mib for s in services)
        needed += _kubernetes_mib(estate, site)
        if memory < needed:
            yield _short(at(estate, "hosts", first, "memory_mib"), str(memory), f"{needed} MiB", site, services)


def room_for_pods(estate: Estate) -> Breaches:
    """A site's nodes hold all pods placed there and, while a new version comes, one more of each service."""
    for cluster in estate.clusters:
        hosts = estate.nodes_at(cluster.site)
        services = [service for service in estate.services if cluster.site in service.pods.replicas]
        if not hosts or not services:
            continue
        pods = [(service.pods, service.pods.replicas[cluster.site] + 1) for service in services]
        cpus, needed_cpus = sum(host.cpus for host in hosts), sum(pod.cpus * count for pod, count in pods)
        first = hosts[0].name
        if cpus < needed_cpus:
            key = at(estate, "hosts", first, "cpus")
            yield _full(key, f"{cpus:g}", f"{needed_cpus:g} processors", cluster.site, services)
        memory, needed = sum(host.memory_mib for host in hosts), sum(pod.memory_mib * count for pod, count in pods)
        needed += _kubernetes_mib(estate, cluster.site)
        if memory < needed:
            key = at(estate, "hosts", first, "memory_mib")
            yield _full(key, str(memory), f"{needed} MiB", cluster.site, services)


def two_pods_where_active(estate: Estate) -> Breaches:
    """With one pod alone, its loss is seen by citizens until the site is withdrawn."""
    for service in estate.services:
        for site in dict.fromkeys(service.placement.active):
            if service.pods.replicas.get(site, 2) < 2:
                key = at(estate, "services", service.name, f"pods.replicas.{site}")
                yield Breach(key=key, value="1", message=f"{site} serves, and a pod may be lost; make it at least 2")


def room_for_clusters(estate: Estate) -> Breaches:
    """Every node's disk holds what a node keeps."""
    for cluster in estate.clusters:
        for host in estate.nodes_at(cluster.site):
            if host.disk and host.disk.size_mib < NODE_DISK_MIB:
                way_out = f"is too small for a Kubernetes node; make it at least {NODE_DISK_MIB}"
                key = at(estate, "hosts", host.name, "disk.size_mib")
                yield Breach(key=key, value=str(host.disk.size_mib), message=way_out)


def active_in_two_sites(estate: Estate) -> Breaches:
    """A service that is active in one site only is gone with that site."""
    for service in estate.services:
        if len(set(service.placement.active)) < 2:
            way_out = "the service runs in one site only; name a second active site"
            key = at(estate, "services", service.name, "placement.active")
            yield Breach(key=key, value=", ".join(service.placement.active), message=way_out)


def _kubernetes_mib(estate: Estate, site: str) -> int:
    nodes = estate.nodes_at(site)
    return CLUSTER_MIB + NODE_MIB * (len(nodes) - 1) if nodes else 0


def _full(key: str, value: str, needed: str, site: str, services: list[Service]) -> Breach:
    names = ", ".join(service.name for service in services)
    way_out = f"the nodes of {site} must offer {needed} to the pods of {names}, one more than declared of each"
    return Breach(key=key, value=value, message=f"{way_out} while a version changes; enlarge them or ask for less")


def _short(key: str, value: str, needed: str, site: str, services: list[Service]) -> Breach:
    names = ", ".join(service.name for service in services)
    way_out = f"the kube hosts of {site} must offer {needed} to carry {names} alone; enlarge them or add one"
    return Breach(key=key, value=value, message=way_out)
