"""The list of all drills."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from estate.model import Title
from failover.drills import site_loss
from failover.drills.context import DrillContext
from failover.report.messages import section
from failover.step import Step
from workstation.errors import WrongUse


@dataclass(frozen=True, kw_only=True)
class Drill:
    """A drill. `steps` creates its steps; `expected_s` is its expected duration in seconds."""

    name: str
    title: Title
    expected_s: float
    steps: Callable[[DrillContext], tuple[Step, ...]]

    @property
    def summary(self) -> dict[str, str]:
        """Description in one sentence, by language."""
        return section("drills")[self.name]


DRILLS: tuple[Drill, ...] = (
    Drill(
        name="site-loss",
        title=Title(zh="整个中心断电", en="Loss of a whole site"),
        expected_s=150,
        steps=site_loss.steps,
    ),
)


def get(name: str) -> Drill:
    """Return the drill of that name. Raises WrongUse (exit 2) with the known names."""
    for drill in DRILLS:
        if drill.name == name:
            return drill
    raise WrongUse(f"unknown drill {name!r}", f"known drills: {', '.join(d.name for d in DRILLS)}")
