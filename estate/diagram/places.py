"""Peers, cities, sites and their machines."""

from __future__ import annotations

from itertools import groupby

from estate.addressing import AddressPlan
from estate.diagram.glyphs import WORDS, glyph
from estate.diagram.layout import (
    COLUMN,
    EDGE_HEIGHT,
    MACHINE,
    MACHINE_HEIGHT,
    MACHINES_IN_ROW,
    PEER_HEIGHT,
    PEER_TOP,
    SITE_TOP,
    Layout,
    machines,
)
from estate.diagram.shapes import CARD, FAINT, INK, SOFT, box, group, line, tag, text
from estate.model import Estate, Host, Kind, Peer, Site

NAVY, GOLD, TEAL, ROSE = "#22384f", "#b8862b", "#2f7f86", "#a8435a"
KIND_COLOURS = {Kind.KUBE: TEAL, Kind.DATA: NAVY, Kind.OPS: "#7b6a3a", Kind.EDGE: NAVY}


def peer(estate: Estate, computed: AddressPlan, layout: Layout, one: Peer) -> str:
    """A peer's card: title and prefixes, its machines, and its router along the lower edge."""
    x, w, colour = layout.left_of_peer[one.name], layout.peer_width, layout.colour(one.name)
    y, router = PEER_TOP, estate.router_of(one.name)
    parts = [
        box(x, y, w, PEER_HEIGHT, stroke=colour, shadow=True, radius=14, dash="2 5"),
        text(x + 22, y + 36, one.title.zh, size=22, bold=True, room=w * 0.46),
        text(x + 22, y + 58, one.title.en, size=13, fill=SOFT, room=w * 0.5),
        text(x + 22, y + 84, str(one.prefix4), size=12, fill=SOFT, mono=True),
        text(x + 22, y + 101, str(one.prefix6), size=12, fill=SOFT, mono=True),
        box(x, y + PEER_HEIGHT - 46, w, 46, fill=colour, radius=14),
        box(x, y + PEER_HEIGHT - 46, w, 20, fill=colour, radius=0),
        glyph(router.kind, x + 18, y + PEER_HEIGHT - 36, CARD, 26),
        text(x + 54, y + PEER_HEIGHT - 17, router.name, size=15, fill=CARD, bold=True),
        text(x + w - 20, y + PEER_HEIGHT - 17, f"AS {one.asn}", size=12, fill=CARD, anchor="end", mono=True),
    ]
    others = machines(estate, one.name)
    for index, host in enumerate(others):
        parts.append(_peer_machine(x + w - 178 * (len(others) - index) - 14, y + 18, host, colour, computed))
    return group(one.name, *parts)


def _peer_machine(x: float, y: float, host: Host, colour: str, computed: AddressPlan) -> str:
    zh, en = WORDS[host.kind]
    return group(
        host.name,
        box(x, y, 170, 84, fill="#fafafa", stroke=FAINT, radius=10),
        glyph(host.kind, x + 12, y + 12, colour, 28),
        text(x + 50, y + 25, host.name, size=14, bold=True, room=112),
        text(x + 50, y + 42, f"{zh} {en}", size=11, fill=SOFT, room=112),
        text(x + 12, y + 70, str(computed.lan(host.name).ipv4), size=12, fill=SOFT, mono=True),
    )


def cities(layout: Layout) -> str:
    """A frame around the sites of each city."""
    parts = []
    for city, members in groupby(layout.sites, key=lambda site: site.city):
        names = [site.name for site in members]
        x = layout.left_of_site[names[0]] - 26
        w = layout.left_of_site[names[-1]] + COLUMN + 26 - x
        near = len(names) > 1
        words = "同城双活  one city, active-active" if near else "异地灾备与仲裁  remote backup and witness"
        parts.append(
            box(x, SITE_TOP - 24, w, layout.site_height + 66, fill="#ece7db" if near else "#e6ebe9", radius=22)
            + text(
                x + w / 2,
                SITE_TOP + layout.site_height + 28,
                f"{words} · {city}",
                size=16,
                fill=SOFT,
                anchor="middle",
                bold=True,
            )
        )
    return "".join(parts)


def site(estate: Estate, computed: AddressPlan, layout: Layout, one: Site) -> str:
    """A site's card: its edge router along the upper edge, what it announces, its segment and the machines on it."""
    x, y = layout.left_of_site[one.name], SITE_TOP
    segment = computed.segments[one.name]
    parts = [
        box(x, y, COLUMN, layout.site_height, shadow=True, radius=16),
        _edge(estate, computed, one, x, y),
        text(x + 24, y + EDGE_HEIGHT + 44, one.title.zh, size=28, bold=True, room=COLUMN * 0.5),
        text(x + 24, y + EDGE_HEIGHT + 68, one.title.en, size=15, fill=SOFT),
        _announced(estate, computed, one, x + COLUMN - 20, y + EDGE_HEIGHT + 16),
        line(f"M{x + 24:.1f} {y + 166:.1f}H{x + COLUMN - 24:.1f}", stroke=SOFT, wide=4),
        text(x + 26, y + 156, f"{segment.ipv4}  ·  {segment.ipv6}", size=11.5, fill=SOFT, mono=True),
    ]
    for index, host in enumerate(machines(estate, one.name)):
        row, place = divmod(index, MACHINES_IN_ROW)
        left = x + 18 + place * (MACHINE + 10)
        top = y + 190 + row * (MACHINE_HEIGHT + 14)
        if row == 0:
            parts.append(line(f"M{left + MACHINE / 2:.1f} {y + 166:.1f}V{top:.1f}", stroke=SOFT, wide=2.5))
        parts.append(_machine(estate, computed, host, left, top))
    return group(one.name, *parts)


def _edge(estate: Estate, computed: AddressPlan, one: Site, x: float, y: float) -> str:
    router = estate.router_of(one.name)
    loopback = computed.hosts[router.name].loopback
    return group(
        router.name,
        box(x, y, COLUMN, EDGE_HEIGHT, fill=NAVY, radius=16),
        box(x, y + 30, COLUMN, EDGE_HEIGHT - 30, fill=NAVY, radius=0),
        glyph(Kind.EDGE, x + 20, y + 14, CARD, 30),
        text(x + 62, y + 27, router.name, size=16, fill=CARD, bold=True),
        text(x + 62, y + 45, f"lo {loopback.ipv4}" if loopback else "", size=11.5, fill="#b9c7d6", mono=True),
        text(x + COLUMN - 22, y + 36, f"AS {one.asn}", size=14, fill=CARD, anchor="end", mono=True),
    )


def _announced(estate: Estate, computed: AddressPlan, one: Site, right: float, y: float) -> str:
    parts = []
    for service in estate.services:
        active = one.name in service.placement.active
        if not active and one.name not in service.placement.ready:
            continue
        address = computed.anycast[service.name]
        w, x = 218.0, right - 218.0
        label = "任播 anycast" if active else "任播，末位 anycast, last"
        parts.append(
            box(x, y, w, 54, fill="#fdf3dc" if active else CARD, stroke=GOLD, radius=10, dash="" if active else "5 4")
            + text(x + 12, y + 21, f"{service.title.zh} · {label}", size=12, bold=True, fill="#7a5512", room=w - 22)
            + text(x + 12, y + 41, f"{address.ipv4} · {address.ipv6}", size=11, fill="#7a5512", mono=True, room=w - 22)
        )
        y += 60
    return "".join(parts)


def _machine(estate: Estate, computed: AddressPlan, host: Host, x: float, y: float) -> str:
    colour = KIND_COLOURS.get(host.kind, INK)
    zh, en = WORDS[host.kind]
    address = computed.lan(host.name)
    parts = [
        box(x, y, MACHINE, MACHINE_HEIGHT, fill="#fbfbf9", stroke=FAINT, radius=10),
        box(x, y, MACHINE, 5, fill=colour, radius=2.5),
        glyph(host.kind, x + 12, y + 16, colour, 28),
        text(x + 48, y + 28, zh, size=14, bold=True),
        text(x + 48, y + 44, en, size=11, fill=SOFT, room=MACHINE - 56),
        text(x + 12, y + 68, host.name, size=13, bold=True, room=MACHINE - 22),
        text(x + 12, y + 85, str(address.ipv4), size=11, fill=SOFT, mono=True, room=MACHINE - 22),
        text(x + 12, y + 100, str(address.ipv6), size=11, fill=SOFT, mono=True, room=MACHINE - 22),
    ]
    for index, (label, fill, ink) in enumerate(_tags(estate, host)):
        parts.append(tag(x + 10, y + 110 + index * 24, label, fill=fill, ink=ink, room=MACHINE - 20))
    return group(host.name, *parts)


def _tags(estate: Estate, host: Host) -> list[tuple[str, str, str]]:
    tags = []
    if host.kind is Kind.KUBE:
        placed = (s for s in estate.services if host.at in (*s.placement.active, *s.placement.ready))
        tags += [(f"{service.title.zh} {service.name}", "#d9eeee", "#14565c") for service in placed]
    nodes = estate.nodes_at(host.at)
    if (cluster := estate.cluster_at(host.at)) and host in nodes:
        tags.append((f"Kubernetes {cluster.version}", "#dfeae4", "#1d5138"))
        if host == nodes[0]:
            tags.append(("镜像仓库 registry", "#dfeae4", "#1d5138"))
    if host.database:
        tags.append(("PostgreSQL", "#dde6f0", NAVY))
        if host.at in estate.database.promotable:
            tags.append(("可提升 promotable", "#dde6f0", NAVY))
        else:
            tags.append(("只确认 acknowledges", CARD, NAVY))
    if host.etcd_votes:
        tags.append(("etcd 一票 one vote", "#f5dfe4", ROSE))
    if host.kind is Kind.OPS:
        tags.append(("监控 monitors", "#efe9d5", "#5d4f24"))
    return tags
