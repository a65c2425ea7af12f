"""Routers and hosts of the peers. These fixtures imitate systems of other operators, so that our border is tested.

They are complete sets of files, copied into a machine before it starts. No role manages them.
"""

from __future__ import annotations

from estate.addressing import AddressPlan, is_router, plan
from estate.model import Estate, Host, Peer
from playbooks.host_spec import File
from playbooks.render import bgp, carrier, frr, networkd, sysctls
from playbooks.render.bgp import Entry
from playbooks.render.text import header_comment, join_lines


def fixture_files(estate: Estate, host_name: str) -> tuple[File, ...]:
    """Return all files of a host at a peer. Raise ValueError for a managed host."""
    host = estate.host(host_name)
    if host not in estate.peer_hosts:
        raise ValueError(f"{host_name} is one of our own hosts; roles configure it")
    addresses = plan(estate)
    found = [*networkd.files(estate, addresses, host), _sysctls(estate, host)]
    if is_router(host):
        found += bgp.files(host, peer_config(estate, addresses, host))
    if carrier.simulates(estate, host):
        found += carrier.simulator_files(host)
    return tuple(found)


def fixture_units(estate: Estate, host_name: str) -> tuple[str, ...]:
    """Return the units that must be enabled in that machine for its files to have an effect."""
    host = estate.host(host_name)
    routing = ("frr.service",) if is_router(host) else ()
    simulators = (carrier.UNIT,) if carrier.simulates(estate, host) else ()
    return ("systemd-networkd.service", *routing, *simulators)


def _sysctls(estate: Estate, host: Host) -> File:
    wanted = sysctls.of(estate, host)
    text = header_comment("Kernel settings", host.name) + join_lines(
        f"{key} = {value}" for key, value in wanted.items()
    )
    return File(path="/etc/sysctl.d/60-govcloud.conf", text=text)


def peer_config(estate: Estate, addresses: AddressPlan, host: Host) -> list[str]:
    """Return the lines of a peer router's frr.conf.

    It announces its own prefix and accepts our services from every site.
    """
    peer = estate.peer(host.at)
    near = bgp.neighbours(estate, addresses, host)
    taken = bgp.both(estate.networks.services)
    if frr.called_by_us(estate, peer.name):
        taken += bgp.both(estate.networks.sites, within=(24, 64))
    own = [Entry(prefix=peer.prefix4), Entry(prefix=peer.prefix6)]
    return [
        *bgp.head(f"Border router of {peer.title.en}", host),
        *bgp.prefix_lists({"CITY": ("what the city may announce", taken), "OWN": ("what we announce", own)}),
        "bgp community-list standard LAST-RESORT seq 5 permit graceful-shutdown",
        "!",
        *bgp.accept("FROM-CITY", 10, "CITY", ["local-preference 0"], ["community LAST-RESORT"]),
        *bgp.accept("FROM-CITY", 20, "CITY"),
        *bgp.clause("TO-CITY", "permit", 10, "OWN"),
        *_aggregates(addresses, peer),
        *_router(addresses, host, peer, near),
    ]


def _aggregates(addresses: AddressPlan, peer: Peer) -> list[str]:
    """Return routes for prefixes larger than the segment: BGP announces a prefix only if it has a route."""
    segment = addresses.segments[peer.name]
    found = []
    if peer.prefix4 != segment.ipv4:
        found.append(f"ip route {peer.prefix4} blackhole")
    if peer.prefix6 != segment.ipv6:
        found.append(f"ipv6 route {peer.prefix6} blackhole")
    return [*found, "!"]


def _router(addresses: AddressPlan, host: Host, peer: Peer, near: tuple[bgp.Neighbour, ...]) -> list[str]:
    own = addresses.hosts[host.name].loopback
    assert own is not None, f"{host.name} is a router"
    found = [*bgp.instance(peer.asn, own.ipv4), *(line for n in near for line in bgp.session(n, {})), " !"]
    for family, prefix in ((4, peer.prefix4), (6, peer.prefix6)):
        found += [f" address-family ipv{family} unicast", f"  network {prefix}"]
        for neighbour in near:
            address = dict(neighbour.addresses)[family]
            found += [
                f"  neighbor {address} activate",
                f"  neighbor {address} route-map FROM-CITY in",
                f"  neighbor {address} route-map TO-CITY out",
            ]
        found += ["  maximum-paths 8", " exit-address-family", " !"]
    return [*found, "exit", "!"]
