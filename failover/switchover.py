"""Executes a move of the primary: check the plan again, act through Patroni's own interface, check the result.

`plans` makes all decisions, twice: for the plan, and again just before the act. In quorum mode Patroni does not compare
positions for a candidate that a person names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from estate.model import Estate
from failover import lock, plans
from failover.journal import Journal
from failover.plans import Operation, Plan
from failover.protocols import Clock, Machines, Observer, SystemClock
from monitors.collectors import Observation
from playbooks.render.postgresql import DIRECTORY, VENV
from workstation.errors import GovcloudError

PATRONICTL = (f"{VENV}/bin/patronictl", "-c", f"{DIRECTORY}/patronictl.yml")
DEADLINE_S = 60.0
POLL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class SwitchoverResult:
    """The result of a move. `seconds` from the request until the new primary was observed with a standby; 0 if nothing
    was done."""

    operation: Operation
    before: str | None
    after: str
    changed: bool
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the object for `--json`."""
        return {
            "verb": self.operation.value,
            "before": self.before,
            "primary": self.after,
            "changed": self.changed,
            "seconds": self.seconds,
        }


def execute(
    plan: Plan,
    estate: Estate,
    machines: Machines,
    observer: Observer,
    home: Path,
    *,
    on_event: Callable[[str], None] = lambda words: None,
    clock: Clock | None = None,
) -> SwitchoverResult:
    """Execute the plan. Raise Refused (6) if a rule forbids it by now, Locked (8) while another command moves the
    estate, and GovcloudError if Patroni refused or the new primary was late; the message says what is missing."""
    clock = clock or SystemClock()
    with lock.held(home, f"{plan.intent.operation} to {plan.intent.to}"):
        on_event("checking the plan again")
        fresh = plans.plan(estate, observer.snapshot(), plan.intent)
        fresh.require()
        before = fresh.primary.host if fresh.primary else None
        if not fresh.needed or fresh.candidate is None:
            return SwitchoverResult(
                operation=plan.intent.operation, before=before, after=before or "", changed=False, seconds=0.0
            )
        candidate = fresh.candidate.host
        journal = Journal(home / "moves")
        journal.note("begin", plan.intent.operation, detail=f"{before or 'no primary'} to {candidate}")
        on_event(f"{candidate} becomes primary in place of {before}" if before else f"{candidate} becomes primary")
        start = clock.monotonic()
        _request_switchover(fresh, candidate, machines)
        missing = _wait_for_primary(candidate, observer, clock)
        took = round(clock.monotonic() - start, 1)
        journal.note("failed" if missing else "done", plan.intent.operation, detail=missing or f"{took:g} s")
        if missing:
            raise GovcloudError(
                f"after {took:g} s: {missing}",
                "see `./govcloud status`; Patroni may still finish the move, nothing is undone",
            )
        on_event(f"{candidate} is primary and protected after {took:g} s")
        return SwitchoverResult(
            operation=plan.intent.operation, before=before, after=candidate, changed=True, seconds=took
        )


def _request_switchover(plan: Plan, candidate: str, machines: Machines) -> None:
    """Request the move from Patroni, on the primary's host, or on the candidate's if there is no primary."""
    if plan.primary:
        host, words = (
            plan.primary.host,
            ["switchover", "--leader", plan.primary.host, "--candidate", candidate, "--force"],
        )
    else:
        host, words = candidate, ["failover", "--candidate", candidate, "--force"]
    answer = machines.run(host, [*PATRONICTL, *words], timeout_s=DEADLINE_S)
    if answer.returncode != 0:
        lines = (answer.stderr or answer.stdout).decode(errors="replace").strip().splitlines()
        raise GovcloudError(f"Patroni on {host} refused: {lines[-1] if lines else 'no reason given'}")


def _wait_for_primary(candidate: str, observer: Observer, clock: Clock) -> str:
    """Return what is missing at the deadline, the empty string as soon as nothing is missing."""
    end = clock.monotonic() + DEADLINE_S
    while missing := _missing(observer.snapshot(), candidate):
        if clock.monotonic() >= end:
            return missing
        clock.wait(POLL_S)
    return ""


def _missing(seen: Observation, candidate: str) -> str:
    primary = seen.primary
    if primary is None or primary.host != candidate:
        return f"{candidate} is not primary; {f'the primary is {primary.host}' if primary else 'no member is'}"
    if not any(m.sync and m.running and m.site != primary.site for m in seen.members):
        return f"{candidate} is primary, and no standby in another site confirms its commits yet"
    return ""
