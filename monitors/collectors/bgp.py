"""BGP and BFD sessions of our edge routers, and with them the links."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from estate.model import Estate, Host, HostRole, Link
from monitors.collector import Block, Collector, Column, Context, mark
from monitors.problem import Language, Problem, warning
from monitors.query import Queries, Replies, Reply, Target, command, mapping, objects, whole

SESSION_DOWN = warning("session_down", "BGP 会话未建立", "BGP session is not established")
# Without BFD, a drill would measure BGP's hold time and not the detection by BFD.
BFD_DOWN = warning("bfd_down", "BFD 未建立，线路中断时发现较慢", "BFD is not up: a cut is noticed late")


@dataclass(frozen=True, kw_only=True)
class BgpSession:
    """A BGP session of one of our edges over a link, in one address family."""

    router: str
    site: str
    link: str
    neighbour: str
    family: int
    """4 or 6."""
    established: bool
    state: str
    bfd_up: bool | None
    """None if BFD reported no such peer."""
    prefixes: int = 0
    """Received and accepted."""


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Every session that the estate declares for an edge that was asked."""

    sessions: tuple[BgpSession, ...]


def _queries(target: Target) -> Queries:
    """Return one query: starting `vtysh` costs 50 ms of processor time, however much it shows."""
    if target.host.kind is not HostRole.EDGE:
        return {}
    shows = ("bgp ipv4 unicast summary", "bgp ipv6 unicast summary", "bfd peers")
    return {"frr": command("vtysh", *(part for show in shows for part in ("-c", f"show {show} json")))}


def _parse(replies: Replies) -> Sessions:
    edges = replies.of(HostRole.EDGE)
    return Sessions(sessions=tuple(s for host, reply in edges for s in _sessions(replies, host, reply)))


def _sessions(replies: Replies, host: Host, reply: Reply) -> Iterator[BgpSession]:
    """Yield every session that the estate declares, whether the router reports it or not.

    The router prints an object of BGP peers for each family, and an array of BFD peers.
    """
    printed = reply.documents("frr")
    listed = (mapping(mapping(document).get("peers")) for document in printed)
    peers = {_address(name): mapping(peer) for each in listed for name, peer in each.items()}
    bfd = {_address(str(p.get("peer"))): p.get("status") for document in printed for p in objects(document)}
    for link in replies.estate.links_of(host.name):
        far = next(end for end in link.ends if end != host.name)
        interface = replies.plan.hosts[far].link(link.name)
        for family, address in ((4, interface.ipv4.ip), (6, interface.ipv6.ip)):
            peer = peers.get(str(address), {})
            state = str(peer.get("state") or ("not configured" if reply.reachable else "unreachable"))
            known = bfd.get(str(address))
            yield BgpSession(
                router=host.name,
                site=host.at,
                link=link.name,
                neighbour=far,
                family=family,
                established=state == "Established",
                state=state,
                bfd_up=None if known is None else known == "up",
                prefixes=whole(peer.get("pfxRcd")) or 0,
            )


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def _judge(context: Context, seen: Sessions) -> Iterator[Problem]:
    """Report a link between two of our edges once, from the first side. Skip links of an unreachable edge: the host
    itself is reported."""
    reported: set[tuple[str, int]] = set()
    for session in seen.sessions:
        if (session.link, session.family) in reported or {session.router, session.neighbour} & context.unreachable:
            continue
        where = f"{session.link} · {session.router} → {session.neighbour} · IPv{session.family}"
        if not session.established:
            yield SESSION_DOWN.at(where, session.state)
        elif session.bfd_up is False:
            yield BFD_DOWN.at(where)
        else:
            continue
        reported.add((session.link, session.family))


def _established(seen: Sessions, site: str, _: Language) -> str:
    own = [session.established for session in seen.sessions if session.site == site]
    return f"{sum(own)}/{len(own)}"


def _bfd(seen: Sessions, site: str, _: Language) -> str:
    own = [session.bfd_up is True for session in seen.sessions if session.site == site]
    return f"{sum(own)}/{len(own)}"


def _links(estate: Estate, seen: Sessions, _: Language) -> list[list[str]]:
    """Return two links per row, so that the estate of a city fits on a screen."""
    cells = [_link(seen, link) for link in estate.links]
    half = (len(cells) + 1) // 2
    empty = [""] * 4
    return [[*cells[i], *(cells[i + half] if i + half < len(cells) else empty)] for i in range(half)]


def _link(seen: Sessions, link: Link) -> list[str]:
    up = [session.established for session in seen.sessions if session.link == link.name]
    return [mark(sum(up), len(up)), link.name, f"{sum(up)}/{len(up)}", f"{link.delay_ms:g} ms  {link.path}"]


COLLECTOR = Collector[Sessions](
    rank=7,
    queries=_queries,
    parse=_parse,
    judge=_judge,
    columns=(Column(zh="BGP", en="BGP", cell=_established), Column(zh="BFD", en="BFD", cell=_bfd)),
    block=Block(zh="线路", en="Links", rows=_links),
)
