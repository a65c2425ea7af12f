"""Drills: injected failures with a measured result and a report."""

from failover.drills.drill import Drill
from failover.drills.registry import DRILLS, get
from failover.drills.runner import DrillOptions, run
from failover.result import DrillResult, Event, Verdict

__all__ = ["DRILLS", "Drill", "DrillOptions", "DrillResult", "Event", "Verdict", "get", "run"]
