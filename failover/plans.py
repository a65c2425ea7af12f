"""The verbs as decisions: `(Estate, Observed, Intent) -> Plan`. Pure; the acts stand in `switchover`.

A plan that a safety rule forbids carries its refusals instead of steps, so that a dry run tells all of them at once.

Why a forced move compares positions itself: Patroni's failover key makes the named candidate skip every position and
quorum check. With one confirmation out of n standbys, a record may have been acknowledged by any single one of them, so
all n must have been read before the furthest may be named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from estate.model import Estate
from failover.health import LAG_LIMIT_BYTES
from failover.protocols import Member, Observed
from workstation.errors import Refused, WrongUse


class Operation(StrEnum):
    """What a person may ask for."""

    SWITCHOVER = "switchover"
    """A planned move; the primary is alive and hands over."""
    FAILOVER = "failover"
    """An unplanned move; there is no primary."""
    FAILBACK = "failback"
    """The return to where the primary belongs; otherwise like a switchover."""


@dataclass(frozen=True, kw_only=True)
class Intent:
    """What is asked: the verb and the site that is to have the primary."""

    operation: Operation
    to: str


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A safety rule that forbids the plan, and the way out."""

    rule: str
    reason: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would be done. Without steps and refusals there is nothing to do. `leader` is None for a failover."""

    intent: Intent
    leader: Member | None
    candidate: Member | None
    steps: tuple[str, ...]
    refusals: tuple[Refusal, ...]

    @property
    def needed(self) -> bool:
        """There is something to do and nothing forbids it."""
        return bool(self.steps) and not self.refusals

    def require(self) -> None:
        """Raises Refused (exit 6) with every reason."""
        if self.refusals:
            reasons = "; ".join(f"{r.rule}: {r.reason}" for r in self.refusals)
            raise Refused(f"{self.intent.operation} to {self.intent.to} is refused. {reasons}", self.refusals[0].remedy)

    def as_json(self) -> dict[str, object]:
        """For `--json`."""
        return {
            "verb": self.intent.operation.value,
            "to": self.intent.to,
            "leader": self.leader.host if self.leader else None,
            "candidate": self.candidate.host if self.candidate else None,
            "steps": list(self.steps),
            "refusals": [{"rule": r.rule, "reason": r.reason, "way_out": r.remedy} for r in self.refusals],
        }


def home(estate: Estate) -> str:
    """The site that a failback goes to unless a person names another: the first that the estate lets be promoted."""
    return estate.database.promotable[0]


def plan(estate: Estate, seen: Observed, intent: Intent) -> Plan:
    """Decides. Raises WrongUse (exit 2) for a site that the estate does not have."""
    names = [site.name for site in estate.sites]
    if intent.to not in names:
        raise WrongUse(f"unknown site {intent.to!r}", f"known sites: {', '.join(names)}")
    candidate, leader = seen.member_at(intent.to), seen.primary
    if leader and leader.site == intent.to:
        return Plan(intent=intent, leader=leader, candidate=leader, steps=(), refusals=())
    rules = _failover_rules if intent.operation is Operation.FAILOVER else _switchover_rules
    refusals = (*_common_rules(estate, seen, intent, candidate), *rules(estate, seen, candidate))
    steps = () if refusals or candidate is None else _steps(intent, leader, candidate)
    return Plan(intent=intent, leader=leader, candidate=candidate, steps=steps, refusals=refusals)


def _steps(intent: Intent, leader: Member | None, candidate: Member) -> tuple[str, ...]:
    by = f"{leader.host} hands over to {candidate.host}" if leader else f"{candidate.host} is promoted"
    return (
        f"look again: {candidate.host} runs and is not behind",
        f"{by}, through Patroni's own interface",
        f"wait until {candidate.host} is primary and a standby in another site confirms its commits",
    )


def _common_rules(estate: Estate, seen: Observed, intent: Intent, candidate: Member | None) -> Iterator[Refusal]:
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
    votes, all_votes = sum(s.votes_up for s in seen.sites), sum(s.votes_expected for s in seen.sites)
    if votes * 2 <= all_votes:
        yield Refusal(
            rule="majority",
            reason=f"only {votes} of {all_votes} votes answer",
            remedy="without a majority nobody may be promoted; bring voters back first",
        )


def _switchover_rules(estate: Estate, seen: Observed, candidate: Member | None) -> Iterator[Refusal]:
    if seen.primary is None:
        yield Refusal(
            rule="a primary must hand over",
            reason="no primary, or more than one, was seen",
            remedy="for an unplanned move use `./govcloud failover --to SITE`",
        )
    if candidate and candidate.running and (candidate.lag_bytes is None or candidate.lag_bytes > LAG_LIMIT_BYTES):
        behind = "an unknown distance" if candidate.lag_bytes is None else f"{candidate.lag_bytes} bytes"
        yield Refusal(
            rule="candidate must not lag",
            reason=f"{candidate.host} is {behind} behind; {LAG_LIMIT_BYTES} bytes are allowed",
            remedy="wait until it has caught up",
        )
    view = seen.site(candidate.site) if candidate else None
    if view and not view.ready:
        yield Refusal(
            rule="service must be ready there",
            reason=f"the service at {view.site} does not answer",
            remedy="see `./govcloud status`; repair it first",
        )


def _failover_rules(estate: Estate, seen: Observed, candidate: Member | None) -> Iterator[Refusal]:
    if seen.primary is not None:
        yield Refusal(
            rule="no primary may be alive",
            reason=f"{seen.primary.host} is primary",
            remedy="for a planned move use `./govcloud switchover --to SITE`",
        )
        return
    positions = {m.host: m.position for m in seen.members if m.running and m.position is not None}
    # One member may be silent, if it is the old primary: it holds nothing that it did not need a standby's word for. A
    # silent member of a site that is never promoted cannot have been primary, so it may hold what nobody else has.
    unread = [h for h in estate.database_members if h.name not in positions]
    if len(unread) > 1 or any(h.at not in estate.database.promotable for h in unread):
        yield Refusal(
            rule="every standby that may have confirmed must be read",
            reason=f"no position from {', '.join(h.name for h in unread)}: acknowledged records may be there",
            remedy="bring it back, or let a person decide by the runbook for losing two sites",
        )
    elif candidate and positions.get(candidate.host, -1) < max(positions.values()):
        ahead = max(positions, key=lambda host: positions[host])
        yield Refusal(
            rule="candidate must be furthest",
            reason=f"{ahead} is ahead of {candidate.host}",
            remedy=f"wait until {candidate.host} has caught up from {ahead}",
        )
