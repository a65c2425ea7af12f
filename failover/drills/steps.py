"""The steps from which drills are built, and their usual order."""

from __future__ import annotations

from functools import partial

from failover.drills.context import DrillContext
from failover.drills.undo import stop_load_generator
from failover.step import Step

STEADY_WITHIN_S = 120.0
"""A drill waits up to this long for the steady state, because some daemons settle later than `up` ends."""
PATIENCE = 4
"""The drill waits for the service up to this many times its objective. So it also measures by how much an objective
was missed."""
HEALS_WITHIN_S = 300.0
"""Longest wait for a fault that heals by itself: a database member may have to copy all its data before it runs."""


def usual(run: DrillContext) -> tuple[Step, ...]:
    """Return the steps of a drill in which the service must return by itself, before the fault is healed."""
    return (
        steady_state(run),
        start_load(run),
        inject(run),
        service_returns(run),
        *([hold(run)] if run.fault.undo else []),  # a fault that heals by itself cannot be held
        heal(run),
        all_healthy(run),
        served_to_the_end(run),
        stop_load(run),
        compare_ledger(run),
    )


def steady_state(run: DrillContext) -> Step:
    """Wait until the estate has no problem."""
    return Step(name="steady-state", deadline_s=STEADY_WITHIN_S, after=run.all_healthy)


def start_load(run: DrillContext) -> Step:
    """Start the load generator and wait until all its requests succeed."""
    served = partial(run.citizens_served, 5.0)
    undo = stop_load_generator(run.load_generator)
    return Step(name="applicants-start", deadline_s=45, act=run.start_load, after=served, undo=undo)


def inject(run: DrillContext) -> Step:
    """Inject the fault. A fault that heals by itself may have gone before the check, so it is not checked."""
    fault = run.fault
    if fault.undo is None:
        return Step(name="inject", deadline_s=30, title=fault.words.inject, before=run.may_inject, act=run.inject)
    return Step(
        name="inject", deadline_s=30, title=fault.words.inject, before=run.may_inject, act=run.inject,
        after=run.fault_is_there, undo=fault.undo,
    )  # fmt: skip


def service_returns(run: DrillContext) -> Step:
    """Wait until citizens are served again without help."""
    deadline_s = PATIENCE * run.service.objectives.rto_s
    return Step(name="service-returns", deadline_s=deadline_s, after=run.service_back, required=False)


def hold(run: DrillContext) -> Step:
    """Leave the fault in place for `run.hold_s` after the injection."""
    return Step(name="hold", deadline_s=run.hold_s + 30, after=run.held_long_enough)


def heal(run: DrillContext) -> Step:
    """Heal the fault, or wait until it has healed by itself."""
    fault = run.fault
    if fault.undo is None:
        return Step(
            name="heal", deadline_s=HEALS_WITHIN_S, title=fault.words.heal, after=run.fault_has_gone, required=False
        )
    return Step(
        name="heal", deadline_s=60, title=fault.words.heal, act=run.heal, after=run.fault_has_gone,
        completes_undo=fault.undo,
    )  # fmt: skip


def all_healthy(run: DrillContext) -> Step:
    """Wait until the estate has no problem again."""
    return Step(name="all-healthy", deadline_s=600, after=run.recovered, required=False)


def served_to_the_end(run: DrillContext) -> Step:
    """Check that citizens are still served."""
    return Step(name="served-to-the-end", deadline_s=60, after=partial(run.citizens_served, 5.0), required=False)


def stop_load(run: DrillContext) -> Step:
    """Stop the load generator."""
    undo = stop_load_generator(run.load_generator)
    return Step(name="applicants-stop", deadline_s=5, act=run.stop_load, completes_undo=undo)


def compare_ledger(run: DrillContext) -> Step:
    """Fetch the ledger and the database's rows."""
    return Step(name="ledger", deadline_s=5, act=run.collect)
