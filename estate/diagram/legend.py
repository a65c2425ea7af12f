"""Heading and legend: all icons, lines and marks of the picture, the promises and the figures."""

from __future__ import annotations

from estate.addressing import AddressPlan
from estate.diagram.icons import icon
from estate.diagram.layout import MARGIN, PALETTE, PANEL_HEIGHT, TRUNK, Layout
from estate.diagram.markers import marker_panel
from estate.diagram.svg import CARD, FAINT, INK, SOFT, Border, Font, box, dot, group, line, text
from estate.model import Estate, HostRole, Service
from estate.tables import ROLE_LABELS

NAVY = "#22384f"
COUNTED = {1: ("一", "one"), 2: ("两", "two"), 3: ("三", "three"), 4: ("四", "four"), 5: ("五", "five")}
ROW = 26.0
TOP = 66.0
INSET = 24.0


def heading(estate: Estate, layout: Layout) -> str:
    """Draw the estate's name, its motto and its figures."""
    say, sites, cities = layout.translator.line, len(estate.sites), len({site.city for site in estate.sites})
    large, small = layout.translator.pair(estate.title.zh, estate.title.en)
    figures = (
        (sites, say("中心", "sites")),
        (cities, say("城市", "cities")),
        (len(estate.hosts), say("主机", "machines")),
        (len(estate.links), say("线路", "links")),
        (len({link.path for link in estate.links}), say("路径", "paths")),
        (len(estate.clusters), say("集群", "clusters")),
        (len(estate.etcd_members), say("仲裁票", "votes")),
    )
    parts = [
        text(MARGIN, 72, large, size=44, font=Font.BOLD),
        text(MARGIN, 106, f"{small} · {_motto(layout, cities, sites)}".removeprefix(" · "), size=19, fill=SOFT),
        box(MARGIN, 20, 64, 6, fill=TRUNK, radius=3),
    ]
    for index, (figure, words) in enumerate(reversed(figures)):
        x = layout.width - MARGIN - index * 108
        parts.append(text(x, 76, str(figure), size=38, font=Font.BOLD, anchor="end", fill=NAVY))
        parts.append(text(x, 102, words, size=13, fill=SOFT, anchor="end", max_width=100))
    return "".join(parts)


def _motto(layout: Layout, cities: int, sites: int) -> str:
    """一网两地三中心, by this estate's own numbers."""
    (city_zh, city_en), (site_zh, site_en) = (COUNTED.get(n, (str(n), str(n))) for n in (cities, sites))
    english = f"one network, {city_en} cities, {site_en} sites"
    return layout.translator.pair(f"一网 · {city_zh}地 · {site_zh}中心", english)[0]


def legend(estate: Estate, computed: AddressPlan, layout: Layout) -> str:
    """Draw four panels: machines, links, marks, and services with their promises."""
    panels = (_kinds, _links, marker_panel, _services)
    titles = (("主机", "Machines"), ("线路", "Links"), ("标记", "Marks"), ("服务与目标", "Services and objectives"))
    parts = []
    for (x, y, w), title, panel in zip(layout.panels, titles, panels, strict=True):
        parts.append(box(x, y, w, PANEL_HEIGHT, fill=CARD, border=Border(colour=FAINT), radius=14))
        parts.append(text(x + INSET, y + 36, layout.translator.line(*title, between="  "), size=16, font=Font.BOLD))
        parts.append(panel(estate, computed, layout, (x + INSET, y, w - INSET * 2)))
    drawn = layout.translator.line("由 estate/data 生成", "drawn from estate/data", between=" · ")
    footer = f"{drawn} · ./govcloud estate diagram"
    parts.append(text(layout.width - MARGIN, layout.height - 16, footer, size=11, fill=SOFT, anchor="end"))
    return group("legend", *parts)


Frame = tuple[float, float, float]
"""Left edge of a panel's content, the panel's top, and the available width."""


def _kinds(estate: Estate, computed: AddressPlan, layout: Layout, frame: Frame) -> str:
    x, y, w = frame
    parts = []
    for index, kind in enumerate(dict.fromkeys(sorted((host.kind for host in estate.hosts), key=list(HostRole).index))):
        top, (large, small) = y + 54 + index * 41, layout.translator.pair(*ROLE_LABELS[kind])
        peer = kind in (HostRole.PEER_ROUTER, HostRole.PEER_SERVER, HostRole.VANTAGE)
        parts.append(icon(kind, x, top, PALETTE[0] if peer else NAVY, 30))
        parts.append(text(x + 44, top + (14 if small else 20), large, size=14, font=Font.BOLD, max_width=w - 44))
        parts.append(text(x + 44, top + 30, small, size=12, fill=SOFT, max_width=w - 44))
    return "".join(parts)


def _links(estate: Estate, computed: AddressPlan, layout: Layout, frame: Frame) -> str:
    (x, y, w), say = frame, layout.translator.line
    rows = [(TRUNK, 4.0, say("中心之间", "between sites"))]
    rows += [(layout.colour(peer.name), 4.0, say(f"至{peer.title.zh}", f"to {peer.title.en}")) for peer in layout.peers]
    rows += [
        (SOFT, 4.0, say("中心内的网段", "a site's own segment")),
        (SOFT, 2.5, say("主机接入网段", "a machine on it")),
    ]
    parts = []
    for index, (colour, wide, words) in enumerate(rows):
        top = y + TOP + index * ROW
        parts.append(line(f"M{x:.1f} {top:.1f}h40", stroke=colour, wide=wide))
        parts.append(text(x + 54, top + 5, words, size=13, max_width=w - 54))
    top = y + TOP + len(rows) * ROW
    parts.append(dot(x + 20, top, 6, TRUNK))
    parts.append(text(x + 54, top + 5, say("路由器上的端口", "a port on a router"), size=13, max_width=w - 54))
    notes = (
        ("线路标签：名称、单向时延、路径、带宽。", "On a link: its name, delay one way, path, bandwidth."),
        (
            "线越粗，带宽越大。⚠ 路径与其他线路共用，同时中断。",
            "Thicker: more bandwidth. ⚠ Shares its path, fails with it.",
        ),
    )
    below = [each for note in notes for each in layout.translator.pair(*note) if each]
    for index, note in enumerate(below):
        parts.append(text(x, top + 32 + index * 17, note, size=11.5, fill=SOFT, max_width=w))
    return "".join(parts)


def _services(estate: Estate, computed: AddressPlan, layout: Layout, frame: Frame) -> str:
    (x, y, w), parts = frame, []
    for index, service in enumerate(estate.public_services[:2]):
        for row, (words, size, bold) in enumerate(_promise(service, computed, layout)):
            top = y + TOP + index * 104 + row * 23
            parts.append(text(x, top, words, size=size, fill=INK, font=Font.BOLD if bold else Font.PLAIN, max_width=w))
    names = {site.name: layout.translator.pair(site.title.zh, site.title.en)[0] for site in estate.sites}
    votes = " · ".join(
        f"{names[site.name]} {sum(h.at == site.name for h in estate.etcd_members)}" for site in estate.sites
    )
    notes = (
        _database(estate),
        ("每笔提交由两个中心确认。", "Every commit is acknowledged in two sites."),
        ("任一中心失效，仲裁票仍有多数：", "Whichever site is lost, a majority of votes remains:"),
    )
    lines = [each for note in notes for each in layout.translator.pair(*note) if each] + [votes]
    first = y + TOP + 104 * len(estate.public_services[:2])
    return "".join(parts) + "".join(
        text(x, first + index * 21, note, size=13, fill=SOFT, max_width=w) for index, note in enumerate(lines)
    )


def _database(estate: Estate) -> tuple[str, str]:
    """Return the sites that may have the primary, in zh and en."""
    titles = [[estate.site(name).title for name in names]
              for names in (estate.database.promotable, estate.database.acknowledging)]  # fmt: skip
    zh, en = ([" / ".join(getattr(t, lang) for t in group) for group in titles] for lang in ("zh", "en"))
    return f"{zh[0]}可升为主库，{zh[1]}仅确认提交。", f"Primary: {en[0]}; acknowledging only: {en[1]}."


def _promise(service: Service, computed: AddressPlan, layout: Layout) -> tuple[tuple[str, float, bool], ...]:
    """Return a service's name, addresses and promises as lines: text, size and whether it is bold."""
    goal, address, say = service.objectives, computed.anycast[service.name], layout.translator.line
    reads = say("查询中断", "read outage")
    return (
        (layout.translator.title(service.title), 16, True),
        (f"{say('任播地址', 'anycast')} {address.ipv4} · {address.ipv6}", 13.5, False),
        (
            f"RTO {goal.rto_s:g} s · RPO {goal.rpo_records} · {reads} ≤ {goal.read_outage_s:g} s",
            13.5,
            False,
        ),
        (f"{say('可用率', 'availability')} {goal.availability:.2%} · p99 {goal.latency_p99_ms:g} ms", 13.5, False),
    )
