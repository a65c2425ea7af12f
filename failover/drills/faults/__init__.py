"""The faults that drills inject. A fault with an undo is listed here, so that a later run can undo it."""

from failover.drills.fault import Fault
from failover.drills.faults.link_cut import LinkCut
from failover.drills.faults.primary_crash import PrimaryCrash
from failover.drills.faults.site_power import SitePower

UNDOABLE: tuple[type[Fault], ...] = (SitePower, LinkCut)

__all__ = ["UNDOABLE", "LinkCut", "PrimaryCrash", "SitePower"]
