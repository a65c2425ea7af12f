"""A step: a check before, the act, a check after with a deadline, and an undo.

The journal has a line before and a line after every act. A failed *check* is a problem of the estate; a failed act is a
problem of this program. They raise different errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from failover.journal import Journal, Undo
from failover.protocols import Clock
from failover.words import Text
from workstation.errors import GovcloudError

POLL_S = 0.5
"""Interval of a check after an act. An expensive check limits itself; see `drills.context`."""


class CheckFailed(GovcloudError):
    """A check failed, either before the act or until the deadline after it."""


def nothing() -> str:
    """Pass always, as a check."""
    return ""


def no_act() -> None:
    """For a step that only waits."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step. A check returns the empty string if it passes, otherwise a text that names the missing condition.

    - `after` is repeated until it passes or `deadline_s` is over.
    - `undo` is in the journal before the act.
    - `completes_undo` names an open undo that this step itself carries out.
    - `required=False` lets the drill continue after the deadline; the caller records the miss.
    - `title` is for steps whose name has no title in `report/messages.yaml`.
    """

    name: str
    deadline_s: float
    before: Callable[[], str] = nothing
    act: Callable[[], None] = no_act
    after: Callable[[], str] = nothing
    undo: Undo | None = None
    completes_undo: Undo | None = None
    required: bool = True
    title: Text | None = None


def run_step(step: Step, journal: Journal, clock: Clock) -> str:
    """Run one step and return the empty string.

    A step that is not required returns the missing condition if the deadline passes. Raises CheckFailed.
    """
    if missing := step.before():
        journal.note("failed", step.name, detail=missing)
        raise CheckFailed(f"{step.name} cannot begin: {missing}", "this step changed nothing")
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
    if step.completes_undo:
        journal.note("undone", step.name, undo=step.completes_undo)
    journal.note("done", step.name)
    return ""
