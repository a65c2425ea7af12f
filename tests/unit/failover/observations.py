"""What might be seen of the estate, for tests of decisions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from estate.loader import load
from failover.protocols import Member, Observed, Role, SiteView

ESTATE = load()


def member(site: str, role: Role, **changes: Any) -> Member:
    values: dict[str, Any] = {"running": True, "timeline": 3, "lag_bytes": 0, "position": 1000}
    return Member(host=f"{site}-data1", site=site, role=role, **{**values, **changes})


def site(name: str, votes: int, **changes: Any) -> SiteView:
    values: dict[str, Any] = {
        "reachable": True, "ready": True, "writable": True, "announced": True, "sessions_up": 6, "sessions_expected": 6,
        "votes_up": votes, "votes_expected": votes,
    }  # fmt: skip
    return SiteView(site=name, **{**values, **changes})


HEALTHY = Observed(
    members=(
        member("futian", Role.PRIMARY),
        member("nanshan", Role.SYNC_STANDBY),
        member("shaoguan", Role.SYNC_STANDBY),
    ),
    sites=(site("futian", 2), site("nanshan", 2), site("shaoguan", 1)),
)


def with_member(seen: Observed, at: str, **changes: Any) -> Observed:
    return replace(seen, members=tuple(replace(m, **changes) if m.site == at else m for m in seen.members))


def with_site(seen: Observed, at: str, **changes: Any) -> Observed:
    return replace(seen, sites=tuple(replace(s, **changes) if s.site == at else s for s in seen.sites))


def dark(seen: Observed, at: str) -> Observed:
    """The site does not answer at all."""
    seen = with_member(seen, at, role=Role.UNKNOWN, running=False, lag_bytes=None, position=None)
    return with_site(seen, at, reachable=False, ready=False, writable=False, announced=False, votes_up=0, sessions_up=0)
