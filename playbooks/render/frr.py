"""Role frr: the border router of a site.

The policy, enforced in both directions:

- between our sites: segments, routers' loopbacks, single service addresses and the prefixes announced by peers. So a
  site that has lost an uplink uses the uplink of another site;
- from a peer: only the prefixes declared for it, never ours, never a bogon;
- to a peer: only the services' aggregate, and only while a service of *this* site answers, because only then the
  announcer sets a kernel route for it. So a site with a failed service attracts no traffic. Packets that still arrive
  follow the single address learned from another site. A peer whose servers our hosts call also gets the sites'
  segments;
- never transit from one peer to another.

A standby site prepends three times. If a service fails while no healthy site is known, it stays announced with the
well-known community `graceful-shutdown`: all routers then prefer any other site.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network

from estate.addressing import AddressPlan
from estate.model import Estate, Host, HostRole, Peer
from playbooks import host_programs
from playbooks.host_spec import File, RoleSpec, Unit
from playbooks.render import bgp
from playbooks.render.announcer import LAST_RESORT_METRIC
from playbooks.render.bgp import Entry, Neighbour
from playbooks.render.text import header_comment, join_lines

STANDBY_PREPENDS = 3
LAST_RESORT_PREPENDS = 6
SITE_PREFIXES, PEER_PREFIXES = 200, 20
"""Maximum number of prefixes from a neighbour. If it sends more, its session is closed: it leaks routes."""
PEER_RESTART_MIN = 5
COMMIT_CONFIRM = f"{host_programs.DIRECTORY}/commit-confirm"
CONFIRM_WITHIN_S = 120
_BOGONS = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
    "198.18.0.0/15", "224.0.0.0/3", "::/8", "100::/64", "fc00::/7", "fe80::/10", "ff00::/8",
)  # fmt: skip


def role_spec(estate: Estate, plan: AddressPlan, host: Host, *, passwords: Mapping[str, str] | None = None) -> RoleSpec:
    """Return the role on an edge.

    `passwords` are TCP-MD5 secrets by link. If there are any, all of frr.conf is secret.
    """
    known = passwords or {}
    config = edge_config(estate, plan, host, known)
    return RoleSpec(
        role="frr",
        files=(*_guard(host), *bgp.files(host, config, secret=bool(known))),
        units=(Unit(name="frr.service"), Unit(name="govcloud-router-revert.timer")),
    )


def edge_config(estate: Estate, plan: AddressPlan, host: Host, passwords: Mapping[str, str]) -> list[str]:
    """Return the lines of the edge's frr.conf."""
    near = bgp.neighbours(estate, plan, host)
    sites = {site.name for site in estate.sites}
    peers = {n.place: n for n in near if n.place not in sites}
    asn, standby = estate.asn_of(host.name), is_standby_site(estate, host.at)
    return [
        *bgp.head("Border router", host),
        *bgp.prefix_lists(_lists(estate, plan, host, list(peers))),
        "bgp as-path access-list OWN seq 5 permit ^$",
        "!",
        "bgp community-list standard LAST-RESORT seq 5 permit graceful-shutdown",
        "!",
        *_announced(),
        *_between_sites(asn, standby),
        *(line for peer in peers.values() for line in _with_peer(estate, asn, peer, standby)),
        *_router(plan, host, asn, near, sites, passwords),
    ]


def is_standby_site(estate: Estate, site: str) -> bool:
    """Return whether this is a standby site: active for no service, and it announces its services last."""
    return not any(site in service.placement.active for service in estate.public_services)


def _lists(estate: Estate, plan: AddressPlan, host: Host, peers: list[str]) -> dict[str, tuple[str, list[Entry]]]:
    networks, own = estate.networks, plan.segments[host.at]
    lans = bgp.both(networks.sites, within=(24, 64))
    hosts = bgp.both(networks.services, within=(32, 128))
    declared = [estate.peer(name) for name in peers]
    everyone = [entry for peer in estate.peers for entry in _of_peer(peer)]
    lists = {
        "OWN": ("this site's segment, which nobody else may announce to us", bgp.both(own)),
        "LANS": ("segments of our sites", lans),
        "SERVICES": ("the services' aggregate, the only thing the world hears of", bgp.both(networks.services)),
        "SERVICE-HOSTS": ("single service addresses, told between our sites only", hosts),
        "UNIFIED": (
            "all that our sites tell each other",
            [*lans, *bgp.both(networks.loopbacks, within=(32, 128)), *hosts, *everyone],
        ),
        "BOGONS": ("never accepted from a peer", _bogons(estate)),
    }
    for peer in declared:
        lists[f"PEER-{peer.name}"] = (f"what {peer.title.en} may announce", _of_peer(peer))
    return lists


def _of_peer(peer: Peer) -> list[Entry]:
    return [Entry(prefix=peer.prefix4), Entry(prefix=peer.prefix6)]


def _bogons(estate: Estate) -> list[Entry]:
    """Return default routes, our own prefixes, and special ranges except ranges with a peer's declared prefix."""
    networks = estate.networks
    ours = [networks.services, networks.sites, networks.links, networks.loopbacks, networks.management]
    found = [Entry(prefix=ip_network("0.0.0.0/0")), Entry(prefix=ip_network("::/0"))]
    prefixes = [p for pool in ours for p in (pool.ipv4, pool.ipv6)] + [ip_network(text) for text in _BOGONS]
    declared = [p for peer in estate.peers for p in (peer.prefix4, peer.prefix6)]
    for prefix in prefixes:
        if not any(prefix.version == p.version and prefix.overlaps(p) for p in declared):
            found.append(Entry(prefix=prefix, le=32 if prefix.version == 4 else 128))
    return found


def _announced() -> list[str]:
    """Return the route map that takes the announcer's kernel routes into BGP."""
    worst = ["community graceful-shutdown"]
    metric = [f"metric {LAST_RESORT_METRIC}"]
    return [
        "! ANNOUNCED: the announcer's routes; a service kept up as the last resort is marked",
        *bgp.clause("ANNOUNCED", "permit", 10, "SERVICES", worst, metric),
        *bgp.clause("ANNOUNCED", "permit", 20, "SERVICE-HOSTS", worst, metric),
        *bgp.clause("ANNOUNCED", "permit", 30, "SERVICES"),
        *bgp.clause("ANNOUNCED", "permit", 40, "SERVICE-HOSTS"),
    ]


def _between_sites(asn: int, standby: bool) -> list[str]:
    late = [_prepend(asn, STANDBY_PREPENDS)]
    return [
        "! FROM-SITES, TO-SITES: between our own sites",
        *bgp.clause("FROM-SITES", "deny", 10, "OWN"),
        *bgp.accept("FROM-SITES", 20, "UNIFIED", ["local-preference 0"], ["community LAST-RESORT"]),
        *bgp.accept("FROM-SITES", 30, "UNIFIED"),
        *(bgp.clause("TO-SITES", "permit", 10, "SERVICE-HOSTS", late, ["as-path OWN"]) if standby else []),
        *bgp.clause("TO-SITES", "permit", 20, "UNIFIED"),
    ]


def _with_peer(estate: Estate, asn: int, peer: Neighbour, standby: bool) -> list[str]:
    inward, outward = f"FROM-{peer.place}", f"TO-{peer.place}"
    worst = [_prepend(asn, LAST_RESORT_PREPENDS)]
    late = [_prepend(asn, STANDBY_PREPENDS)] if standby else []
    segments = bgp.clause(outward, "permit", 30, "LANS") if called_by_us(estate, peer.place) else []
    return [
        f"! {inward}, {outward}: with {estate.peer(peer.place).title.en}",
        *bgp.clause(inward, "deny", 10, "BOGONS"),
        *bgp.accept(inward, 20, f"PEER-{peer.place}"),
        *bgp.clause(outward, "permit", 10, "SERVICES", worst, ["as-path OWN", "community LAST-RESORT"]),
        *bgp.clause(outward, "permit", 20, "SERVICES", late, ["as-path OWN"]),
        *segments,
    ]


def called_by_us(estate: Estate, peer: str) -> bool:
    """Return whether our hosts open connections to servers of that peer. Then it needs routes to our segments."""
    return bool(estate.hosts_at(peer, HostRole.PEER_SERVER))


def _prepend(asn: int, times: int) -> str:
    return "as-path prepend" + f" {asn}" * times


def _router(
    plan: AddressPlan, host: Host, asn: int, near: tuple[Neighbour, ...], sites: set[str], passwords: Mapping[str, str]
) -> list[str]:
    own, segment = plan.hosts[host.name].loopback, plan.segments[host.at]
    assert own is not None, f"{host.name} is a router"
    found = [*bgp.instance(asn, own.ipv4), *(line for n in near for line in bgp.session(n, passwords)), " !"]
    networks = {4: (segment.ipv4, f"{own.ipv4}/32"), 6: (segment.ipv6, f"{own.ipv6}/128")}
    for family in (4, 6):
        found.append(f" address-family ipv{family} unicast")
        found += [f"  network {prefix}" for prefix in networks[family]]
        found.append("  redistribute kernel route-map ANNOUNCED")
        for neighbour in near:
            address = dict(neighbour.addresses)[family]
            found += _activated(address, neighbour.place, ours=neighbour.place in sites)
        found += ["  maximum-paths 8", " exit-address-family", " !"]
    return [*found, "exit", "!"]


def _activated(address: object, place: str, *, ours: bool) -> list[str]:
    limit = str(SITE_PREFIXES) if ours else f"{PEER_PREFIXES} restart {PEER_RESTART_MIN}"
    name = "SITES" if ours else place
    return [
        f"  neighbor {address} activate",
        f"  neighbor {address} soft-reconfiguration inbound",
        f"  neighbor {address} maximum-prefix {limit}",
        f"  neighbor {address} route-map FROM-{name} in",
        f"  neighbor {address} route-map TO-{name} out",
    ]


def _guard(host: Host) -> tuple[File, ...]:
    """Return the files that roll back a change which cuts the router off."""
    unit = "govcloud-router-revert"
    service = header_comment("Return to the last confirmed frr.conf", host.name) + join_lines(
        "[Unit]",
        "Description=Restore the last confirmed router configuration",
        "ConditionPathExists=/var/lib/govcloud/router/previous.conf",
        "",
        "[Service]",
        "Type=oneshot",
        f"ExecStart={COMMIT_CONFIRM} revert",
    )
    timer = header_comment("Deadline of a router change", host.name) + join_lines(
        "# Counts from a change, and from a boot in the middle of one.",
        "[Unit]",
        "Description=Deadline for confirming a router change",
        "",
        "[Timer]",
        f"OnActiveSec={CONFIRM_WITHIN_S}s",
        "AccuracySec=1s",
        "",
        "[Install]",
        "WantedBy=timers.target",
    )
    return (
        File(path=COMMIT_CONFIRM, text=host_programs.source("commit_confirm"), mode="0755"),
        File(path=f"/etc/systemd/system/{unit}.service", text=service),
        File(path=f"/etc/systemd/system/{unit}.timer", text=timer),
    )
