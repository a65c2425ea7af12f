"""The drill `site-loss`: a whole site loses power while citizens go on applying.

Steady state · applicants begin · the site goes dark · service returns without help · power returns · all is well again
· the ledger is compared with the database, row by row.
"""

from __future__ import annotations

from functools import partial

from failover.drills.stage import Stage
from failover.drills.undo import stop_applicant_of
from failover.journal import Undo
from failover.steps import Step

PATIENCE = 4
"""Service is waited for that many times its objective: a drill that misses should still measure by how much."""


def story(stage: Stage) -> tuple[Step, ...]:
    """The steps in their order."""
    lights_on = Undo(kind="power_on", target=stage.site)
    measured = stop_applicant_of(stage.applicant)
    return (
        Step(name="steady-state", deadline_s=60, after=stage.all_healthy),
        Step(
            name="applicants-start",
            deadline_s=45,
            act=stage.start_applicant,
            after=partial(stage.citizens_served, 5.0),
            undo=measured,
        ),
        Step(
            name="power-off",
            deadline_s=30,
            before=stage.site_is_on,
            act=stage.power_off,
            after=stage.site_is_off,
            undo=lights_on,
        ),
        Step(
            name="service-returns",
            deadline_s=PATIENCE * stage.service.objectives.rto_s,
            after=stage.service_back,
            required=False,
        ),
        Step(name="stay-dark", deadline_s=stage.dark_s + 30, after=stage.dark_long_enough),
        Step(name="power-on", deadline_s=60, act=stage.power_on, after=stage.site_is_on, discharges=lights_on),
        Step(name="all-healthy", deadline_s=600, after=stage.all_healthy, required=False),
        Step(name="served-to-the-end", deadline_s=60, after=partial(stage.citizens_served, 5.0), required=False),
        Step(name="applicants-stop", deadline_s=5, act=stage.stop_applicant, discharges=measured),
        Step(name="ledger", deadline_s=5, act=stage.collect),
    )
