"""Prefixes: usable, large enough, apart from each other, and giving each thing an address of its own."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import combinations

from estate.addressing import AddressError, AddressPlan, plan, shortfalls
from estate.checks.breach import Breach, Breaches, at, nth
from estate.model import Estate, Pool

Network = IPv4Network | IPv6Network

POOLS = ("sites", "links", "loopbacks", "management", "services")
CLUSTER_POOLS = ("pods", "cluster_ips")
LONGEST_ANNOUNCED4, LONGEST_ANNOUNCED6 = 24, 48
"""Carriers accept nothing longer from each other; a longer service prefix would be seen by nobody."""
DOCUMENTATION = tuple(
    ip_network(p) for p in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
)


def usable_prefixes(estate: Estate) -> Breaches:
    """No loopback, link-local, multicast, reserved or unspecified range: nothing there can be routed."""
    for key, prefix in _declared(estate):
        if (
            prefix.is_loopback
            or prefix.is_link_local
            or prefix.is_multicast
            or prefix.is_unspecified
            or prefix.is_reserved
        ):
            yield Breach(key=key, value=str(prefix), message="cannot be routed; take an assigned or private prefix")
        elif prefix.prefixlen < 8:
            yield Breach(key=key, value=str(prefix), message="is wider than a /8; enter only what is really assigned")


def separate_prefixes(estate: Estate) -> Breaches:
    """No two declared prefixes overlap."""
    for (key1, one), (key2, other) in combinations(_declared(estate), 2):
        if _overlap(one, other):
            way_out = f"overlaps {key1} ({one}); make them disjoint"
            yield Breach(key=key2, value=str(other), message=way_out)


def large_enough(estate: Estate) -> Breaches:
    """Everything declared fits in the prefix that it is numbered from."""
    for error in shortfalls(estate):
        yield breach_of(estate, error)


def announceable_services(estate: Estate) -> Breaches:
    """The service prefixes are short enough to be accepted by carriers."""
    pool = estate.networks.services
    for family, prefix, longest in (("ipv4", pool.ipv4, LONGEST_ANNOUNCED4), ("ipv6", pool.ipv6, LONGEST_ANNOUNCED6)):
        if prefix.prefixlen > longest:
            way_out = f"is too small to be announced: carriers refuse longer ones than /{longest}; widen it"
            yield Breach(key=f"networks.services.{family}", value=str(prefix), message=way_out)


def unique_addresses(estate: Estate) -> Breaches:
    """Every computed address belongs to one thing only (two routers' loopbacks could meet)."""
    if shortfalls(estate):
        return
    owners: dict[str, str] = {}
    for owner, address in addresses_of(plan(estate)):
        if address in owners and owners[address] != owner:
            host = owner.split(" ")[0]
            way_out = f"computed for {owner}, is the address of {owners[address]} too; give the host another number"
            yield Breach(key=at(estate, "hosts", host, "number"), value=address, message=way_out)
        owners.setdefault(address, owner)


def management_of_its_own(estate: Estate) -> Breaches:
    """Where a host is declared to be reached no other is, or it would be configured as that other one."""
    if shortfalls(estate):
        return
    computed = plan(estate)
    taken = {str(computed.operator.ipv4.ip): "the operator"}
    for owner, address in addresses_of(computed):
        name, interface = owner.split(" ")
        if interface != computed.hosts[name].management.name or not estate.host(name).platform.address:
            taken.setdefault(address, name)
    for host in estate.hosts:
        declared = host.platform.address
        if declared is None:
            continue
        key, given = at(estate, "hosts", host.name, "platform.address"), ip_address(declared)
        if given.is_unspecified or given.is_multicast or given.is_loopback or given.is_reserved:
            way_out = "is no machine's address; enter the one where its SSH answers"
            yield Breach(key=key, value=declared, message=way_out)
        elif taken.get(declared, host.name) != host.name:
            way_out = f"is an address of {taken[declared]}; enter the host's own management address"
            yield Breach(key=key, value=declared, message=way_out)


def addresses_of(computed: AddressPlan) -> Iterator[tuple[str, str]]:
    """Every address of the plan with its owner, `HOST INTERFACE`; anycast addresses belong to services, not hosts."""
    for name, host in computed.hosts.items():
        for interface in (host.lan, *host.links, host.management):
            yield f"{name} {interface.name}", str(interface.ipv4.ip)
            yield f"{name} {interface.name}", str(interface.ipv6.ip)
        if host.loopback:
            yield f"{name} lo", str(host.loopback.ipv4)
            yield f"{name} lo", str(host.loopback.ipv6)


def advice(estate: Estate) -> Breaches:
    """Documentation prefixes are right in a lab, where nothing may leave the machine, and nowhere else."""
    if estate.lab:
        return
    for key, prefix in _declared(estate):
        if any(_overlap(prefix, kept) for kept in DOCUMENTATION):
            yield Breach(key=key, value=str(prefix), message="is kept for examples; enter the assigned prefix")


def breach_of(estate: Estate, error: AddressError) -> Breach:
    """The address plan's error with the key path that the loader would write."""
    key = error.key
    if key.startswith("peers."):
        _, peer, field = key.split(".")
        key = at(estate, "peers", peer, field)
    return Breach(key=key, value=error.value, message=f"is {error.message}; use a wider prefix or a smaller number")


def _declared(estate: Estate) -> list[tuple[str, Network]]:
    found: list[tuple[str, Network]] = []
    for name in POOLS:
        pool: Pool = getattr(estate.networks, name)
        found += [(f"networks.{name}.ipv4", pool.ipv4), (f"networks.{name}.ipv6", pool.ipv6)]
    for name in CLUSTER_POOLS if estate.kubernetes else ():
        pool = getattr(estate.kubernetes, name)
        found += [(f"kubernetes.{name}.ipv4", pool.ipv4), (f"kubernetes.{name}.ipv6", pool.ipv6)]
    for index, peer in enumerate(estate.peers):
        found.append((nth("peers", index, peer.name, "prefix4"), peer.prefix4))
        found.append((nth("peers", index, peer.name, "prefix6"), peer.prefix6))
    return found


def _overlap(one: Network, other: Network) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.overlaps(other)
