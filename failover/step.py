"""A step: what must hold before, the act, what must hold after and by when, and how it is taken back.

Every act stands between two lines of the journal. A failed *check* is told apart from a failed act: the first says
something about the estate, the second about us.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from failover.journal import Journal, Undo
from failover.protocols import Clock
from workstation.errors import GovcloudError

POLL_S = 0.5
"""A check that is not cheap spares itself; see `drills.context`."""


class CheckFailed(GovcloudError):
    """What had to hold did not hold, before the act or by the deadline after it."""


def nothing() -> str:
    """A check that always holds."""
    return ""


def no_act() -> None:
    """For a step that only waits."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. Checks return what is missing, or the empty string when they hold; `after` is asked again and again
    until it holds or `deadline_s` is over. `undo` is written down before the act; `discharges` names the undo that
    this very step amounts to. `required=False` lets the drill go on when the deadline passes: the miss is recorded by
    the caller."""

    name: str
    deadline_s: float
    before: Callable[[], str] = nothing
    act: Callable[[], None] = no_act
    after: Callable[[], str] = nothing
    undo: Undo | None = None
    discharges: Undo | None = None
    required: bool = True


def run_step(step: Step, journal: Journal, clock: Clock) -> str:
    """Runs one step. Returns the empty string, or for a step that is not required what was still missing at the
    deadline. Raises CheckFailed."""
    if missing := step.before():
        journal.note("failed", step.name, detail=missing)
        raise CheckFailed(f"{step.name} cannot begin: {missing}", "nothing of this step was done")
    journal.note("begin", step.name, undo=step.undo)
    step.act()
    journal.note("acted", step.name)
    end = clock.monotonic() + step.deadline_s
    while missing := step.after():
        if clock.monotonic() >= end:
            journal.note("failed", step.name, detail=missing)
            if step.required:
                raise CheckFailed(f"{step.name}: after {step.deadline_s:g} s still {missing}")
            return missing
        clock.wait(POLL_S)
    if step.discharges:
        journal.note("undone", step.name, undo=step.discharges)
    journal.note("done", step.name)
    return ""
