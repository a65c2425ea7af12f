"""Drills: injected failures with a measured result and a report."""

from failover.drills.blast_radius import BlastRadius, of_site, text
from failover.drills.registry import DRILLS, Drill, get
from failover.drills.runner import run
from failover.result import DrillResult, Event, Verdict

__all__ = ["DRILLS", "BlastRadius", "Drill", "DrillResult", "Event", "Verdict", "get", "of_site", "run", "text"]
