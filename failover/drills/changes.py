"""The differences between two observations, as events of a drill. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from estate.model import Estate
from monitors.collectors import Observation
from monitors.collectors.postgres import Role


@dataclass(frozen=True, kw_only=True)
class Change:
    """A difference between two observations. The report has the text for each `code`."""

    code: str
    subject: str
    detail: str = ""


def changes(estate: Estate, before: Observation, after: Observation, link: str = "") -> tuple[Change, ...]:
    """Return the changes of the primary, of each site, of each standby, and of one link's routing sessions."""
    return (
        *_primary(before, after),
        *_sites(estate, before, after),
        *_standbys(before, after),
        *_link(before, after, link),
    )


def _primary(before: Observation, after: Observation) -> Iterator[Change]:
    old, new = before.primary, after.primary
    if (old and old.host) == (new and new.host):
        return
    if new:
        yield Change(code="primary_is", subject=new.host, detail=f"{new.timeline}")
    else:
        yield Change(code="primary_gone", subject=old.host if old else "")


def _sites(estate: Estate, before: Observation, after: Observation) -> Iterator[Change]:
    for site in (each.name for each in estate.sites):
        for old, new, yes, no in (
            (before.site_reachable(site), after.site_reachable(site), "site_seen", "site_dark"),
            (before.site_announces(site), after.site_announces(site), "announced", "withdrawn"),
            (before.site_answers(site, "writez"), after.site_answers(site, "writez"), "writable", "not_writable"),
        ):
            if new != old:
                yield Change(code=yes if new else no, subject=site)


def _standbys(before: Observation, after: Observation) -> Iterator[Change]:
    old = {member.host: member for member in before.members}
    for member in after.members:
        last = old.get(member.host)
        if last and member.running != last.running and member.role is not Role.PRIMARY:
            yield Change(code="streaming" if member.running else "not_streaming", subject=member.host)


def _link(before: Observation, after: Observation, link: str) -> Iterator[Change]:
    old, new = _sessions_up(before, link), _sessions_up(after, link)
    if old is not None and new is not None and old != new:
        yield Change(code="link_used" if new else "link_unused", subject=link)


def _sessions_up(seen: Observation, link: str) -> bool | None:
    """Return whether all BGP sessions over the link are established and monitored by BFD. None without a session."""
    sessions = [session for session in seen.sessions if session.link == link]
    return all(each.established and each.bfd_up is not False for each in sessions) if sessions else None
