"""Drills: injected failures with a measured result and a report."""

from failover.drills.drill import Drill
from failover.drills.registry import DRILLS, get
from failover.drills.runner import RATE_PER_S, DrillOptions, run
from failover.result import DrillResult, Event, Verdict

__all__ = ["DRILLS", "RATE_PER_S", "Drill", "DrillOptions", "DrillResult", "Event", "Verdict", "get", "run"]
