"""Rules about prefixes: they are usable, large enough and disjoint, and each computed address has one owner."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import combinations

from estate.addressing import AddressError, AddressPlan, plan, shortfalls
from estate.checks.key_paths import key_at, key_of
from estate.model import Estate, Pool
from estate.problems import Problem, Problems

Network = IPv4Network | IPv6Network

POOLS = ("sites", "links", "loopbacks", "management", "services")
CLUSTER_POOLS = ("pods", "cluster_ips")
LONGEST_ANNOUNCED4, LONGEST_ANNOUNCED6 = 24, 48
"""Longest prefixes that carriers accept from each other. A longer service prefix would be unreachable."""
DOCUMENTATION = tuple(
    ip_network(p) for p in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20")
)


def usable_prefixes(estate: Estate) -> Problems:
    """Refuse loopback, link-local, multicast, reserved and unspecified ranges, which cannot be routed."""
    for key, prefix in _declared(estate):
        if (
            prefix.is_loopback
            or prefix.is_link_local
            or prefix.is_multicast
            or prefix.is_unspecified
            or prefix.is_reserved
        ):
            yield Problem(key=key, value=str(prefix), message="cannot be routed; use an assigned or private prefix")
        elif prefix.prefixlen < 8:
            yield Problem(key=key, value=str(prefix), message="is wider than a /8; enter only the assigned prefix")


def separate_prefixes(estate: Estate) -> Problems:
    """Require disjoint prefixes."""
    for (key1, one), (key2, other) in combinations(_declared(estate), 2):
        if _overlap(one, other):
            message = f"overlaps {key1} ({one}); make them disjoint"
            yield Problem(key=key2, value=str(other), message=message)


def large_enough(estate: Estate) -> Problems:
    """Require prefixes that are large enough for all numbers."""
    for error in shortfalls(estate):
        yield problem_of(estate, error)


def announceable_services(estate: Estate) -> Problems:
    """Require service prefixes that carriers accept."""
    pool = estate.networks.services
    for family, prefix, longest in (("ipv4", pool.ipv4, LONGEST_ANNOUNCED4), ("ipv6", pool.ipv6, LONGEST_ANNOUNCED6)):
        if prefix.prefixlen > longest:
            message = f"is too small to be announced: carriers refuse prefixes longer than /{longest}; widen it"
            yield Problem(key=f"networks.services.{family}", value=str(prefix), message=message)


def unique_addresses(estate: Estate) -> Problems:
    """Require one owner for every computed address. The loopbacks of two routers could be equal."""
    if shortfalls(estate):
        return
    owners: dict[str, str] = {}
    for owner, address in addresses_of(plan(estate)):
        if address in owners and owners[address] != owner:
            host = owner.split(" ")[0]
            message = f"computed for {owner}, is also the address of {owners[address]}; give the host another number"
            yield Problem(key=key_of(estate, "hosts", host, "number"), value=address, message=message)
        owners.setdefault(address, owner)


def management_of_its_own(estate: Estate) -> Problems:
    """Require that a declared management address belongs to no other host: the wrong host would be configured."""
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
        key, given = key_of(estate, "hosts", host.name, "platform.address"), ip_address(declared)
        if given.is_unspecified or given.is_multicast or given.is_loopback or given.is_reserved:
            message = "cannot be a machine's address; enter the address where its SSH answers"
            yield Problem(key=key, value=declared, message=message)
        elif taken.get(declared, host.name) != host.name:
            message = f"is an address of {taken[declared]}; enter the host's own management address"
            yield Problem(key=key, value=declared, message=message)


def addresses_of(computed: AddressPlan) -> Iterator[tuple[str, str]]:
    """Yield every host address of the plan with its owner `HOST INTERFACE`. Anycast addresses belong to services."""
    for name, host in computed.hosts.items():
        for interface in (host.lan, *host.links, host.management):
            yield f"{name} {interface.name}", str(interface.ipv4.ip)
            yield f"{name} {interface.name}", str(interface.ipv6.ip)
        if host.loopback:
            yield f"{name} lo", str(host.loopback.ipv4)
            yield f"{name} lo", str(host.loopback.ipv6)


def advice(estate: Estate) -> Problems:
    """Report documentation prefixes in a real estate. A lab may use them, because no packet leaves the machine."""
    if estate.lab:
        return
    for key, prefix in _declared(estate):
        if any(_overlap(prefix, kept) for kept in DOCUMENTATION):
            yield Problem(key=key, value=str(prefix), message="is reserved for examples; enter the assigned prefix")


def problem_of(estate: Estate, error: AddressError) -> Problem:
    """Return the address plan's error with the key path in the loader's form."""
    key = error.key
    if key.startswith("peers."):
        _, peer, field = key.split(".")
        key = key_of(estate, "peers", peer, field)
    return Problem(key=key, value=error.value, message=f"is {error.message}; use a wider prefix or a smaller number")


def _declared(estate: Estate) -> list[tuple[str, Network]]:
    found: list[tuple[str, Network]] = []
    for name in POOLS:
        pool: Pool = getattr(estate.networks, name)
        found += [(f"networks.{name}.ipv4", pool.ipv4), (f"networks.{name}.ipv6", pool.ipv6)]
    for name in CLUSTER_POOLS if estate.kubernetes else ():
        pool = getattr(estate.kubernetes, name)
        found += [(f"kubernetes.{name}.ipv4", pool.ipv4), (f"kubernetes.{name}.ipv6", pool.ipv6)]
    for index, peer in enumerate(estate.peers):
        found.append((key_at("peers", index, peer.name, "prefix4"), peer.prefix4))
        found.append((key_at("peers", index, peer.name, "prefix6"), peer.prefix6))
    return found


def _overlap(one: Network, other: Network) -> bool:
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.overlaps(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.overlaps(other)
