"""Moves the database's primary to another site: switchover, failover, failback.

All functions except `target` must run where the hosts are reachable.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from estate.model import Estate
from failover import plans, switchover
from failover.plans import Intent, Operation, Plan
from failover.switchover import SwitchoverResult
from operations import adapters
from operations.locks import block_deployment
from workstation.errors import validated_choice

logger = logging.getLogger(__name__)


def target(estate: Estate, to: str | None) -> str:
    """Return the new site of the primary; without a name, its home site. Raises WrongUse for an unknown site."""
    return validated_choice(plans.home(estate) if to is None else to, [site.name for site in estate.sites], "site")


def plan(estate: Estate, operation: Operation, to: str) -> Plan:
    """Return the plan of a move, from one observation. Changes nothing. Raises Refused if a rule forbids the move."""
    made = plans.plan(estate, adapters.observer(estate).snapshot(), Intent(operation=operation, to=to))
    logger.info("plan: %s", "; ".join(made.steps) or "nothing to do")
    made.require()
    return made


def execute(plan: Plan, estate: Estate, *, home: Path, on_event: Callable[[str], None]) -> SwitchoverResult:
    """Carry out the plan. Raises Refused if a rule forbids it by now, Locked while a deployment or a drill runs, and
    GovcloudError if the new primary was late."""
    machines, observer = adapters.machines(estate), adapters.observer(estate)
    with block_deployment():
        return switchover.execute(plan, estate, machines, observer, home, on_event=on_event)
