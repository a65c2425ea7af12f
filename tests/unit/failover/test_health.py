"""When everything is well, and what is said when it is not."""

from __future__ import annotations

import pytest

from failover.health import changes, problems
from failover.protocols import Observed, Role
from tests.unit.failover.observations import ESTATE, HEALTHY, dark, with_member, with_site


def codes(seen: Observed, **options: frozenset[str]) -> set[tuple[str, str]]:
    return {(p.code, p.subject) for p in problems(ESTATE, seen, **options)}


def test_all_is_well() -> None:
    assert not problems(ESTATE, HEALTHY)


@pytest.mark.parametrize(
    ("seen", "problem"),
    [
        (with_site(HEALTHY, "nanshan", ready=False), ("not_ready", "nanshan")),
        (with_site(HEALTHY, "nanshan", announced=False), ("not_announced", "nanshan")),
        (with_site(HEALTHY, "shaoguan", sessions_up=5), ("bgp_down", "shaoguan")),
        (with_site(HEALTHY, "futian", votes_up=1), ("votes_down", "futian")),
        (with_member(HEALTHY, "futian", role=Role.STANDBY), ("no_primary", "govcloud")),
        (with_member(HEALTHY, "nanshan", role=Role.PRIMARY), ("no_primary", "govcloud")),
        (with_member(HEALTHY, "nanshan", running=False), ("not_streaming", "nanshan-data1")),
        (with_member(HEALTHY, "nanshan", timeline=2), ("other_timeline", "nanshan-data1")),
        (with_member(HEALTHY, "nanshan", lag_bytes=None), ("lagging", "nanshan-data1")),
        (Observed(members=HEALTHY.members[:2], sites=HEALTHY.sites), ("not_seen", "shaoguan-data1")),
        (Observed(members=HEALTHY.members, sites=HEALTHY.sites[:2]), ("not_seen", "shaoguan")),
    ],
)
def test_each_fault_is_named(seen: Observed, problem: tuple[str, str]) -> None:
    assert problem in codes(seen)


def test_a_primary_that_nobody_confirms_is_not_well() -> None:
    seen = with_member(HEALTHY, "nanshan", role=Role.STANDBY)
    assert ("no_sync_standby", "futian-data1") in codes(with_member(seen, "shaoguan", role=Role.STANDBY))


def test_a_site_that_is_meant_to_be_dark_is_no_problem() -> None:
    assert not problems(ESTATE, dark(HEALTHY, "shaoguan"), dark=frozenset({"shaoguan"}))


def test_changes_are_told_in_an_operators_words() -> None:
    lost = dark(HEALTHY, "futian")
    found = {(c.code, c.subject) for c in changes(HEALTHY, lost)}
    assert found >= {("primary_gone", "futian-data1"), ("site_dark", "futian"), ("withdrawn", "futian")}
    promoted = with_member(lost, "nanshan", role=Role.PRIMARY, timeline=4)
    assert [(c.code, c.subject, c.detail) for c in changes(lost, promoted)] == [("primary_is", "nanshan-data1", "4")]
    assert not changes(HEALTHY, HEALTHY)
