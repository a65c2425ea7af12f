"""The address plan: every address of the estate, computed from its prefixes and numbers and never typed twice.

Rules (both families alike):

- a site's segment is the `number`-th /24 (IPv4) and /64 (IPv6) of `networks.sites`; a host has its own number in it,
  in IPv6 written with the same digits (host 21 is ::21);
- a peer's segment is the first /25 or longer of its own prefix, in IPv6 its first /64;
- a link is the `number`-th /31 and /127 of `networks.links`; the first end has the even address;
- a router's loopback, also its router id, is the site's number times 10 plus the host's number in `networks.loopbacks`;
  peers' numbers follow after 100;
- `mgmt0` has the host's place in the declared list, from 11 on, in `networks.management`; .1 is the operator;
- a service's anycast address has the service's number in `networks.services`.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from estate.model import Estate, Host, Kind, Link, Pool

MANAGEMENT_FIRST = 11
OPERATOR = 1


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
    operator: Interface
    """The operator's end of the management network."""

    def lan(self, host: str) -> Dual:
        """The host's address on its segment: what other hosts connect to."""
        lan = self.hosts[host].lan
        return Dual(ipv4=lan.ipv4.ip, ipv6=lan.ipv6.ip)

    def management(self, host: str) -> IPv4Address:
        """Where the operator reaches the host."""
        return self.hosts[host].management.ipv4.ip


def plan(estate: Estate) -> AddressPlan:
    """Compute the plan. Raises `AddressError` for the first prefix that is too small."""
    segments = {place: _segment(estate, place) for place in _places(estate)}
    hosts = {host.name: _host(estate, host, index, segments) for index, host in enumerate(estate.hosts)}
    management = estate.networks.management
    return AddressPlan(
        hosts=hosts,
        segments=segments,
        anycast={s.name: _nth(estate.networks.services, s.number, "networks.services") for s in estate.services},
        operator=_interface("mgmt0", _nth(management, OPERATOR, "networks.management"), management),
    )


def _places(estate: Estate) -> list[str]:
    return [owner.name for owner in (*estate.sites, *estate.peers)]


def _segment(estate: Estate, place: str) -> Segment:
    for site in estate.sites:
        if site.name == place:
            pool = estate.networks.sites
            return Segment(
                place=place,
                ipv4=_subnet4(pool.ipv4, 24, site.number, "networks.sites.ipv4"),
                ipv6=_subnet6(pool.ipv6, 64, site.number, "networks.sites.ipv6"),
            )
    peer = estate.peer(place)
    return Segment(
        place=place,
        ipv4=_subnet4(peer.prefix4, max(25, peer.prefix4.prefixlen), 0, f"peers.{place}.prefix4"),
        ipv6=_subnet6(peer.prefix6, 64, 0, f"peers.{place}.prefix6"),
    )


def _host(estate: Estate, host: Host, index: int, segments: dict[str, Segment]) -> HostAddresses:
    segment = segments[host.at]
    gateway = None
    if not is_router(host):
        router = estate.router_of(host.at)
        gateway = _in_segment(segment, router.number, f"hosts.{router.name}.number")
    pool = Pool(ipv4=segment.ipv4, ipv6=segment.ipv6)
    management = estate.networks.management
    return HostAddresses(
        host=host.name,
        lan=_interface("lan0", _in_segment(segment, host.number, f"hosts.{host.name}.number"), pool, gateway=gateway),
        links=tuple(_circuit(estate, link, host.name) for link in estate.links_of(host.name)),
        management=_interface(
            "mgmt0", _nth(management, MANAGEMENT_FIRST + index, "networks.management"), management
        ),
        loopback=_loopback(estate, host) if is_router(host) else None,
    )


def is_router(host: Host) -> bool:
    """Whether the host forwards packets and speaks BGP."""
    return host.kind in (Kind.EDGE, Kind.PEER_ROUTER)


def _loopback(estate: Estate, host: Host) -> Dual:
    base = 0
    for site in estate.sites:
        if site.name == host.at:
            base = site.number * 10
    for peer in estate.peers:
        if peer.name == host.at:
            base = 100 + peer.number * 10
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


def _interface(name: str, address: Dual, pool: Pool, gateway: Dual | None = None) -> Interface:
    return Interface(
        name=name,
        ipv4=IPv4Interface((int(address.ipv4), pool.ipv4.prefixlen)),
        ipv6=IPv6Interface((int(address.ipv6), pool.ipv6.prefixlen)),
        gateway=gateway,
    )


def _in_segment(segment: Segment, number: int, key: str) -> Dual:
    return _nth(Pool(ipv4=segment.ipv4, ipv6=segment.ipv6), number, key)


def _nth(pool: Pool, number: int, key: str) -> Dual:
    """The address with that number in both families; in IPv6 the decimal digits are kept (21 becomes ::21)."""
    number6 = int(str(number), 16)
    if number >= pool.ipv4.num_addresses - 1:
        raise AddressError(f"{key}.ipv4", str(pool.ipv4), f"too small: address number {number} does not fit")
    if number6 >= pool.ipv6.num_addresses:
        raise AddressError(f"{key}.ipv6", str(pool.ipv6), f"too small: address number {number} does not fit")
    return Dual(ipv4=pool.ipv4[number], ipv6=pool.ipv6[number6])


def _subnet4(pool: IPv4Network, length: int, number: int, key: str) -> IPv4Network:
    if length < pool.prefixlen or number >= 1 << (length - pool.prefixlen):
        raise AddressError(key, str(pool), f"too small: it has no /{length} number {number}")
    return IPv4Network((int(pool.network_address) + (number << (32 - length)), length))


def _subnet6(pool: IPv6Network, length: int, number: int, key: str) -> IPv6Network:
    if length < pool.prefixlen or number >= 1 << (length - pool.prefixlen):
        raise AddressError(key, str(pool), f"too small: it has no /{length} number {number}")
    return IPv6Network((int(pool.network_address) + (number << (128 - length)), length))
