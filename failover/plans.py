"""Planned and unplanned moves of the primary as decisions: `(Estate, Observation, Intent) -> Plan`. Pure.

`switchover` executes them. If a safety rule forbids a plan, the plan has refusals in place of steps, so that a dry run
reports all of them at once.

Why an unplanned move compares positions itself: Patroni's failover key makes the named candidate skip every position
and quorum check. With one confirmation out of n standbys, any single standby may have acknowledged a record. So the
plan needs the positions of all n before it may name the furthest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from estate.model import Estate
from monitors.collectors import Observation
from monitors.collectors.postgres import DatabaseMember
from workstation.errors import Refused, WrongUse

MAX_HANDOVER_LAG_BYTES = 1024 * 1024
"""A planned move needs a candidate that is at most this far behind. While the old primary stops, it takes no writes and
sends the rest of its WAL. The candidate's lag is therefore time without writes, and WAL that this last transfer must
not lose: Patroni does not compare positions for a named candidate. One MiB is far more than this service writes in a
steady second, and stricter than the limit for a healthy standby, `LAG_LIMIT_BYTES`."""


class Operation(StrEnum):
    """The moves that a person may request."""

    SWITCHOVER = "switchover"
    """A planned move; the primary is alive and hands over."""
    FAILOVER = "failover"
    """An unplanned move; there is no primary."""
    FAILBACK = "failback"
    """The return to the home site; otherwise like a switchover."""


@dataclass(frozen=True, kw_only=True)
class Intent:
    """The requested move, and the site that is to have the primary."""

    operation: Operation
    to: str


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A safety rule that forbids the plan, and what the operator can do."""

    rule: str
    reason: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The steps of a move. A plan without steps and refusals has nothing to do.

    `primary` is the member that hands over, or None for a failover.
    """

    intent: Intent
    primary: DatabaseMember | None
    candidate: DatabaseMember | None
    steps: tuple[str, ...]
    refusals: tuple[Refusal, ...]

    @property
    def needed(self) -> bool:
        """There is something to do and no rule forbids it."""
        return bool(self.steps) and not self.refusals

    def require(self) -> None:
        """Raise Refused (exit 6) with every reason."""
        if self.refusals:
            reasons = "; ".join(f"{r.rule}: {r.reason}" for r in self.refusals)
            raise Refused(f"{self.intent.operation} to {self.intent.to} is refused. {reasons}", self.refusals[0].remedy)

    def as_json(self) -> dict[str, object]:
        """Return the object for `--json`."""
        return {
            "verb": self.intent.operation.value,
            "to": self.intent.to,
            "leader": self.primary.host if self.primary else None,
            "candidate": self.candidate.host if self.candidate else None,
            "steps": list(self.steps),
            "refusals": [{"rule": r.rule, "reason": r.reason, "way_out": r.remedy} for r in self.refusals],
        }


def home(estate: Estate) -> str:
    """Return the primary's home site, the default of a failback: the first site of `database.promotable`."""
    return estate.database.promotable[0]


def plan(estate: Estate, seen: Observation, intent: Intent) -> Plan:
    """Decide. Raise WrongUse (exit 2) for a site that the estate does not have."""
    names = [site.name for site in estate.sites]
    if intent.to not in names:
        raise WrongUse(f"unknown site {intent.to!r}", f"known sites: {', '.join(names)}")
    candidate, primary = seen.member_at(intent.to), seen.primary
    if primary and primary.site == intent.to:
        return Plan(intent=intent, primary=primary, candidate=primary, steps=(), refusals=())
    rules = _failover_rules if intent.operation is Operation.FAILOVER else _switchover_rules
    refusals = (*_common_rules(estate, seen, intent, candidate), *rules(estate, seen, candidate))
    steps = () if refusals or candidate is None else _steps(primary, candidate)
    return Plan(intent=intent, primary=primary, candidate=candidate, steps=steps, refusals=refusals)


def _steps(primary: DatabaseMember | None, candidate: DatabaseMember) -> tuple[str, ...]:
    by = f"{primary.host} hands over to {candidate.host}" if primary else f"{candidate.host} is promoted"
    return (
        f"check again: {candidate.host} runs and is not behind",
        f"{by}, through Patroni's own interface",
        f"wait until {candidate.host} is primary and a standby in another site confirms its commits",
    )


def _common_rules(
    estate: Estate, seen: Observation, intent: Intent, candidate: DatabaseMember | None
) -> Iterator[Refusal]:
    if intent.to not in estate.database.promotable:
        yield Refusal(
            rule="remote is never promoted",
            reason=f"{intent.to} acknowledges commits but is not to carry the primary",
            remedy=f"choose one of: {', '.join(estate.database.promotable)}",
        )
    if candidate is None or not candidate.running:
        yield Refusal(
            rule="candidate must run",
            reason=f"the database member at {intent.to} does not answer or does not stream",
            remedy="see `./govcloud status`; repair it first",
        )
    votes, all_votes = sum(vote.healthy for vote in seen.votes), len(estate.etcd_members)
    if votes * 2 <= all_votes:
        yield Refusal(
            rule="majority",
            reason=f"only {votes} of {all_votes} votes answer",
            remedy="without a majority no member may be promoted; start etcd members first",
        )


def _switchover_rules(estate: Estate, seen: Observation, candidate: DatabaseMember | None) -> Iterator[Refusal]:
    if seen.primary is None:
        yield Refusal(
            rule="a primary must hand over",
            reason="no primary, or more than one, was seen",
            remedy="for an unplanned move use `./govcloud failover --to SITE`",
        )
    if (
        candidate
        and candidate.running
        and (candidate.lag_bytes is None or candidate.lag_bytes > MAX_HANDOVER_LAG_BYTES)
    ):
        behind = "an unknown distance" if candidate.lag_bytes is None else f"{candidate.lag_bytes} bytes"
        yield Refusal(
            rule="candidate must not lag",
            reason=f"{candidate.host} is {behind} behind; {MAX_HANDOVER_LAG_BYTES} bytes are allowed",
            remedy="wait until it has caught up",
        )
    if candidate and not seen.site_answers(candidate.site, "readyz"):
        yield Refusal(
            rule="service must be ready there",
            reason=f"the service at {candidate.site} does not answer",
            remedy="see `./govcloud status`; repair it first",
        )


def _failover_rules(estate: Estate, seen: Observation, candidate: DatabaseMember | None) -> Iterator[Refusal]:
    if seen.primaries:
        yield Refusal(
            rule="no primary may be alive",
            reason=" and ".join(f"{member.host} is primary" for member in seen.primaries),
            remedy="for a planned move use `./govcloud switchover --to SITE`"
            if seen.primary
            else "see docs/runbooks/DatabaseTwoPrimaries.md",
        )
        return
    positions = {m.host: m.position for m in seen.members if m.running and m.position is not None}
    # One member may be unread, if it can be the old primary: for every record that it acknowledged it needed a standby.
    # An unread member of a site that is never promoted cannot have been primary, so it may hold a record alone.
    unread = [h for h in estate.database_members if h.name not in positions]
    if len(unread) > 1 or any(h.at not in estate.database.promotable for h in unread):
        yield Refusal(
            rule="every standby that may have confirmed must be read",
            reason=f"no position from {', '.join(h.name for h in unread)}: acknowledged records may be there",
            remedy="start it again, or let a person decide: see docs/runbooks/DatabaseNoPrimary.md",
        )
    elif candidate and positions.get(candidate.host, -1) < max(positions.values()):
        ahead = max(positions, key=lambda host: positions[host])
        yield Refusal(
            rule="candidate must be furthest",
            reason=f"{ahead} is ahead of {candidate.host}",
            remedy=f"wait until {candidate.host} has caught up from {ahead}",
        )
