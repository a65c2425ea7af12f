"""Announcements: which site announces which service's address, read from the routes that the announcer adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from estate.model import Host, HostRole
from monitors.collector import Collector, Column, Context
from monitors.problem import Language, Problem, critical, warning
from monitors.query import Queries, Replies, Reply, Target, command, objects, whole

ROUTE_PROTOCOL = "99"
"""Protocol number with which the announcer marks its kernel routes."""
ANNOUNCED_METRIC = 100
"""The announcer's routes have at most this metric while the site is healthy. A greater one is the last resort."""

ANNOUNCED_NOWHERE = critical("announced_nowhere", "没有中心宣告其地址", "no site announces its address")
NOT_ANNOUNCED = warning("not_announced", "未宣告服务地址", "does not announce the service's address")
LAST_RESORT = warning("last_resort", "仅作兜底宣告", "announces only as a last resort")


class Announcement(StrEnum):
    """How a site announces a service's address."""

    ANNOUNCED = "announced"
    LAST_RESORT = "last-resort"
    """Unhealthy, and announced with a worse metric than every other site, so that the last site never withdraws."""
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


WORDS = {
    Announcement.ANNOUNCED: {"zh": "是", "en": "yes"},
    Announcement.LAST_RESORT: {"zh": "兜底", "en": "last resort"},
    Announcement.WITHDRAWN: {"zh": "否", "en": "no"},
    Announcement.UNKNOWN: {"zh": "?", "en": "?"},
}


@dataclass(frozen=True, kw_only=True)
class Announced:
    """How a site announces a service's address of one family."""

    site: str
    service: str
    family: int
    state: Announcement


@dataclass(frozen=True, kw_only=True)
class Announcements:
    """Every site's announcements of the services that are placed there."""

    announced: tuple[Announced, ...]

    def site_announces(self, site: str) -> bool:
        """Return whether the site announces the addresses of all its services in both families."""
        found = [one for one in self.announced if one.site == site]
        return bool(found) and all(one.state is Announcement.ANNOUNCED for one in found)


class AnnouncedServices(Protocol):
    """The announcements, and the services of sites that must not announce them."""

    @property
    def announced(self) -> tuple[Announced, ...]:
        """See `Announcements`."""

    @property
    def not_ready(self) -> frozenset[tuple[str, str]]:
        """Each service that is not ready at a site, as (service, site)."""


def _queries(target: Target) -> Queries:
    if target.host.kind is not HostRole.EDGE:
        return {}
    return {
        f"routes{family}": command("ip", f"-{family}", "-j", "route", "show", "proto", ROUTE_PROTOCOL)
        for family in (4, 6)
    }


def _parse(replies: Replies) -> Announcements:
    edges = replies.of(HostRole.EDGE)
    return Announcements(announced=tuple(a for host, reply in edges for a in _announced(replies, host, reply)))


def _announced(replies: Replies, host: Host, reply: Reply) -> Iterator[Announced]:
    listed = [answer for name in ("routes4", "routes6") if (answer := reply.document(name)) is not None]
    routes = {
        str(route.get("dst", "")).split("/")[0]: whole(route.get("metric", 0))
        for answer in listed
        for route in objects(answer)
    }
    for service in replies.estate.public_services:
        if host.at not in service.placement.sites:
            continue
        addresses = replies.plan.anycast[service.name]
        for family, address in ((4, str(addresses.ipv4)), (6, str(addresses.ipv6))):
            metric = routes.get(address)
            if metric is None:
                state = Announcement.WITHDRAWN if listed else Announcement.UNKNOWN
            else:
                state = Announcement.ANNOUNCED if metric <= ANNOUNCED_METRIC else Announcement.LAST_RESORT
            yield Announced(site=host.at, service=service.name, family=family, state=state)


def _judge(context: Context, seen: AnnouncedServices) -> Iterator[Problem]:
    """Report a ready site that does not announce. A site that is not ready must not announce.

    Also report an edge that was reached but did not list its routes: its announcements are unknown.
    """
    for service in context.estate.public_services:
        known = [a for a in seen.announced if a.service == service.name]
        for family in (4, 6):
            states = {a.site: a.state for a in known if a.family == family}
            if states and Announcement.ANNOUNCED not in states.values():
                yield ANNOUNCED_NOWHERE.at(f"{service.name} · IPv{family}")
        for one in known:
            where = f"{service.name} · {one.site} · IPv{one.family}"
            if one.state is Announcement.WITHDRAWN and (one.service, one.site) not in seen.not_ready:
                yield NOT_ANNOUNCED.at(where)
            if one.state is Announcement.UNKNOWN and _edge_reached(context, one.site):
                yield NOT_ANNOUNCED.at(where, "its edge did not list its routes")
            if one.state is Announcement.LAST_RESORT:
                yield LAST_RESORT.at(where)


def _edge_reached(context: Context, site: str) -> bool:
    return any(edge.name in context.reached for edge in context.estate.hosts_at(site, HostRole.EDGE))


def _cell(seen: AnnouncedServices, site: str, lang: Language) -> str:
    return " / ".join(WORDS[one.state][lang] for one in seen.announced if one.site == site)


COLLECTOR = Collector[AnnouncedServices](
    rank=4,
    queries=_queries,
    parse=_parse,
    judge=_judge,
    columns=(Column(zh="宣告 v4/v6", en="announced v4/v6", cell=_cell),),
)
