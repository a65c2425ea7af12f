"""The monitors' snapshot in failover's words. A pure translation; the looking itself is `monitors.observe`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from estate.model import Estate, Site
from failover import protocols
from failover.protocols import Member, SiteView
from monitors import health, observe
from monitors.observe import model as seen
from workstation.ssh import Access

OBSERVE_TIMEOUT_S = 8.0
"""A dark site's hosts never answer: a look must not wait for them longer than this."""


@dataclass(frozen=True)
class MonitorObserver:
    """The eyes of drills and verbs, on the whole estate."""

    estate: Estate
    access: Access

    def snapshot(self) -> protocols.Observed:
        """Look once, at everything in parallel."""
        return translate(self.estate, observe.snapshot(self.estate, self.access, timeout_s=OBSERVE_TIMEOUT_S))

    @contextmanager
    def watch(self) -> Iterator[MonitorWatch]:
        """Look all the time."""
        with observe.Watch(self.estate, self.access) as watch:
            yield MonitorWatch(self.estate, watch)


@dataclass(frozen=True)
class MonitorWatch:
    """Eyes that are open."""

    estate: Estate
    eyes: observe.Watch

    def latest(self) -> protocols.Observed:
        """What was seen last."""
        return translate(self.estate, self.eyes.snapshot())


def translate(estate: Estate, look: seen.Observation) -> protocols.Observed:
    """The same facts, in the shape that drills and plans decide on."""
    return protocols.Observed(
        members=tuple(_member(member) for member in look.members),
        sites=tuple(_site(site, look) for site in estate.sites),
        problems=tuple(str(problem) for problem in health.problems(estate, look)),
    )


def _member(member: seen.DatabaseMember) -> Member:
    same = {seen.Role.PRIMARY: protocols.Role.PRIMARY, seen.Role.STANDBY: protocols.Role.STANDBY}
    role = same.get(member.role, protocols.Role.UNKNOWN)
    if role is protocols.Role.STANDBY and member.sync:
        role = protocols.Role.SYNC_STANDBY
    return Member(
        host=member.host,
        site=member.site,
        role=role,
        running=member.running,
        timeline=member.timeline,
        lag_bytes=member.lag_bytes,
        position=member.position,
    )


def _site(site: Site, look: seen.Observation) -> SiteView:
    own = [answer for answer in look.sites if answer.place == site.name]
    sessions = [session for session in look.sessions if session.site == site.name]
    votes = [vote for vote in look.votes if vote.site == site.name]
    announced = [one for one in look.announced if one.site == site.name]
    return SiteView(
        site=site.name,
        reachable=all(host.reachable for host in look.hosts if host.place == site.name),
        ready=_all_ok(own, "readyz"),
        writable=_all_ok(own, "writez"),
        announced=bool(announced) and all(one.state is seen.Announcement.ANNOUNCED for one in announced),
        sessions_up=sum(session.established and session.bfd_up is not False for session in sessions),
        sessions_expected=len(sessions),
        votes_up=sum(vote.healthy for vote in votes),
        votes_expected=len(votes),
    )


def _all_ok(answers: list[seen.HealthCheck], path: str) -> bool:
    asked = [answer for answer in answers if answer.path == path]
    return bool(asked) and all(answer.ok for answer in asked)
