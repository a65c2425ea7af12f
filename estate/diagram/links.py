"""Links: uplinks as curves from peers to sites, trunks between neighbours, and lanes below for other links."""

from __future__ import annotations

from estate.diagram.layout import (
    COLUMN,
    EDGE_HEIGHT,
    GAP,
    LANE,
    PEER_HEIGHT,
    PEER_TOP,
    SITE_TOP,
    TRUNK,
    Layout,
    inter_site_links,
    uplinks,
)
from estate.diagram.svg import CARD, INK, SOFT, Border, Font, box, dot, group, line, text, width
from estate.model import Estate, Link

LABEL, LABEL_HEIGHT, LABEL_RISE = 138.0, 42.0, 92.0


def uplink_curves(estate: Estate, layout: Layout) -> str:
    """Draw uplinks as curves in the peer's colour, each with its label above the site."""
    every = [(site.name, link, peer) for site in layout.sites for link, peer in uplinks(estate, site.name)]
    curves, labels = [], []
    for number, (site, link, peer) in enumerate(every):
        of_peer = [n for n, (_, _, name) in enumerate(every) if name == peer]
        of_site = [n for n, (name, _, _) in enumerate(every) if name == site]
        x1 = layout.left_of_peer[peer] + layout.peer_width * (of_peer.index(number) + 1) / (len(of_peer) + 1)
        x2 = layout.left_of_site[site] + COLUMN * (of_site.index(number) + 0.5) / len(of_site)
        curves.append(_uplink(link, x1, x2, layout.colour(peer)))
        label_width = min(LABEL, COLUMN / len(of_site) - 12)
        labels.append(label(estate, link, x2, SITE_TOP - LABEL_RISE + 22, layout.colour(peer), label_width))
    return "".join(curves) + "".join(labels)


def _uplink(link: Link, x1: float, x2: float, colour: str) -> str:
    y1, top = PEER_TOP + PEER_HEIGHT, SITE_TOP - LABEL_RISE
    mid = (top - y1) * 0.5
    curve = f"M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 + mid:.1f} {x2:.1f} {top - mid:.1f} {x2:.1f} {top:.1f}V{SITE_TOP:.1f}"
    drawn = line(curve, stroke=colour, wide=thickness(link))
    return group(link.name, drawn, dot(x1, y1, 5.5, colour), dot(x2, SITE_TOP, 5.5, colour))


def trunk_curves(estate: Estate, layout: Layout) -> str:
    """Draw links between neighbouring sites in the gap, and other links in lanes below."""
    parts = []
    for left, right in zip(layout.sites, layout.sites[1:], strict=False):
        links = [k for k in inter_site_links(estate) if {estate.host(e).at for e in k.ends} == {left.name, right.name}]
        x = layout.left_of_site[left.name] + COLUMN
        for index, link in enumerate(links):
            place = index - (len(links) - 1) / 2
            y, bow = SITE_TOP + EDGE_HEIGHT / 2 + place * 30, place * 68
            bent = y + bow
            curve = f"M{x:.1f} {y:.1f}C{x + 40:.1f} {bent:.1f} {x + GAP - 40:.1f} {bent:.1f} {x + GAP:.1f} {y:.1f}"
            drawn = line(curve, stroke=TRUNK, wide=thickness(link) + 1)
            parts.append(group(link.name, drawn, dot(x, y, 6, TRUNK), dot(x + GAP, y, 6, TRUNK)))
            parts.append(label(estate, link, x + GAP / 2, y + bow * 0.75, TRUNK, LABEL))
    for index, link in enumerate(layout.lanes):
        parts.append(_lane(estate, layout, link, index))
    return "".join(parts)


def _lane(estate: Estate, layout: Layout, link: Link, index: int) -> str:
    one, other = sorted((estate.host(end).at for end in link.ends), key=layout.column)
    x1, x2 = layout.left_of_site[one], layout.left_of_site[other] + COLUMN
    out, y1 = 48 + index * 10, SITE_TOP + EDGE_HEIGHT / 2
    y2, turn = layout.lanes_top + index * LANE, 22
    a, b = x1 - out, x2 + out
    data = (
        f"M{x1:.1f} {y1:.1f}H{a + turn:.1f}Q{a:.1f} {y1:.1f} {a:.1f} {y1 + turn:.1f}V{y2 - turn:.1f}"
        f"Q{a:.1f} {y2:.1f} {a + turn:.1f} {y2:.1f}H{b - turn:.1f}Q{b:.1f} {y2:.1f} {b:.1f} {y2 - turn:.1f}"
        f"V{y1 + turn:.1f}Q{b:.1f} {y1:.1f} {b - turn:.1f} {y1:.1f}H{x2:.1f}"
    )
    drawn = line(data, stroke=TRUNK, wide=thickness(link) + 1)
    return group(link.name, drawn, dot(x1, y1, 6, TRUNK), dot(x2, y1, 6, TRUNK)) + label(
        estate, link, (x1 + x2) / 2, y2, TRUNK, 150
    )


def label(estate: Estate, link: Link, x: float, y: float, colour: str, w: float) -> str:
    """Draw the name and the delay, and the path below them. A path with several links is marked."""
    shared = sum(other.path == link.path for other in estate.links) > 1
    top, left = y - LABEL_HEIGHT / 2, x - w / 2
    bandwidth = _bandwidth(link.bandwidth_mbit)
    path = f"⚠ {link.path}" if shared else link.path
    return (
        box(left, top, w, LABEL_HEIGHT, fill=CARD, border=Border(colour=colour), radius=9)
        + text(left + 10, top + 17, link.name, size=12.5, font=Font.BOLD, fill=INK, max_width=w - 62)
        + text(left + w - 9, top + 17, f"{link.delay_ms:g} ms", size=12, font=Font.BOLD, fill=colour, anchor="end")
        + text(
            left + 10,
            top + 32,
            path,
            size=10.5,
            fill=TRUNK if shared else SOFT,
            max_width=w - 26 - width(bandwidth, 10),
        )
        + text(left + w - 9, top + 32, bandwidth, size=10, fill=SOFT, anchor="end")
    )


def thickness(link: Link) -> float:
    """Return the line width from 2 to 5, wider for more bandwidth."""
    return 2.0 + min(3.0, max(0.0, link.bandwidth_mbit / 1000))


def _bandwidth(mbit: float) -> str:
    return f"{mbit / 1000:g} Gbit/s" if mbit >= 1000 else f"{mbit:g} Mbit/s"
