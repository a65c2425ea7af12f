"""What a drill declares."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from estate.model import Estate, Title
from failover.drills.context import DrillContext
from failover.drills.fault import Fault
from failover.step import Step
from failover.words import Text


@dataclass(frozen=True, kw_only=True)
class Drill:
    """A drill: its texts, its fault and its steps.

    - `expected_s`: the expected duration in seconds.
    - `target`: the kind of the fault's object, such as `site` or `link`.
    - `fault`: returns the fault for the operator's target, or for the default target. Raises WrongUse (2).
    - `steps`: returns the steps in order.
    """

    name: str
    title: Title
    summary: Text
    expected_s: float
    target: str
    fault: Callable[[Estate, str | None], Fault]
    steps: Callable[[DrillContext], tuple[Step, ...]]
