"""The address plan: every address of the estate, computed from its prefixes and numbers and never typed twice.

Rules (both families alike):

- a site's segment is the `number`-th /24 (IPv4) and /64 (IPv6) of `networks.sites`; a host has its own number in it,
  in IPv6 written with the same digits (host 21 is ::21);
- a peer's segment is the first /25 or longer of its own prefix, in IPv6 its first /64;
- a link is the `number`-th /31 and /127 of `networks.links`; the first end has the even address;
- a router's loopback, also its router id, is the site's number times 10 plus the host's number in `networks.loopbacks`;
  peers' numbers follow after 100;
- `mgmt0` has the host's place in the declared list, from 11 on, in `networks.management`; .1 is the operator;
- a service's anycast address has the service's number in `networks.services`, a bureau's gateway 200 and its number;
- a cluster's pods are in the site's `number`-th /16 and /56 of `kubernetes.pods`, a node's in its own number-th /24 and
  /64 of that; its Services in the site's `number`-th /20 and /112 of `kubernetes.cluster_ips`, of which the API has
  the first, and a service of ours the one that comes its number after that, a bureau's gateway 200 later: among the
  first 256, which Kubernetes gives to nobody by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from estate.model import Estate, Gateway, Host, HostRole, Link, Pool, Site

MANAGEMENT_FIRST = 11
OPERATOR = 1
PEER_LOOPBACKS = 100
GATEWAYS = 200


class AddressError(ValueError):
    """A prefix is too small for what has to fit in it. `key` is the estate's key path."""

    def __init__(self, key: str, value: str, message: str) -> None:
        super().__init__(f"{key}: {value}: {message}")
        self.key, self.value, self.message = key, value, message


@dataclass(frozen=True, kw_only=True)
class Dual:
    """One address of each family."""

    ipv4: IPv4Address
    ipv6: IPv6Address


@dataclass(frozen=True, kw_only=True)
class Interface:
    """An interface inside a machine. `link` is set on circuits, `gateway` on segments of hosts that are no routers."""

    name: str
    ipv4: IPv4Interface
    ipv6: IPv6Interface
    link: str | None = None
    gateway: Dual | None = None


@dataclass(frozen=True, kw_only=True)
class DualNetwork:
    """One prefix of each family."""

    ipv4: IPv4Network
    ipv6: IPv6Network


@dataclass(frozen=True, kw_only=True)
class ClusterNetworks:
    """The prefixes of a site's Kubernetes cluster."""

    site: str
    pods: DualNetwork
    cluster_ips: DualNetwork
    nodes: dict[str, DualNetwork]
    """Each node's part of `pods`, by host."""
    services: dict[str, Dual]
    """Where the nodes reach the pods of a service of ours: the fixed address of its Service, by service."""
    gateways: dict[str, Dual]
    """The same of the bureaus' gateways, by bureau."""

    @property
    def api(self) -> Dual:
        """Where pods reach the API: the first address of `cluster_ips`."""
        return Dual(ipv4=self.cluster_ips.ipv4[1], ipv6=self.cluster_ips.ipv6[1])


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The local network of a site or a peer."""

    place: str
    ipv4: IPv4Network
    ipv6: IPv6Network


@dataclass(frozen=True, kw_only=True)
class HostAddresses:
    """All addresses of one host. `loopback` only on routers."""

    host: str
    lan: Interface
    links: tuple[Interface, ...]
    management: Interface
    loopback: Dual | None

    def link(self, name: str) -> Interface:
        """The interface of the circuit `name`."""
        for interface in self.links:
            if interface.link == name:
                return interface
        raise KeyError(f"{self.host} does not terminate {name}")


@dataclass(frozen=True, kw_only=True)
class AddressPlan:
    """Every address of the estate, by name."""

    hosts: dict[str, HostAddresses]
    segments: dict[str, Segment]
    anycast: dict[str, Dual]
    """Where citizens reach a service, by service."""
    gateways: dict[str, Dual]
    """Where citizens reach a bureau's gateway, at whichever site, by bureau."""
    clusters: dict[str, ClusterNetworks]
    """By site, where it has a Kubernetes cluster."""
    operator: Interface
    """The operator's end of the management network."""
    reached_at: dict[str, IPv4Address]
    """Where the operator reaches each host: its `platform.address`, or else its computed management address."""

    def lan(self, host: str) -> Dual:
        """The host's address on its segment: what other hosts connect to."""
        lan = self.hosts[host].lan
        return Dual(ipv4=lan.ipv4.ip, ipv6=lan.ipv6.ip)

    def service_cluster_ip(self, site: str, service: str) -> Dual:
        """The fixed address of a service's pods in the site's cluster. KeyError where it has no cluster."""
        return self.clusters[site].services[service]

    def management(self, host: str) -> IPv4Address:
        """Where the operator reaches the host."""
        return self.reached_at[host]


def plan(estate: Estate) -> AddressPlan:
    """Compute the plan. Raises `AddressError` for the first prefix that is too small."""
    segments = {place: _segment(estate, place) for place in (p.name for p in estate.places)}
    hosts = {host.name: _host(estate, host, index, segments) for index, host in enumerate(estate.hosts)}
    management = estate.networks.management
    return AddressPlan(
        reached_at={host.name: _reached_at(host, hosts[host.name]) for host in estate.hosts},
        hosts=hosts,
        segments=segments,
        anycast={s.name: _nth(estate.networks.services, s.number, "networks.services") for s in estate.services},
        gateways={b.name: _gateway(estate, b.gateway) for b in estate.bureaus if b.gateway},
        clusters={cluster.site: _cluster(estate, cluster.site) for cluster in estate.clusters},
        operator=_interface("mgmt0", _nth(management, OPERATOR, "networks.management"), management),
    )


def _reached_at(host: Host, addresses: HostAddresses) -> IPv4Address:
    declared = host.platform.address
    return IPv4Address(declared) if declared else addresses.management.ipv4.ip


def shortfalls(estate: Estate) -> list[AddressError]:
    """Every prefix in which something does not fit, one error for each. Empty: `plan` succeeds.

    Needs an estate whose references are known and whose places have routers.
    """
    found: list[AddressError] = []
    segments: dict[str, Segment] = {}
    for place in estate.places:
        with _noting(found):
            segments[place.name] = _segment(estate, place.name)
    for index, host in enumerate(estate.hosts):
        if host.at in segments:
            with _noting(found):
                _lan(estate, host, segments[host.at])
        with _noting(found):
            _nth(estate.networks.management, MANAGEMENT_FIRST + index, "networks.management")
        if is_router(host):
            with _noting(found):
                _loopback(estate, host)
    for link in estate.links:
        with _noting(found):
            _circuit(estate, link, link.ends[0])
    for service in estate.services:
        with _noting(found):
            _nth(estate.networks.services, service.number, "networks.services")
    for bureau in estate.bureaus:
        with _noting(found):
            if bureau.gateway:
                _gateway(estate, bureau.gateway)
    for cluster in estate.clusters:
        with _noting(found):
            _cluster(estate, cluster.site)
    return list({(e.key, e.message): e for e in found}.values())


@contextmanager
def _noting(found: list[AddressError]) -> Iterator[None]:
    try:
        yield
    except AddressError as error:
        found.append(error)


def _segment(estate: Estate, place: str) -> Segment:
    owner = estate.place(place)
    if isinstance(owner, Site):
        pool = estate.networks.sites
        return Segment(
            place=place,
            ipv4=_subnet4(pool.ipv4, 24, owner.number, "networks.sites.ipv4"),
            ipv6=_subnet6(pool.ipv6, 64, owner.number, "networks.sites.ipv6"),
        )
    key4, key6 = _peer_keys(place)
    return Segment(
        place=place,
        ipv4=_subnet4(owner.prefix4, max(25, owner.prefix4.prefixlen), 0, key4),
        ipv6=_subnet6(owner.prefix6, 64, 0, key6),
    )


def _host(estate: Estate, host: Host, index: int, segments: dict[str, Segment]) -> HostAddresses:
    management = estate.networks.management
    return HostAddresses(
        host=host.name,
        lan=_lan(estate, host, segments[host.at]),
        links=tuple(_circuit(estate, link, host.name) for link in estate.links_of(host.name)),
        management=_interface("mgmt0", _nth(management, MANAGEMENT_FIRST + index, "networks.management"), management),
        loopback=_loopback(estate, host) if is_router(host) else None,
    )


def _lan(estate: Estate, host: Host, segment: Segment) -> Interface:
    gateway = None
    if not is_router(host):
        gateway = _in_segment(estate, segment, estate.router_of(host.at))
    pool = Pool(ipv4=segment.ipv4, ipv6=segment.ipv6)
    return _interface("lan0", _in_segment(estate, segment, host), pool, gateway=gateway)


def is_router(host: Host) -> bool:
    """Whether the host forwards packets and speaks BGP."""
    return host.kind in (HostRole.EDGE, HostRole.PEER_ROUTER)


def _loopback(estate: Estate, host: Host) -> Dual:
    place = estate.place(host.at)
    base = place.number * 10 if isinstance(place, Site) else PEER_LOOPBACKS + place.number * 10
    return _nth(estate.networks.loopbacks, base + host.number, "networks.loopbacks")


def _circuit(estate: Estate, link: Link, host: str) -> Interface:
    pool = estate.networks.links
    end = link.ends.index(host)
    v4 = _subnet4(pool.ipv4, 31, link.number, "networks.links.ipv4")
    v6 = _subnet6(pool.ipv6, 127, link.number, "networks.links.ipv6")
    return Interface(
        name=link.name,
        ipv4=IPv4Interface((int(v4.network_address) + end, 31)),
        ipv6=IPv6Interface((int(v6.network_address) + end, 127)),
        link=link.name,
    )


def _gateway(estate: Estate, gateway: Gateway) -> Dual:
    return _nth(estate.networks.services, GATEWAYS + gateway.number, "networks.services")


def _cluster(estate: Estate, site: str) -> ClusterNetworks:
    assert estate.kubernetes is not None
    number, pools = estate.site(site).number, estate.kubernetes
    pods = _split(pools.pods, (16, 56), number, "kubernetes.pods")
    own = _split(pools.cluster_ips, (20, 112), number, "kubernetes.cluster_ips")
    return ClusterNetworks(
        site=site,
        pods=pods,
        cluster_ips=own,
        services={service.name: _fixed(own, service.number) for service in estate.services},
        gateways={b.name: _fixed(own, GATEWAYS + b.gateway.number) for b in estate.bureaus if b.gateway},
        nodes={
            host.name: _split(Pool(ipv4=pods.ipv4, ipv6=pods.ipv6), (24, 64), host.number, "kubernetes.pods")
            for host in estate.nodes_at(site)
        },
    )


def _fixed(own: DualNetwork, number: int) -> Dual:
    return Dual(ipv4=own.ipv4[1 + number], ipv6=own.ipv6[1 + number])


def _split(pool: Pool, lengths: tuple[int, int], number: int, key: str) -> DualNetwork:
    return DualNetwork(
        ipv4=_subnet4(pool.ipv4, lengths[0], number, f"{key}.ipv4"),
        ipv6=_subnet6(pool.ipv6, lengths[1], number, f"{key}.ipv6"),
    )


def _interface(name: str, address: Dual, pool: Pool, gateway: Dual | None = None) -> Interface:
    return Interface(
        name=name,
        ipv4=IPv4Interface((int(address.ipv4), pool.ipv4.prefixlen)),
        ipv6=IPv6Interface((int(address.ipv6), pool.ipv6.prefixlen)),
        gateway=gateway,
    )


def _in_segment(estate: Estate, segment: Segment, host: Host) -> Dual:
    own = isinstance(estate.place(segment.place), Site)
    keys = ("networks.sites.ipv4", "networks.sites.ipv6") if own else _peer_keys(segment.place)
    return _numbered(Pool(ipv4=segment.ipv4, ipv6=segment.ipv6), host.number, keys)


def _peer_keys(peer: str) -> tuple[str, str]:
    return f"peers.{peer}.prefix4", f"peers.{peer}.prefix6"


def _nth(pool: Pool, number: int, key: str) -> Dual:
    return _numbered(pool, number, (f"{key}.ipv4", f"{key}.ipv6"))


def _numbered(pool: Pool, number: int, keys: tuple[str, str]) -> Dual:
    """The address with that number in both families; in IPv6 the decimal digits are kept (21 becomes ::21)."""
    number6 = int(str(number), 16)
    if number >= pool.ipv4.num_addresses - 1:
        raise AddressError(keys[0], str(pool.ipv4), f"too small: address number {number} does not fit")
    if number6 >= pool.ipv6.num_addresses:
        raise AddressError(keys[1], str(pool.ipv6), f"too small: address number {number} does not fit")
    return Dual(ipv4=pool.ipv4[number], ipv6=pool.ipv6[number6])


def _subnet4(pool: IPv4Network, length: int, number: int, key: str) -> IPv4Network:
    if length < pool.prefixlen or number >= 1 << (length - pool.prefixlen):
        raise AddressError(key, str(pool), f"too small: it has no /{length} number {number}")
    return IPv4Network((int(pool.network_address) + (number << (32 - length)), length))


def _subnet6(pool: IPv6Network, length: int, number: int, key: str) -> IPv6Network:
    if length < pool.prefixlen or number >= 1 << (length - pool.prefixlen):
        raise AddressError(key, str(pool), f"too small: it has no /{length} number {number}")
    return IPv6Network((int(pool.network_address) + (number << (128 - length)), length))
