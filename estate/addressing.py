"""The address plan: every address of the estate, computed from its prefixes and numbers, so that none is written twice.

Rules for both families:

- A site's segment is the `number`-th /24 (IPv4) and /64 (IPv6) of `networks.sites`. A host's address in it has the
  host's number. In IPv6 the number keeps its digits: host 21 is ::21.
- A peer's segment is the first /25 or longer of its own prefix; in IPv6 the first /64.
- A link is the `number`-th /31 and /127 of `networks.links`. The first end has the even address.
- A router's loopback is also its router ID. Its number in `networks.loopbacks` is the site's number times 10, plus the
  host's number. For peers, 100 is added.
- `mgmt0` has the host's position in the declared list, from 11 on, in `networks.management`. The operator has .1.
- A service's anycast address has the service's number in `networks.services`. A bureau's gateway has 200 plus its
  number.
- A cluster's pods are in the site's `number`-th /16 and /56 of `kubernetes.pods`. A node's pods are in the
  `number`-th /24 and /64 of that prefix, by the host's number.
- A cluster's Services are in the site's `number`-th /20 and /112 of `kubernetes.cluster_ips`. The API has the first
  address. Our service has the address its number after that, and a bureau's gateway 200 later. These are among the
  first 256 addresses, which Kubernetes does not assign by itself.
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
    """A prefix is too small for its addresses. `key` is the estate's key path."""

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
    """An interface inside a machine. `link` is set on circuits; `gateway` is set on the `lan0` of non-routers."""

    name: str
    ipv4: IPv4Interface
    ipv6: IPv6Interface
    link: str | None = None
    gateway: Dual | None = None


@dataclass(frozen=True, kw_only=True)
class ClusterNetworks:
    """The prefixes of a site's Kubernetes cluster."""

    site: str
    pods: Pool
    cluster_ips: Pool
    nodes: dict[str, Pool]
    """Each node's part of `pods`, by host."""
    services: dict[str, Dual]
    """Fixed address of the Service with which nodes reach the pods of our service, by service."""
    gateways: dict[str, Dual]
    """Fixed address of the Service of a bureau's gateway, by bureau."""

    @property
    def api(self) -> Dual:
        """Address of the API for pods: the first address of `cluster_ips`."""
        return Dual(ipv4=self.cluster_ips.ipv4[1], ipv6=self.cluster_ips.ipv6[1])


@dataclass(frozen=True, kw_only=True)
class HostAddresses:
    """All addresses of one host. Only routers have a `loopback`."""

    host: str
    lan: Interface
    links: tuple[Interface, ...]
    management: Interface
    loopback: Dual | None

    def link(self, name: str) -> Interface:
        """Return the interface of the circuit `name`."""
        for interface in self.links:
            if interface.link == name:
                return interface
        raise KeyError(f"{self.host} does not terminate {name}")


@dataclass(frozen=True, kw_only=True)
class AddressPlan:
    """Every address of the estate, by name."""

    hosts: dict[str, HostAddresses]
    segments: dict[str, Pool]
    """Local network of a site or a peer."""
    anycast: dict[str, Dual]
    """Anycast address for citizens, by public service."""
    gateways: dict[str, Dual]
    """Anycast address of a bureau's gateway for citizens, by bureau. It is the same at every site."""
    clusters: dict[str, ClusterNetworks]
    """Networks of the Kubernetes clusters, by site."""
    operator: Interface
    """The operator's end of the management network."""
    reached_at: dict[str, IPv4Address]
    """Address with which the operator reaches each host: `platform.address`, else the computed management address."""

    def lan(self, host: str) -> Dual:
        """Return the host's address on its segment, to which other hosts connect."""
        lan = self.hosts[host].lan
        return Dual(ipv4=lan.ipv4.ip, ipv6=lan.ipv6.ip)

    def service_cluster_ip(self, site: str, service: str) -> Dual:
        """Return the fixed address of a service's pods in the site's cluster. Raises KeyError without a cluster."""
        return self.clusters[site].services[service]

    def management(self, host: str) -> IPv4Address:
        """Return the address with which the operator reaches the host."""
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
        anycast={s.name: _nth(estate.networks.services, s.number, "networks.services") for s in estate.public_services},
        gateways={b.name: _gateway(estate, b.gateway) for b in estate.bureaus if b.gateway},
        clusters={cluster.site: _cluster(estate, cluster.site) for cluster in estate.clusters},
        operator=_interface("mgmt0", _nth(management, OPERATOR, "networks.management"), management),
    )


def _reached_at(host: Host, addresses: HostAddresses) -> IPv4Address:
    declared = host.platform.address
    return IPv4Address(declared) if declared else addresses.management.ipv4.ip


def shortfalls(estate: Estate) -> list[AddressError]:
    """Return one error for each prefix that is too small. If it is empty, `plan` succeeds.

    All references of the estate must be known, and all its places must have routers.
    """
    found: list[AddressError] = []
    segments: dict[str, Pool] = {}
    for place in estate.places:
        with _collecting_into(found):
            segments[place.name] = _segment(estate, place.name)
    for index, host in enumerate(estate.hosts):
        if host.at in segments:
            with _collecting_into(found):
                _lan(estate, host, segments[host.at])
        with _collecting_into(found):
            _nth(estate.networks.management, MANAGEMENT_FIRST + index, "networks.management")
        if is_router(host):
            with _collecting_into(found):
                _loopback(estate, host)
    for link in estate.links:
        with _collecting_into(found):
            _circuit(estate, link, link.ends[0])
    for service in estate.public_services:
        with _collecting_into(found):
            _nth(estate.networks.services, service.number, "networks.services")
    for bureau in estate.bureaus:
        with _collecting_into(found):
            if bureau.gateway:
                _gateway(estate, bureau.gateway)
    for cluster in estate.clusters:
        with _collecting_into(found):
            _cluster(estate, cluster.site)
    return list({(e.key, e.message): e for e in found}.values())


@contextmanager
def _collecting_into(found: list[AddressError]) -> Iterator[None]:
    try:
        yield
    except AddressError as error:
        found.append(error)


def _segment(estate: Estate, place: str) -> Pool:
    owner = estate.place(place)
    if isinstance(owner, Site):
        return _split(estate.networks.sites, (24, 64), owner.number, _keys("networks.sites"))
    own, longest = Pool(ipv4=owner.prefix4, ipv6=owner.prefix6), max(25, owner.prefix4.prefixlen)
    return _split(own, (longest, 64), 0, _peer_keys(place))


def _host(estate: Estate, host: Host, index: int, segments: dict[str, Pool]) -> HostAddresses:
    management = estate.networks.management
    return HostAddresses(
        host=host.name,
        lan=_lan(estate, host, segments[host.at]),
        links=tuple(_circuit(estate, link, host.name) for link in estate.links_of(host.name)),
        management=_interface("mgmt0", _nth(management, MANAGEMENT_FIRST + index, "networks.management"), management),
        loopback=_loopback(estate, host) if is_router(host) else None,
    )


def _lan(estate: Estate, host: Host, segment: Pool) -> Interface:
    gateway = None if is_router(host) else _in_segment(estate, segment, estate.router_of(host.at))
    return _interface("lan0", _in_segment(estate, segment, host), segment, gateway=gateway)


def is_router(host: Host) -> bool:
    """Return whether the host forwards packets and speaks BGP."""
    return host.kind in (HostRole.EDGE, HostRole.PEER_ROUTER)


def _loopback(estate: Estate, host: Host) -> Dual:
    place = estate.place(host.at)
    base = place.number * 10 if isinstance(place, Site) else PEER_LOOPBACKS + place.number * 10
    return _nth(estate.networks.loopbacks, base + host.number, "networks.loopbacks")


def _circuit(estate: Estate, link: Link, host: str) -> Interface:
    end, own = link.ends.index(host), _split(estate.networks.links, (31, 127), link.number, _keys("networks.links"))
    return _interface(link.name, Dual(ipv4=own.ipv4[end], ipv6=own.ipv6[end]), own, link=link.name)


def _gateway(estate: Estate, gateway: Gateway) -> Dual:
    return _nth(estate.networks.services, GATEWAYS + gateway.number, "networks.services")


def _cluster(estate: Estate, site: str) -> ClusterNetworks:
    assert estate.kubernetes is not None
    number, pools = estate.site(site).number, estate.kubernetes
    pods = _split(pools.pods, (16, 56), number, _keys("kubernetes.pods"))
    own = _split(pools.cluster_ips, (20, 112), number, _keys("kubernetes.cluster_ips"))
    return ClusterNetworks(
        site=site,
        pods=pods,
        cluster_ips=own,
        services={service.name: _fixed(own, service.number) for service in estate.services},
        gateways={b.name: _fixed(own, GATEWAYS + b.gateway.number) for b in estate.bureaus if b.gateway},
        nodes={
            host.name: _split(pods, (24, 64), host.number, _keys("kubernetes.pods")) for host in estate.nodes_at(site)
        },
    )


def _fixed(own: Pool, number: int) -> Dual:
    return Dual(ipv4=own.ipv4[1 + number], ipv6=own.ipv6[1 + number])


def _split(pool: Pool, lengths: tuple[int, int], number: int, keys: tuple[str, str]) -> Pool:
    """Return the `number`-th part of these lengths in both families."""
    prefixes: tuple[IPv4Network | IPv6Network, ...] = (pool.ipv4, pool.ipv6)
    for prefix, length, key in zip(prefixes, lengths, keys, strict=True):
        if length < prefix.prefixlen or number >= 1 << (length - prefix.prefixlen):
            raise AddressError(key, str(prefix), f"too small: it has no /{length} number {number}")
    first4 = int(pool.ipv4.network_address) + (number << (32 - lengths[0]))
    first6 = int(pool.ipv6.network_address) + (number << (128 - lengths[1]))
    return Pool(ipv4=IPv4Network((first4, lengths[0])), ipv6=IPv6Network((first6, lengths[1])))


def _interface(
    name: str, address: Dual, pool: Pool, *, link: str | None = None, gateway: Dual | None = None
) -> Interface:
    return Interface(
        name=name,
        ipv4=IPv4Interface((int(address.ipv4), pool.ipv4.prefixlen)),
        ipv6=IPv6Interface((int(address.ipv6), pool.ipv6.prefixlen)),
        link=link,
        gateway=gateway,
    )


def _in_segment(estate: Estate, segment: Pool, host: Host) -> Dual:
    own = isinstance(estate.place(host.at), Site)
    return _numbered(segment, host.number, _keys("networks.sites") if own else _peer_keys(host.at))


def _peer_keys(peer: str) -> tuple[str, str]:
    return f"peers.{peer}.prefix4", f"peers.{peer}.prefix6"


def _keys(pool: str) -> tuple[str, str]:
    return f"{pool}.ipv4", f"{pool}.ipv6"


def _nth(pool: Pool, number: int, key: str) -> Dual:
    return _numbered(pool, number, _keys(key))


def _numbered(pool: Pool, number: int, keys: tuple[str, str]) -> Dual:
    """Return the address with that number in both families. IPv6 keeps the decimal digits: 21 becomes ::21."""
    number6 = int(str(number), 16)
    if number >= pool.ipv4.num_addresses - 1:
        raise AddressError(keys[0], str(pool.ipv4), f"too small: address number {number} does not fit")
    if number6 >= pool.ipv6.num_addresses:
        raise AddressError(keys[1], str(pool.ipv6), f"too small: address number {number} does not fit")
    return Dual(ipv4=pool.ipv4[number], ipv6=pool.ipv6[number6])
