"""Layout of the sheet. Sites are columns in one row, grouped by city. Peers are above them."""

from __future__ import annotations

from dataclasses import dataclass

from estate.diagram.badges import badges_of
from estate.diagram.i18n import Translator
from estate.model import Estate, Host, Link, Peer, Site

MARGIN, COLUMN, GAP = 90.0, 470.0, 156.0
PEER_TOP, PEER_HEIGHT = 150.0, 168.0
SITE_TOP, EDGE_HEIGHT = 620.0, 60.0
MACHINE, MACHINES_IN_ROW = 138.0, 3
CLUSTER_HEIGHT = 92.0
TAGS_TOP, TAG_HEIGHT = 110.0, 24.0
PANEL_HEIGHT, PANEL_GAP, WIDE = 380.0, 30.0, 1600.0
LANE = 34.0

PALETTE = ("#2563a8", "#2e7d5b", "#7a4fa3", "#a3612a", "#3a7f8c", "#8c3a5e")
"""One colour per peer, in declared order."""
TRUNK = "#b3342d"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Columns by site, left edges by peer, and the size of the sheet."""

    sites: tuple[Site, ...]
    peers: tuple[Peer, ...]
    left_of_site: dict[str, float]
    left_of_peer: dict[str, float]
    peer_width: float
    machine_height: float
    translator: Translator
    site_height: float
    lanes: tuple[Link, ...]
    """Links between columns that are not neighbours. They are drawn below the sites."""
    width: float
    height: float

    @property
    def lanes_top(self) -> float:
        """Vertical position of the first lane below the sites."""
        return SITE_TOP + self.site_height + 62

    @property
    def legend_top(self) -> float:
        """Vertical position of the legend."""
        return self.lanes_top + LANE * len(self.lanes) + 14

    @property
    def panels(self) -> tuple[tuple[float, float, float], ...]:
        """Left, top and width of the legend's four panels: one row on a wide sheet, otherwise two rows."""
        available, top = self.width - MARGIN * 2, self.legend_top + 10
        if self.width < WIDE:
            half = (available - PANEL_GAP) / 2
            lefts = (MARGIN, MARGIN + half + PANEL_GAP)
            return tuple((x, top + row * (PANEL_HEIGHT + PANEL_GAP), half) for row in range(2) for x in lefts)
        found, x = [], MARGIN
        for share in (0.15, 0.25, 0.32, 0.28):
            wide = (available - PANEL_GAP * 3) * share
            found.append((x, top, wide))
            x += wide + PANEL_GAP
        return tuple(found)

    def colour(self, peer: str) -> str:
        """Return the peer's colour."""
        return PALETTE[[p.name for p in self.peers].index(peer) % len(PALETTE)]

    def column(self, site: str) -> int:
        """Return the site's position from the left."""
        return [s.name for s in self.sites].index(site)


def arrange(estate: Estate, translator: Translator) -> Layout:
    """Return the layout of an estate. It looks best with three sites and three peers."""
    cities = list(dict.fromkeys(site.city for site in estate.sites))
    sites = tuple(sorted(estate.sites, key=lambda site: cities.index(site.city)))
    width = MARGIN * 2 + COLUMN * len(sites) + GAP * (len(sites) - 1)
    width = max(width, MARGIN * 2 + COLUMN * 2 + GAP)
    across = width - MARGIN * 2 + GAP
    share = across / max(1, len(estate.peers))
    peer_width = min(COLUMN, share - 30)
    first = MARGIN - GAP / 2 + (share - peer_width) / 2
    rows = max(-(-len(machines(estate, site.name)) // MACHINES_IN_ROW) for site in sites)
    order = [site.name for site in sites]
    lanes = tuple(link for link in inter_site_links(estate) if _distance(estate, link, order) > 1)
    tags = max(len(badges_of(estate, host, translator)) for host in estate.hosts)
    machine_height = TAGS_TOP + TAG_HEIGHT * max(tags, 3) + 6
    site_height = 204 + rows * (machine_height + 14) + (CLUSTER_HEIGHT + 14 if estate.clusters else 0)
    below = SITE_TOP + site_height + 62 + LANE * len(lanes) + 14
    return Layout(
        sites=sites,
        peers=estate.peers,
        left_of_site={site.name: MARGIN + index * (COLUMN + GAP) for index, site in enumerate(sites)},
        left_of_peer={peer.name: first + share * index for index, peer in enumerate(estate.peers)},
        peer_width=peer_width,
        machine_height=machine_height,
        translator=translator,
        site_height=site_height,
        lanes=lanes,
        width=width,
        height=below + 10 + (1 if width >= WIDE else 2) * (PANEL_HEIGHT + PANEL_GAP) + 24,
    )


def machines(estate: Estate, place: str) -> tuple[Host, ...]:
    """Return the hosts of the place that are not its gateway."""
    gateway = estate.router_of(place).name
    return tuple(host for host in estate.hosts_at(place) if host.name != gateway)


def inter_site_links(estate: Estate) -> list[Link]:
    """Return the links between two of our sites."""
    own = {site.name for site in estate.sites}
    return [link for link in estate.links if all(estate.host(end).at in own for end in link.ends)]


def uplinks(estate: Estate, site: str) -> list[tuple[Link, str]]:
    """Return the links from the site to peers with the peer's name, in the order of peers."""
    peers = [peer.name for peer in estate.peers]
    found = []
    for link in estate.links:
        ends = [estate.host(end).at for end in link.ends]
        if site in ends and (others := [end for end in ends if end in peers]):
            found.append((link, others[0]))
    return sorted(found, key=lambda item: peers.index(item[1]))


def _distance(estate: Estate, link: Link, order: list[str]) -> int:
    one, other = (order.index(estate.host(end).at) for end in link.ends)
    return abs(one - other)
