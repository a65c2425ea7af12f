"""Rules about capacity: each active site can carry the whole load alone, and every site can satisfy all quotas."""

from __future__ import annotations

import operator
from dataclasses import dataclass

from estate.checks.key_paths import key_at, key_of
from estate.model import Estate, HostRole, Service
from estate.problems import Problem, Problems

CLUSTER_MIB = 1024
"""Memory of Kubernetes itself on the node with the control plane, from docs/measurements.md."""
NODE_MIB = 384
"""Memory of Kubernetes itself on every other node."""
QUOTAS = {"cpus": "processors", "memory_mib": "MiB"}
"""Units of a quota's fields."""
CHANGING = 2
"""Additional pods of a service during a change of version."""
NODE_DISK_MIB = 3072
"""Space for two unpacked versions of the images, the registry's copy and the cluster's state. The kubelet evicts pods
from 90 % on."""


@dataclass(frozen=True, kw_only=True)
class SpareCapacity:
    """Capacity of a site's kube hosts for the bureaus' workloads."""

    cpus: float
    memory_mib: int


def spare_capacity(estate: Estate, site: str) -> SpareCapacity:
    """Return a site's capacity without the memory of Kubernetes itself."""
    hosts = estate.hosts_at(site, HostRole.KUBE)
    memory = sum(host.memory_mib for host in hosts) - cluster_mib(estate, site)
    return SpareCapacity(cpus=sum(host.cpus for host in hosts), memory_mib=max(memory, 0))


def cluster_mib(estate: Estate, site: str) -> int:
    """Return the memory of Kubernetes itself at a site in MiB; 0 without a cluster."""
    nodes = estate.nodes_at(site)
    return CLUSTER_MIB + NODE_MIB * (len(nodes) - 1) if nodes else 0


def each_site_carries_the_load_alone(estate: Estate) -> Problems:
    """Require that each active site's kube hosts have the processors and the memory for all services active there."""
    sites = {site.name for site in estate.sites}
    for site in sorted({s for service in estate.services for s in service.placement.active} & sites):
        services = [service for service in estate.services if site in service.placement.active]
        hosts = estate.hosts_at(site, HostRole.KUBE)
        if not hosts:
            continue
        first = hosts[0].name
        cpus, needed_cpus = sum(host.cpus for host in hosts), sum(s.demand.cpus for s in services)
        if cpus < needed_cpus:
            yield _short(
                key_of(estate, "hosts", first, "cpus"), f"{cpus:g}", f"{needed_cpus:g} processors", site, services
            )
        memory, needed = sum(host.memory_mib for host in hosts), sum(s.demand.memory_mib for s in services)
        needed += cluster_mib(estate, site)
        if memory < needed:
            yield _short(key_of(estate, "hosts", first, "memory_mib"), str(memory), f"{needed} MiB", site, services)


def quotas_hold_pods(estate: Estate) -> Problems:
    """Require that a bureau's quota suffices for the pods of its services and its gateway during a change of version.

    Each of them then has one starting pod and one ending pod more.
    """
    for site in dict.fromkeys(cluster.site for cluster in estate.clusters):
        for index, bureau in enumerate(estate.bureaus):
            services = [s.pods for s in estate.services_of(bureau.name) if site in s.pods.replicas]
            gateway = bureau.gateway
            pods = [*services, gateway] if gateway else services
            counts = [pod.replicas[site] + CHANGING for pod in services]
            counts += [gateway.replicas + CHANGING] if gateway else []
            for field, unit in {**QUOTAS, "pods": "pods"}.items():
                each = [1 if field == "pods" else getattr(pod, field) for pod in pods]
                allowed, needed = getattr(bureau.quota, field), sum(map(operator.mul, each, counts))
                if allowed < needed:
                    message = f"is less than its pods at {site} need while a version changes, {needed:g} {unit}"
                    key = key_at("bureaus", index, bureau.name, f"quota.{field}")
                    yield Problem(key=key, value=f"{allowed:g}", message=f"{message}; raise it or request less")


def two_pods_where_active(estate: Estate) -> Problems:
    """Require two pods at active sites. Citizens see the loss of a single pod until the site is withdrawn."""
    for service in estate.services:
        for site in dict.fromkeys(service.placement.active):
            if service.pods.replicas.get(site, 2) < 2:
                key = key_of(estate, "services", service.name, f"pods.replicas.{site}")
                yield Problem(
                    key=key, value="1", message=f"{site} serves citizens, and one pod may fail; make it at least 2"
                )


def node_disks_are_large_enough(estate: Estate) -> Problems:
    """Require that every node's disk is large enough for a Kubernetes node."""
    for cluster in estate.clusters:
        for host in estate.nodes_at(cluster.site):
            if host.disk and host.disk.size_mib < NODE_DISK_MIB:
                message = f"is too small for a Kubernetes node; make it at least {NODE_DISK_MIB}"
                key = key_of(estate, "hosts", host.name, "disk.size_mib")
                yield Problem(key=key, value=str(host.disk.size_mib), message=message)


def quotas_cover_services(estate: Estate) -> Problems:
    """Require that a bureau's quota suffices for its services at a site that carries them alone."""
    for index, bureau in enumerate(estate.bureaus):
        demands = [service.demand for service in estate.services_of(bureau.name)]
        names = ", ".join(service.name for service in estate.services_of(bureau.name))
        for field, unit in QUOTAS.items():
            allowed, needed = getattr(bureau.quota, field), sum(getattr(demand, field) for demand in demands)
            if allowed < needed:
                message = f"is less than {names} needs alone, {needed:g} {unit}; raise it"
                key = key_at("bureaus", index, bureau.name, f"quota.{field}")
                yield Problem(key=key, value=f"{allowed:g}", message=message)


def quotas_fit_every_site(estate: Estate) -> Problems:
    """Require that every site can satisfy all quotas at once, because any site may be the last one."""
    for site in dict.fromkeys(cluster.site for cluster in estate.clusters):
        if not estate.nodes_at(site):
            continue
        offered = spare_capacity(estate, site)
        for field, unit in QUOTAS.items():
            left = getattr(offered, field)
            for index, bureau in enumerate(estate.bureaus):
                wanted = getattr(bureau.quota, field)
                if wanted > left:
                    message = (
                        f"is more than the kube hosts of {site} have left, {left:g} {unit}; lower it or enlarge them"
                    )
                    key = key_at("bureaus", index, bureau.name, f"quota.{field}")
                    yield Problem(key=key, value=f"{wanted:g}", message=message)
                left = max(left - wanted, 0)


def active_in_two_sites(estate: Estate) -> Problems:
    """Require two active sites per service. A service in one site fails with that site."""
    for service in estate.services:
        if len(set(service.placement.active)) < 2:
            message = "the service runs in one site only; name a second active site"
            key = key_of(estate, "services", service.name, "placement.active")
            yield Problem(key=key, value=", ".join(service.placement.active), message=message)


def _short(key: str, value: str, needed: str, site: str, services: list[Service]) -> Problem:
    names = ", ".join(service.name for service in services)
    message = f"the kube hosts of {site} must offer {needed} to carry {names} alone; enlarge them or add one"
    return Problem(key=key, value=value, message=message)
