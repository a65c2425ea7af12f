"""Peers, cities, sites and their machines."""

from __future__ import annotations

from itertools import groupby

from estate.addressing import AddressPlan
from estate.diagram.badges import badges_of
from estate.diagram.icons import icon
from estate.diagram.layout import (
    CLUSTER_HEIGHT,
    COLUMN,
    EDGE_HEIGHT,
    MACHINE,
    MACHINES_IN_ROW,
    PEER_HEIGHT,
    PEER_TOP,
    SITE_TOP,
    TAG_HEIGHT,
    TAGS_TOP,
    Layout,
    machines,
)
from estate.diagram.svg import CARD, FAINT, INK, SOFT, Border, Font, box, group, line, pill, text
from estate.model import Estate, Host, HostRole, Peer, Site
from estate.tables import ROLE_LABELS

NAVY, GOLD, TEAL = "#22384f", "#b8862b", "#2f7f86"
CITY, REMOTE, ANYCAST, CLUSTER = "#ece7db", "#e6ebe9", "#fdf3dc", "#eef7f7"
ANNOUNCED, ANNOUNCED_LAST = ("任播", "anycast"), ("任播（兜底）", "anycast, last")
CLUSTER_WORDS = ("自成一体，不依赖其他中心", "stands alone, needs no other site")
CITY_WORDS = ("同城双活", "one city, active-active")
REMOTE_WORDS = ("异地灾备与仲裁", "remote backup and witness")
PEER_DASH, LAST_DASH = "2 5", "5 4"
ROLE_COLOURS = {HostRole.KUBE: TEAL, HostRole.DATA: NAVY, HostRole.OPS: "#7b6a3a", HostRole.EDGE: NAVY}


def peer_box(estate: Estate, computed: AddressPlan, layout: Layout, one: Peer) -> str:
    """Draw a peer's card: title and prefixes, its machines, and its router along the lower edge."""
    x, w, colour = layout.left_of_peer[one.name], layout.peer_width, layout.colour(one.name)
    y, router = PEER_TOP, estate.router_of(one.name)
    large, small = layout.translator.pair(one.title.zh, one.title.en)
    parts = [
        box(x, y, w, PEER_HEIGHT, border=Border(colour=colour, dash=PEER_DASH), shadow=True, radius=14),
        text(x + 22, y + 36, large, size=22, font=Font.BOLD, max_width=w * 0.53),
        text(x + 22, y + 58, small, size=13, fill=SOFT, max_width=w * 0.5),
        text(x + 22, y + 84, str(one.prefix4), size=12, fill=SOFT, font=Font.MONO),
        text(x + 22, y + 101, str(one.prefix6), size=12, fill=SOFT, font=Font.MONO),
        box(x, y + PEER_HEIGHT - 46, w, 46, fill=colour, radius=14),
        box(x, y + PEER_HEIGHT - 46, w, 20, fill=colour, radius=0),
        icon(router.kind, x + 18, y + PEER_HEIGHT - 36, CARD, 26),
        text(x + 54, y + PEER_HEIGHT - 17, router.name, size=15, fill=CARD, font=Font.BOLD),
        text(x + w - 20, y + PEER_HEIGHT - 17, f"AS {one.asn}", size=12, fill=CARD, anchor="end", font=Font.MONO),
    ]
    others = machines(estate, one.name)
    for index, host in enumerate(others):
        parts.append(_peer_machine(layout, computed, host, x + w - 178 * (len(others) - index) - 14, y + 18, colour))
    return group(one.name, *parts)


def _peer_machine(layout: Layout, computed: AddressPlan, host: Host, x: float, y: float, colour: str) -> str:
    return group(
        host.name,
        box(x, y, 170, 84, fill="#fafafa", border=Border(colour=FAINT), radius=10),
        icon(host.kind, x + 12, y + 12, colour, 28),
        text(x + 50, y + 25, host.name, size=14, font=Font.BOLD, max_width=112),
        text(x + 50, y + 42, layout.translator.line(*ROLE_LABELS[host.kind]), size=11, fill=SOFT, max_width=112),
        text(x + 12, y + 70, str(computed.lan(host.name).ipv4), size=12, fill=SOFT, font=Font.MONO),
    )


def city_boxes(layout: Layout) -> str:
    """Draw a frame around the sites of each city."""
    parts = []
    for city, members in groupby(layout.sites, key=lambda site: site.city):
        names = [site.name for site in members]
        x = layout.left_of_site[names[0]] - 26
        w = layout.left_of_site[names[-1]] + COLUMN + 26 - x
        near = len(names) > 1
        words = layout.translator.line(*(CITY_WORDS if near else REMOTE_WORDS), between="  ")
        parts.append(
            box(x, SITE_TOP - 24, w, layout.site_height + 66, fill=CITY if near else REMOTE, radius=22)
            + text(
                x + w / 2,
                SITE_TOP + layout.site_height + 28,
                f"{words} · {city}",
                size=16,
                fill=SOFT,
                anchor="middle",
                font=Font.BOLD,
            )
        )
    return "".join(parts)


def site_box(estate: Estate, computed: AddressPlan, layout: Layout, one: Site) -> str:
    """Draw a site's card: its edge router along the upper edge, its announcements, its segment and its machines."""
    x, y = layout.left_of_site[one.name], SITE_TOP
    segment = computed.segments[one.name]
    large, small = layout.translator.pair(one.title.zh, one.title.en)
    parts = [
        box(x, y, COLUMN, layout.site_height, shadow=True, radius=16),
        _edge(estate, computed, one, x, y),
        text(x + 24, y + EDGE_HEIGHT + 44, large, size=28, font=Font.BOLD, max_width=COLUMN * 0.45),
        text(x + 24, y + EDGE_HEIGHT + 68, small, size=15, fill=SOFT, max_width=COLUMN * 0.45),
        _announced(estate, computed, layout, one, x + COLUMN - 20, y + EDGE_HEIGHT + 16),
        line(f"M{x + 24:.1f} {y + 166:.1f}H{x + COLUMN - 24:.1f}", stroke=SOFT, wide=4),
        text(x + 26, y + 156, f"{segment.ipv4}  ·  {segment.ipv6}", size=11.5, fill=SOFT, font=Font.MONO),
    ]
    inside = machines(estate, one.name)
    for index, host in enumerate(inside):
        row, place = divmod(index, MACHINES_IN_ROW)
        left = x + 18 + place * (MACHINE + 10)
        top = y + 190 + row * (layout.machine_height + 14)
        if row == 0:
            parts.append(line(f"M{left + MACHINE / 2:.1f} {y + 166:.1f}V{top:.1f}", stroke=SOFT, wide=2.5))
        parts.append(_machine(estate, computed, layout, host, left, top))
    below = y + 190 + -(-len(inside) // MACHINES_IN_ROW) * (layout.machine_height + 14)
    parts.append(_cluster(estate, computed, layout, one, x + 18, below))
    return group(one.name, *parts)


def _edge(estate: Estate, computed: AddressPlan, one: Site, x: float, y: float) -> str:
    router = estate.router_of(one.name)
    loopback = computed.hosts[router.name].loopback
    return group(
        router.name,
        box(x, y, COLUMN, EDGE_HEIGHT, fill=NAVY, radius=16),
        box(x, y + 30, COLUMN, EDGE_HEIGHT - 30, fill=NAVY, radius=0),
        icon(HostRole.EDGE, x + 20, y + 14, CARD, 30),
        text(x + 62, y + 27, router.name, size=16, fill=CARD, font=Font.BOLD),
        text(x + 62, y + 45, f"lo {loopback.ipv4}" if loopback else "", size=11.5, fill="#b9c7d6", font=Font.MONO),
        text(x + COLUMN - 22, y + 36, f"AS {one.asn}", size=14, fill=CARD, anchor="end", font=Font.MONO),
    )


def _announced(estate: Estate, computed: AddressPlan, layout: Layout, one: Site, right: float, y: float) -> str:
    parts = []
    for service in estate.public_services:
        if one.name not in service.placement.sites:
            continue
        active = one.name in service.placement.active
        address = computed.anycast[service.name]
        addresses = f"{address.ipv4} · {address.ipv6}"
        border = Border(colour=GOLD, dash="" if active else LAST_DASH)
        w, x = 218.0, right - 218.0
        label = layout.translator.line(*(ANNOUNCED if active else ANNOUNCED_LAST))
        name = layout.translator.pair(service.title.zh, service.title.en)[0]
        parts.append(
            box(x, y, w, 54, fill=ANYCAST if active else CARD, border=border, radius=10)
            + text(x + 12, y + 21, f"{name} · {label}", size=12, font=Font.BOLD, fill="#7a5512", max_width=w - 22)
            + text(x + 12, y + 41, addresses, size=11, fill="#7a5512", font=Font.MONO, max_width=w - 22)
        )
        y += 60
    return "".join(parts)


def _machine(estate: Estate, computed: AddressPlan, layout: Layout, host: Host, x: float, y: float) -> str:
    colour = ROLE_COLOURS.get(host.kind, INK)
    large, small = layout.translator.pair(*ROLE_LABELS[host.kind])
    address = computed.lan(host.name)
    parts = [
        box(x, y, MACHINE, layout.machine_height, fill="#fbfbf9", border=Border(colour=FAINT), radius=10),
        box(x, y, MACHINE, 5, fill=colour, radius=2.5),
        icon(host.kind, x + 12, y + 16, colour, 28),
        text(x + 48, y + (28 if small else 35), large, size=14, font=Font.BOLD, max_width=MACHINE - 56),
        text(x + 48, y + 44, small, size=11, fill=SOFT, max_width=MACHINE - 56),
        text(x + 12, y + 68, host.name, size=13, font=Font.BOLD, max_width=MACHINE - 22),
        text(x + 12, y + 85, str(address.ipv4), size=11, fill=SOFT, font=Font.MONO, max_width=MACHINE - 22),
        text(x + 12, y + 100, str(address.ipv6), size=11, fill=SOFT, font=Font.MONO, max_width=MACHINE - 22),
    ]
    for index, (badge, label) in enumerate(badges_of(estate, host, layout.translator)):
        top = y + TAGS_TOP + index * TAG_HEIGHT
        parts.append(pill(x + 10, top, label, fill=badge.value.fill, ink=badge.value.ink, max_width=MACHINE - 20))
    return group(host.name, *parts)


def _cluster(estate: Estate, computed: AddressPlan, layout: Layout, one: Site, x: float, y: float) -> str:
    """Draw the site's Kubernetes below its machines; nothing without a cluster."""
    found = estate.cluster_at(one.name)
    if found is None:
        return ""
    prefixes, say, width = computed.clusters[one.name], layout.translator.line, COLUMN - 36
    nodes = ", ".join(host.name for host in estate.nodes_at(one.name))
    rows = (
        (say("Pod 网段", "pods"), f"{prefixes.pods.ipv4} · {prefixes.pods.ipv6}"),
        (say("服务网段", "Services"), f"{prefixes.cluster_ips.ipv4} · {prefixes.cluster_ips.ipv6}"),
    )
    parts = [
        box(x, y, width, CLUSTER_HEIGHT, fill=CLUSTER, border=Border(colour=TEAL), radius=10),
        icon(HostRole.KUBE, x + 12, y + 9, TEAL, 24),
        text(x + 46, y + 26, f"Kubernetes {found.version}", size=14, font=Font.BOLD),
        text(
            x + width - 12, y + 26, f"{say('节点', 'nodes')}: {nodes}", size=11, fill=SOFT, anchor="end", max_width=230
        ),
        text(x + 12, y + 46, say(*CLUSTER_WORDS, between="  "), size=11.5, fill=SOFT, max_width=width - 24),
    ]
    for index, (name, value) in enumerate(rows):
        parts.append(text(x + 12, y + 65 + index * 16, name, size=11, fill=SOFT))
        parts.append(
            text(x + 112, y + 65 + index * 16, value, size=11, fill=SOFT, font=Font.MONO, max_width=width - 124)
        )
    return group(f"{one.name} kubernetes", *parts)
