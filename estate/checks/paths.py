"""Rules about links and their paths (ducts): the loss of one path must not separate sites."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations

from estate.checks.key_paths import key_at, key_of
from estate.model import Estate, Link
from estate.problems import Problem, Problems


def no_path_separates_cities(estate: Estate) -> Problems:
    """Require that sites of one city keep a direct link after the loss of any single path."""
    for one, other in combinations(estate.sites, 2):
        if one.city != other.city:
            continue
        direct = [link for link in estate.links if places(estate, link) == {one.name, other.name}]
        paths = {link.path for link in direct}
        if not direct:
            message = f"has no direct link to {other.name}; add two, on different paths"
            yield Problem(key=key_of(estate, "sites", one.name), value=one.name, message=message)
        elif len(paths) == 1:
            names = ", ".join(link.name for link in direct)
            message = (
                f"carries every direct link between {one.name} and {other.name} ({names}): "
                "one cut would separate them; move one of the links to another path"
            )
            yield Problem(key=key_of(estate, "links", direct[-1].name, "path"), value=direct[-1].path, message=message)


def no_path_splits_the_sites(estate: Estate) -> Problems:
    """Require that our own links connect all sites after the loss of any single path."""
    ours = {site.name for site in estate.sites}
    own = [link for link in estate.links if (ends := places(estate, link)) <= ours and len(ends) == 2]
    apart = _unreached(estate, own)
    if apart:
        yield Problem(
            key="links",
            value=", ".join(sorted(apart)),
            message=f"no link between our sites connects these sites with {estate.sites[0].name}; add one",
        )
        return
    for path in sorted({link.path for link in own}):
        cut = _unreached(estate, [link for link in own if link.path != path])
        if cut:
            lost = next(link for link in own if link.path == path)
            message = (
                f"is the only way between {estate.sites[0].name} and {', '.join(sorted(cut))}; "
                "add a link in another path"
            )
            yield Problem(key=key_of(estate, "links", lost.name, "path"), value=path, message=message)


def uplinks_at_every_site(estate: Estate) -> Problems:
    """Require a link from each site to every peer, so that each site can serve alone."""
    for index, site in enumerate(estate.sites):
        for peer in estate.peers:
            if not any(places(estate, link) == {site.name, peer.name} for link in estate.links):
                message = f"has no uplink to {peer.name}; add a link between their routers"
                yield Problem(key=key_at("sites", index, site.name), value=site.name, message=message)


def uplinks_on_different_paths(estate: Estate) -> Problems:
    """Require that the uplinks to a peer use at least two paths."""
    for peer in estate.peers:
        uplinks = [link for link in estate.links if peer.name in places(estate, link)]
        if len(uplinks) > 1 and len({link.path for link in uplinks}) == 1:
            names = ", ".join(link.name for link in uplinks)
            message = f"carries every uplink to {peer.name} ({names}); move one of the links to another path"
            yield Problem(
                key=key_of(estate, "links", uplinks[-1].name, "path"), value=uplinks[-1].path, message=message
            )


def places(estate: Estate, link: Link) -> set[str]:
    """Return the sites and peers of the link's ends, without unknown ends. Another rule reports those."""
    return {host.at for host in estate.hosts if host.name in link.ends}


def _unreached(estate: Estate, links: Iterable[Link]) -> set[str]:
    """Return the sites that cannot be reached from the first one over `links`."""
    edges = [places(estate, link) for link in links]
    reached = {estate.sites[0].name}
    grown = True
    while grown:
        grown = False
        for edge in edges:
            if edge & reached and not edge <= reached:
                reached |= edge
                grown = True
    return {site.name for site in estate.sites} - reached
