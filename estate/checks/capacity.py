"""Each city site carries the whole load alone."""

from __future__ import annotations

from estate.checks.breach import Breach, Breaches, at
from estate.model import Estate, Kind, Service


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
        if memory < needed:
            yield _short(at(estate, "hosts", first, "memory_mib"), str(memory), f"{needed} MiB", site, services)


def active_in_two_sites(estate: Estate) -> Breaches:
    """A service that is active in one site only is gone with that site."""
    for service in estate.services:
        if len(set(service.placement.active)) < 2:
            way_out = "the service runs in one site only; name a second active site"
            key = at(estate, "services", service.name, "placement.active")
            yield Breach(key=key, value=", ".join(service.placement.active), message=way_out)


def _short(key: str, value: str, needed: str, site: str, services: list[Service]) -> Breach:
    names = ", ".join(service.name for service in services)
    way_out = f"the kube hosts of {site} must offer {needed} to carry {names} alone; enlarge them or add one"
    return Breach(key=key, value=value, message=way_out)
