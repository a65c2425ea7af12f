"""The drill `site-loss`: a whole site loses power while synthetic citizens keep applying.

Steady state · load starts · site powered off · service returns by itself · site powered on · all health checks green ·
ledger compared with the database row by row.
"""

from __future__ import annotations

from functools import partial

from failover.drills.context import DrillContext
from failover.drills.undo import stop_load_generator
from failover.journal import Undo
from failover.step import Step

STEADY_WITHIN_S = 120.0
"""A drill waits up to this long for the steady state, because some daemons settle later than `up` ends."""
PATIENCE = 4
"""The drill waits for the service up to this many times its objective. So it also measures by how much an objective
was missed."""


def steps(context: DrillContext) -> tuple[Step, ...]:
    """Return the steps in order."""
    restore_power = Undo(kind="power_on", target=context.site)
    stop_load = stop_load_generator(context.load_generator)
    return (
        Step(name="steady-state", deadline_s=STEADY_WITHIN_S, after=context.all_healthy),
        Step(
            name="applicants-start",
            deadline_s=45,
            act=context.start_load,
            after=partial(context.citizens_served, 5.0),
            undo=stop_load,
        ),
        Step(
            name="power-off",
            deadline_s=30,
            before=context.site_is_on,
            act=context.power_off,
            after=context.site_is_off,
            undo=restore_power,
        ),
        Step(
            name="service-returns",
            deadline_s=PATIENCE * context.service.objectives.rto_s,
            after=context.service_back,
            required=False,
        ),
        Step(name="stay-dark", deadline_s=context.powered_off_s + 30, after=context.off_long_enough),
        Step(
            name="power-on", deadline_s=60, act=context.power_on, after=context.site_is_on, completes_undo=restore_power
        ),
        Step(name="all-healthy", deadline_s=600, after=context.all_healthy, required=False),
        Step(name="served-to-the-end", deadline_s=60, after=partial(context.citizens_served, 5.0), required=False),
        Step(name="applicants-stop", deadline_s=5, act=context.stop_load, completes_undo=stop_load),
        Step(name="ledger", deadline_s=5, act=context.collect),
    )
