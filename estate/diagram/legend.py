"""Heading and legend: what the marks mean, what is promised, how much there is."""

from __future__ import annotations

from estate.diagram.glyphs import WORDS, glyph
from estate.diagram.layout import MARGIN, TRUNK, Layout
from estate.diagram.shapes import CARD, FAINT, INK, SOFT, box, line, text
from estate.model import Estate, Kind

NAVY = "#22384f"


def heading(estate: Estate, layout: Layout) -> str:
    """The estate's name in both languages, and its figures."""
    sites, cities = len(estate.sites), len({site.city for site in estate.sites})
    figures = (
        (str(sites), "中心 sites"),
        (str(cities), "城市 cities"),
        (str(len(estate.hosts)), "主机 machines"),
        (str(len(estate.links)), "线路 links"),
        (str(len({link.path for link in estate.links})), "光缆路由 paths"),
        (str(len(estate.etcd_members)), "仲裁票 votes"),
    )
    parts = [
        text(MARGIN, 72, estate.title.zh, size=44, bold=True),
        text(MARGIN, 106, f"{estate.title.en} · 一网 · 两地 · 三中心", size=19, fill=SOFT),
        box(MARGIN, 20, 64, 6, fill=TRUNK, radius=3),
    ]
    for index, (figure, words) in enumerate(reversed(figures)):
        x = layout.width - MARGIN - index * 108
        parts.append(text(x, 76, figure, size=38, bold=True, anchor="end", fill=NAVY))
        parts.append(text(x, 102, words, size=13, fill=SOFT, anchor="end"))
    return "".join(parts)


def legend(estate: Estate, layout: Layout) -> str:
    """Three panels: machines, links, promises."""
    y, h = layout.legend_top + 10, 206.0
    third = (layout.width - MARGIN * 2 - 60) / 3
    lefts = [MARGIN + index * (third + 30) for index in range(3)]
    panels = "".join(box(x, y, third, h, fill=CARD, stroke=FAINT, radius=14) for x in lefts)
    footer = text(
        layout.width - MARGIN,
        layout.height - 14,
        "由 estate/data 生成 · drawn from estate/data by ./govcloud estate diagram",
        size=11,
        fill=SOFT,
        anchor="end",
    )
    return (
        panels
        + _kinds(lefts[0] + 24, y, third)
        + _links(lefts[1] + 24, y, layout)
        + _promises(estate, lefts[2] + 24, y, third)
        + footer
    )


def _title(x: float, y: float, zh: str, en: str) -> str:
    return text(x, y + 34, f"{zh}  {en}", size=16, bold=True)


def _kinds(x: float, y: float, w: float) -> str:
    parts = [_title(x, y, "主机", "Machines")]
    for index, kind in enumerate((Kind.EDGE, Kind.KUBE, Kind.DATA, Kind.OPS, Kind.VANTAGE, Kind.PEER_SERVER)):
        column, row = divmod(index, 3)
        left, top = x + column * (w / 2 - 10), y + 54 + row * 46
        zh, en = WORDS[kind]
        parts.append(glyph(kind, left, top, NAVY, 30))
        parts.append(text(left + 44, top + 14, zh, size=14, bold=True))
        parts.append(text(left + 44, top + 30, en, size=12, fill=SOFT))
    return "".join(parts)


def _links(x: float, y: float, layout: Layout) -> str:
    parts = [_title(x, y, "线路", "Links")]
    rows = [(TRUNK, "中心之间", "between sites")]
    rows += [(layout.colour(peer.name), f"至{peer.title.zh}", f"to {peer.title.en}") for peer in layout.peers[:3]]
    for index, (colour, zh, en) in enumerate(rows):
        top = y + 66 + index * 26
        parts.append(line(f"M{x:.1f} {top:.1f}h40", stroke=colour, wide=4))
        parts.append(text(x + 54, top + 5, f"{zh}  {en}", size=13, room=400))
    top = y + 178
    note = "Delays are one way; links that share a path fail together and are marked ⚠."
    parts.append(text(x, top, "毫秒为单程时延；共用一条光缆路由的线路同时中断，以 ⚠ 标出。", size=11.5, fill=SOFT))
    parts.append(text(x, top + 16, note, size=11, fill=SOFT))
    return "".join(parts)


def _promises(estate: Estate, x: float, y: float, w: float) -> str:
    parts = [_title(x, y, "承诺", "Objectives")]
    for index, service in enumerate(estate.services[:2]):
        goal, top = service.objectives, y + 66 + index * 62
        parts.append(text(x, top, f"{service.title.zh} {service.title.en}", size=14, bold=True))
        words = (
            f"RTO {goal.rto_s:g} s · RPO {goal.rpo_records} · 读中断 read outage {goal.read_outage_s:g} s · "
            f"{goal.availability:.2%} · p99 {goal.latency_p99_ms:g} ms"
        )
        parts.append(text(x, top + 22, words, size=12.5, fill=INK, room=w - 48))
    votes = ", ".join(f"{site.title.zh} {sum(h.at == site.name for h in estate.etcd_members)}" for site in estate.sites)
    promotable = " / ".join(estate.site(name).title.zh for name in estate.database.promotable)
    only = " / ".join(estate.site(name).title.zh for name in estate.database.acknowledging)
    notes = (
        f"每笔提交由两个中心确认；{promotable} 可提升，{only} 只确认。",
        "Every commit is acknowledged in two sites.",
        f"仲裁票 votes：{votes}；任一中心失效，其余仍占多数。",
        "Whichever site is lost, a majority remains.",
    )
    first = y + 66 + 62 * len(estate.services[:2])
    for index, note in enumerate(notes):
        parts.append(text(x, first + index * 20, note, size=13 if index % 2 == 0 else 12, fill=SOFT, room=w - 48))
    return "".join(parts)
