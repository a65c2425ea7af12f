"""Decisions about moves of the primary: the plan, and the refusals by a safety rule with exit code 6."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from failover.plans import MAX_HANDOVER_LAG_BYTES, Intent, Operation, Plan, home, plan
from monitors.collectors import Observation
from monitors.collectors.postgres import LAG_LIMIT_BYTES, Role
from monitors.health import problems
from tests.unit.failover.observations import (
    ESTATE,
    HEALTHY,
    powered_off,
    with_check,
    with_member,
    with_primary,
)
from workstation.errors import Refused, WrongUse


def planned(seen: Observation, to: str = "nanshan", operation: Operation = Operation.SWITCHOVER) -> Plan:
    return plan(ESTATE, seen, Intent(operation=operation, to=to))


def without_votes(seen: Observation, *sites: str) -> Observation:
    """No etcd member of these sites answers."""
    return replace(seen, votes=tuple(replace(v, healthy=v.healthy and v.site not in sites) for v in seen.votes))


def rules(made: Plan) -> set[str]:
    return {refusal.rule for refusal in made.refusals}


def test_a_switchover_in_health_is_planned() -> None:
    made = planned(HEALTHY)
    assert made.needed
    assert made.primary is not None
    assert (made.primary.host, made.candidate and made.candidate.host) == ("futian-data1", "nanshan-data1")
    made.require()


def test_a_move_to_the_primarys_own_site_has_no_steps() -> None:
    made = planned(HEALTHY, to="futian")
    assert not made.needed
    assert not made.refusals


def test_the_remote_site_is_refused_with_exit_6() -> None:
    made = planned(HEALTHY, to="shaoguan")
    assert rules(made) == {"remote is never promoted"}
    with pytest.raises(Refused) as caught:
        made.require()
    assert caught.value.exit_code == 6
    assert "futian, nanshan" in caught.value.next_step


@pytest.mark.parametrize(
    ("seen", "rule"),
    [
        (with_member(HEALTHY, "nanshan", lag_bytes=2_000_000), "candidate must not lag"),
        (with_member(HEALTHY, "nanshan", lag_bytes=None), "candidate must not lag"),
        (with_member(HEALTHY, "nanshan", running=False), "candidate must run"),
        (with_check(HEALTHY, "nanshan", "readyz", 503), "service must be ready there"),
        (with_member(HEALTHY, "futian", running=False), "a primary must hand over"),
        (with_member(HEALTHY, "shaoguan", role=Role.PRIMARY), "a primary must hand over"),
        (without_votes(HEALTHY, "futian", "shaoguan"), "majority"),
    ],
)
def test_a_switchover_is_refused(seen: Observation, rule: str) -> None:
    made = planned(seen)
    assert rule in rules(made)
    assert not made.steps


def test_all_reasons_are_reported_at_once() -> None:
    seen = with_check(with_member(HEALTHY, "nanshan", lag_bytes=None), "nanshan", "readyz", 503)
    assert len(planned(seen).refusals) == 2


def test_a_failback_goes_to_the_first_promotable_site_and_knows_when_it_is_there() -> None:
    """Asked twice, it does nothing the second time."""
    assert home(ESTATE) == "futian"
    away = with_primary(HEALTHY, "nanshan")
    there = planned(away, to=home(ESTATE), operation=Operation.FAILBACK)
    assert there.needed
    assert there.candidate is not None
    assert there.candidate.host == "futian-data1"
    back = planned(HEALTHY, to=home(ESTATE), operation=Operation.FAILBACK)
    assert (back.steps, back.refusals) == ((), ())


def test_an_unknown_site_is_wrong_use() -> None:
    with pytest.raises(WrongUse, match="atlantis"):
        planned(HEALTHY, to="atlantis")


LOST = powered_off(HEALTHY, "futian")


def test_a_failover_after_the_loss_of_the_primarys_site_is_planned() -> None:
    assert planned(LOST, operation=Operation.FAILOVER).needed


def test_a_failover_while_a_primary_runs_is_refused() -> None:
    assert rules(planned(HEALTHY, operation=Operation.FAILOVER)) == {"no primary may be alive"}


def test_a_failover_with_two_primaries_is_refused() -> None:
    """Neither of them may be overruled before a person has fenced the other."""
    made = planned(with_member(HEALTHY, "shaoguan", role=Role.PRIMARY), operation=Operation.FAILOVER)
    assert rules(made) == {"no primary may be alive"}
    assert "futian-data1 is primary and shaoguan-data1 is primary" in made.refusals[0].reason
    assert "DatabaseTwoPrimaries" in made.refusals[0].remedy


def test_the_lag_of_a_planned_move_has_a_stricter_limit_than_a_healthy_standby() -> None:
    """A standby may be 4 MiB behind in a healthy estate, but no primary is moved to it."""
    behind = with_member(HEALTHY, "nanshan", lag_bytes=4 * 1024 * 1024)
    assert problems(ESTATE, behind) == ()
    assert rules(planned(behind)) == {"candidate must not lag"}
    assert MAX_HANDOVER_LAG_BYTES < LAG_LIMIT_BYTES


def test_a_failover_without_the_remotes_position_is_refused() -> None:
    """The remote may alone have confirmed the last commits."""
    seen = with_member(LOST, "shaoguan", position=None)
    assert "every standby that may have confirmed must be read" in rules(planned(seen, operation=Operation.FAILOVER))


def test_a_failover_to_a_candidate_that_is_behind_the_remote_is_refused() -> None:
    seen = with_member(LOST, "shaoguan", position=2000)
    assert rules(planned(seen, operation=Operation.FAILOVER)) == {"candidate must be furthest"}


def test_a_failover_with_two_sites_powered_off_is_refused() -> None:
    assert planned(powered_off(LOST, "shaoguan"), operation=Operation.FAILOVER).refusals


def test_no_plan_ever_promotes_the_remote_or_a_member_that_may_lack_an_acknowledged_record() -> None:
    """Every combination of powered-off sites, positions and requests."""
    for powers, positions, to, operation in itertools.product(
        itertools.product((False, True), repeat=3),
        itertools.product((1000, 2000), repeat=3),
        ("futian", "nanshan", "shaoguan"),
        Operation,
    ):
        seen = HEALTHY
        for name, off, position in zip(("futian", "nanshan", "shaoguan"), powers, positions, strict=True):
            seen = powered_off(seen, name) if off else with_member(seen, name, position=position)
        made = planned(seen, to=to, operation=operation)
        if not made.needed:
            continue
        assert to in ESTATE.database.promotable
        if operation is Operation.FAILOVER:
            alive = [m.position or 0 for m in seen.members if m.running]
            assert made.candidate is not None
            assert made.candidate.position == max(alive)
            assert not powers[2]
