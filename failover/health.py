"""When everything is well, as a pure judgement over what was seen: the steady state before a drill, the goal after it.

Problems are values with a code, so that each language words them by itself and two looks can be compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from estate.model import Estate
from failover.protocols import Member, Observed, Role, SiteView

LAG_LIMIT_BYTES = 1024 * 1024
"""A standby that is further behind is not healthy: a megabyte is far more than a steady second of this service
writes."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is not as it should be. `subject` is a site or a host."""

    code: str
    subject: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.subject}: {self.code.replace('_', ' ')}" + (f" ({self.detail})" if self.detail else "")


def problems(estate: Estate, seen: Observed, *, dark: frozenset[str] = frozenset()) -> tuple[Problem, ...]:
    """Everything that is wrong, in the estate's order; empty when all is well. Sites in `dark` are expected to be off
    and are not asked about."""
    found: list[Problem] = []
    for site in estate.sites:
        if site.name not in dark:
            view = seen.site(site.name)
            found += _site(view) if view else [Problem(code="not_seen", subject=site.name)]
    found += _database(estate, seen, dark)
    return tuple(found)


def _site(view: SiteView) -> Iterator[Problem]:
    if not view.reachable:
        yield Problem(code="unreachable", subject=view.site)
        return
    if not view.ready:
        yield Problem(code="not_ready", subject=view.site)
    if not view.announced:
        yield Problem(code="not_announced", subject=view.site)
    if view.sessions_up < view.sessions_expected:
        yield Problem(code="bgp_down", subject=view.site, detail=f"{view.sessions_up}/{view.sessions_expected}")
    if view.votes_up < view.votes_expected:
        yield Problem(code="votes_down", subject=view.site, detail=f"{view.votes_up}/{view.votes_expected}")


def _database(estate: Estate, seen: Observed, dark: frozenset[str]) -> Iterator[Problem]:
    primary = seen.primary
    if primary is None:
        yield Problem(code="no_primary", subject=estate.database.scope)
        return
    if primary.site not in estate.database.promotable:
        yield Problem(code="primary_misplaced", subject=primary.host)
    for host in estate.database_members:
        if host.at in dark or host.name == primary.host:
            continue
        member = next((m for m in seen.members if m.host == host.name), None)
        yield from _standby(member, primary) if member else [Problem(code="not_seen", subject=host.name)]
    if not any(m.role is Role.SYNC_STANDBY and m.site != primary.site for m in seen.members):
        yield Problem(code="no_sync_standby", subject=primary.host)


def _standby(member: Member, primary: Member) -> Iterator[Problem]:
    if not member.running:
        yield Problem(code="not_streaming", subject=member.host)
    elif member.timeline is not None and member.timeline != primary.timeline:
        yield Problem(code="other_timeline", subject=member.host, detail=f"{member.timeline} ≠ {primary.timeline}")
    elif member.lag_bytes is None or member.lag_bytes > LAG_LIMIT_BYTES:
        yield Problem(code="lagging", subject=member.host, detail=f"{member.lag_bytes} bytes")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A difference between two looks. `code` is worded by the report."""

    code: str
    subject: str
    detail: str = ""


def changes(before: Observed, after: Observed) -> tuple[Change, ...]:
    """What happened between two looks, in the words that an operator would use."""
    found: list[Change] = []
    old, new = before.primary, after.primary
    if (old and old.host) != (new and new.host):
        gone = Change(code="primary_gone", subject=old.host if old else "")
        found.append(Change(code="primary_is", subject=new.host, detail=f"{new.timeline}") if new else gone)
    for view in after.sites:
        past = before.site(view.site)
        if past is None:
            continue
        for field, yes, no in (
            ("reachable", "site_seen", "site_dark"),
            ("announced", "announced", "withdrawn"),
            ("writable", "writable", "not_writable"),
        ):
            now = getattr(view, field)
            if now != getattr(past, field):
                found.append(Change(code=yes if now else no, subject=view.site))
    for member in after.members:
        last = next((m for m in before.members if m.host == member.host), None)
        if last and member.running != last.running and member.role is not Role.PRIMARY:
            found.append(Change(code="streaming" if member.running else "not_streaming", subject=member.host))
    return tuple(found)
