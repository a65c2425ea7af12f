"""Rules about references: every referenced entry exists and has the required kind."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from pathlib import PurePosixPath

from contracts.loader import ContractError, contradictions, names
from estate import versions
from estate.addressing import is_router
from estate.checks.key_paths import key_at
from estate.model import Estate, Host, HostRole
from estate.problems import Problem, Problems

MANAGED_ROLES = (HostRole.EDGE, HostRole.KUBE, HostRole.DATA, HostRole.OPS)


def known_places(estate: Estate) -> Problems:
    """Require a known site or peer for every host."""
    known = [place.name for place in estate.places]
    for index, host in enumerate(estate.hosts):
        if host.at not in known:
            yield _unknown(key_at("hosts", index, host.name, "at"), host.at, "site or peer", known)


def roles_fit_places(estate: Estate) -> Problems:
    """Require managed kinds of hosts at sites, and all other kinds at peers."""
    sites = {site.name for site in estate.sites}
    peers = {peer.name for peer in estate.peers}
    for index, host in enumerate(estate.hosts):
        own = host.kind in MANAGED_ROLES
        if (host.at in sites and not own) or (host.at in peers and own):
            fitting = [kind.value for kind in HostRole if (kind in MANAGED_ROLES) != own]
            message = f"cannot be at {host.at}; use one of {', '.join(fitting)}, or correct `at`"
            yield Problem(key=key_at("hosts", index, host.name, "kind"), value=host.kind.value, message=message)


def router_at_every_place(estate: Estate) -> Problems:
    """Require a router at every site and peer: it is the gateway of all other hosts there."""
    for section in ("sites", "peers"):
        for index, place in enumerate(getattr(estate, section)):
            if not any(is_router(host) for host in estate.hosts_at(place.name)):
                kind = "edge" if section == "sites" else "peer-router"
                message = f"has no gateway; add a host of kind {kind} with `at: {place.name}`"
                yield Problem(key=key_at(section, index, place.name), value=place.name, message=message)


def link_ends(estate: Estate) -> Problems:
    """Require two different routers at two different places as the ends of a link."""
    hosts = {host.name: host for host in estate.hosts}
    for index, link in enumerate(estate.links):
        for end, name in enumerate(link.ends):
            key = key_at("links", index, link.name, f"ends[{end}]")
            if name not in hosts:
                yield _unknown(key, name, "host", [h.name for h in estate.hosts if is_router(h)])
            elif not is_router(hosts[name]):
                message = f"is of kind {hosts[name].kind.value}; only routers (edge, peer-router) terminate links"
                yield Problem(key=key, value=name, message=f"{message}: name a router")
        ends = [hosts[name] for name in link.ends if name in hosts]
        if link.ends[0] == link.ends[1]:
            message = "has the same router at both ends; name the router at the other end"
            yield Problem(key=key_at("links", index, link.name, "ends"), value=", ".join(link.ends), message=message)
        elif len(ends) == 2 and ends[0].at == ends[1].at:
            message = f"begins and ends at {ends[0].at}; a link joins two places, name a router at another place"
            yield Problem(key=key_at("links", index, link.name, "ends"), value=", ".join(link.ends), message=message)


def vantages(estate: Estate) -> Problems:
    """Require an existing vantage host for every vantage, and existing public services, each listed once."""
    hosts = {host.name: host for host in estate.hosts}
    services = [service.name for service in estate.services if service.public]
    fitting = [host.name for host in estate.hosts if host.kind is HostRole.VANTAGE]
    for index, vantage in enumerate(estate.vantages):
        key = key_at("vantages", index, vantage.name, "host")
        if vantage.host not in hosts:
            yield _unknown(key, vantage.host, "host", fitting)
        elif hosts[vantage.host].kind is not HostRole.VANTAGE:
            message = f"is of kind {hosts[vantage.host].kind.value}; name a host of kind vantage"
            yield Problem(key=key, value=vantage.host, message=message)
        for number, service in enumerate(vantage.reaches):
            key = key_at("vantages", index, vantage.name, f"reaches[{number}]")
            if service not in services:
                yield _unknown(key, service, "service", services)
            elif service in vantage.reaches[:number]:
                yield Problem(key=key, value=service, message="is listed twice; keep one")


def seen_services(estate: Estate) -> Problems:
    """Require a vantage for every public service. Drills, `status` and alerts learn only there what citizens see."""
    reached = {service for vantage in estate.vantages for service in vantage.reaches}
    for index, service in enumerate(estate.services):
        if service.public and service.name not in reached:
            message = (
                "is reached from no vantage, so no alert would report its failure; name it in a vantage's `reaches`"
            )
            yield Problem(key=key_at("services", index, service.name, "name"), value=service.name, message=message)


def placements(estate: Estate) -> Problems:
    """Require that a service is placed at our own sites with a cluster, each site once."""
    sites = [site.name for site in estate.sites]
    for index, service in enumerate(estate.services):
        seen: set[str] = set()
        for field in ("active", "ready"):
            for number, site in enumerate(getattr(service.placement, field)):
                key = key_at("services", index, service.name, f"placement.{field}[{number}]")
                if site not in sites:
                    yield _unknown(key, site, "site", sites)
                elif not estate.hosts_at(site, HostRole.KUBE):
                    message = "has no host of kind kube to run the service; add one or place the service elsewhere"
                    yield Problem(key=key, value=site, message=message)
                elif not estate.nodes_at(site):
                    message = "has no Kubernetes cluster to run the service's pods; add one to kubernetes.clusters"
                    yield Problem(key=key, value=site, message=f"{message}, or place the service elsewhere")
                if site in seen:
                    yield Problem(key=key, value=site, message="is listed twice in the placement; keep one")
                seen.add(site)


def pods_by_site(estate: Estate) -> Problems:
    """Require the number of pods for every site where a service runs, and for no other site."""
    for index, service in enumerate(estate.services):
        placed = service.placement.sites
        key = key_at("services", index, service.name, "pods.replicas")
        for site in dict.fromkeys(placed):
            if site not in service.pods.replicas:
                yield Problem(key=f"{key}.{site}", value="", message="is missing; add it")
        for site, count in service.pods.replicas.items():
            if site not in placed:
                message = f"{service.name} does not run at {site}; remove it or place the service there"
                yield Problem(key=f"{key}.{site}", value=str(count), message=message)


def owners(estate: Estate) -> Problems:
    """Require a known bureau for every service. The service runs in the bureau's namespace."""
    known = [bureau.name for bureau in estate.bureaus]
    for index, service in enumerate(estate.services):
        if service.bureau not in known:
            yield _unknown(key_at("services", index, service.name, "bureau"), service.bureau, "bureau", known)


def shipped(estate: Estate) -> Problems:
    """Require a valid contract for every service: the platform can deploy only a folder of `services/` with one."""
    contracts = []
    for index, service in enumerate(estate.services):
        key = key_at("services", index, service.name, "name")
        if service.name not in names():
            yield _unknown(key, service.name, "workload", names())
            continue
        try:
            contracts.append(service.contract)
        except ContractError as error:
            yield Problem(key=key, value=service.name, message=f"has an invalid contract; correct it: {error}")
    if len(contracts) == len(estate.services):
        for problem in contradictions(contracts):
            yield Problem(key="services", value="", message=f"have contracts that contradict each other: {problem}")


def carriers(estate: Estate) -> Problems:
    """Require a carrier for each service that uses one, and a simulated one only in a lab, on a peer's server."""
    for service in estate.services:
        with suppress(ContractError):  # `shipped` reports it
            if service.contract.uses("carrier") and not estate.carrier:
                yield Problem(key="carrier", value="", message=f"is missing, and {service.name} uses it; add it")
    carrier = estate.carrier
    if not carrier:
        return
    if bool(carrier.url) == bool(carrier.simulated_on):
        yield Problem(key="carrier", value="", message="needs either `url` or `simulated_on`; keep one of them")
    if carrier.simulated_on:
        servers = [host.name for host in estate.peer_hosts if host.kind is HostRole.PEER_SERVER]
        if carrier.simulated_on not in servers:
            yield _unknown("carrier.simulated_on", carrier.simulated_on, "peer-server", servers)
        if not estate.lab:
            message = "is only for a lab: no message would reach a citizen; use `url`"
            yield Problem(key="carrier.simulated_on", value=carrier.simulated_on, message=message)
    elif carrier.deliver_synthetic:
        message = "would send messages to synthetic people through a real carrier; remove it"
        yield Problem(key="carrier.deliver_synthetic", value=carrier.deliver_synthetic, message=message)


def management_addresses(estate: Estate) -> Problems:
    """Require unique declared management addresses."""
    first: dict[str, str] = {}
    for index, host in enumerate(estate.hosts):
        if host.platform.address is None:
            continue
        address = host.platform.address
        if address in first:
            message = f"is also the management address of {first[address]}; correct one of them"
            yield Problem(key=key_at("hosts", index, host.name, "platform.address"), value=address, message=message)
        first.setdefault(address, host.name)


def clusters(estate: Estate) -> Problems:
    """Require kube hosts at a cluster's site, and at most one cluster per site."""
    sites = [site.name for site in estate.sites]
    seen: set[str] = set()
    for index, cluster in enumerate(estate.clusters):
        key = f"kubernetes.clusters[{index}].site"
        if cluster.site not in sites:
            yield _unknown(key, cluster.site, "site", sites)
        elif not estate.hosts_at(cluster.site, HostRole.KUBE):
            message = "has no host of kind kube to be a node; add one or remove the cluster"
            yield Problem(key=key, value=cluster.site, message=message)
        if cluster.site in seen:
            yield Problem(key=key, value=cluster.site, message="has a cluster already; keep one")
        seen.add(cluster.site)


def cluster_versions(estate: Estate) -> Problems:
    """Require a pinned version for every cluster, at most one minor behind the newest cluster."""
    known = [cluster for cluster in estate.clusters if cluster.version in versions.KUBERNETES]
    newest = max((versions.minor(cluster.version) for cluster in known), default=0)
    for index, cluster in enumerate(estate.clusters):
        key = f"kubernetes.clusters[{index}].version"
        if cluster not in known:
            yield Problem(
                key=key, value=cluster.version, message=f"is not pinned; use {' or '.join(versions.KUBERNETES)}"
            )
        elif newest - versions.minor(cluster.version) > 1:
            message = f"is more than one minor behind another site's 1.{newest}; upgrade it to the minor between first"
            yield Problem(key=key, value=cluster.version, message=message)


_PLACES_OF_DISKS = {PurePosixPath("/srv"), PurePosixPath("/mnt")}
"""Folders without files of packages. /var/lib is not allowed: dpkg, systemd and all services keep their state there."""


def needed_disks(estate: Estate) -> Problems:
    """Require a separate disk for hosts with data, mounted at a path where it hides no system files."""
    for index, host in enumerate(estate.hosts):
        why = _why_disk(host) or (
            "a Kubernetes node stores images, pods and its cluster's state on a separate disk"
            if host in estate.nodes_at(host.at)
            else ""
        )
        if why and host.disk is None:
            message = f"is missing: {why}; add `disk: {{size_mib: 2048, mount: /srv/data}}`"
            yield Problem(key=key_at("hosts", index, host.name, "disk"), value="", message=message)
        if host.disk is not None and not _PLACES_OF_DISKS & {*PurePosixPath(host.disk.mount).parents}:
            message = "would hide current or future files of the system; mount it below /srv or /mnt"
            yield Problem(key=key_at("hosts", index, host.name, "disk.mount"), value=host.disk.mount, message=message)


def _why_disk(host: Host) -> str:
    if host.database:
        return "a database member stores its data on a separate disk"
    if host.etcd_votes:
        return "an etcd vote stores its log on a separate disk"
    return "a data host stores data" if host.kind is HostRole.DATA else ""


def _unknown(key: str, value: str, what: str, known: Collection[str]) -> Problem:
    return Problem(key=key, value=value, message=f"no such {what}; known: {', '.join(known) or 'none'}")
