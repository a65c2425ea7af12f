"""The events that a drill derives from two observations."""

from __future__ import annotations

from failover.drills.changes import changes
from tests.unit.failover.observations import (
    ESTATE,
    HEALTHY,
    powered_off,
    with_check,
    with_link,
    with_member,
    with_primary,
)


def test_a_lost_site_and_a_promotion_are_events() -> None:
    lost = powered_off(HEALTHY, "futian")
    found = {(c.code, c.subject) for c in changes(ESTATE, HEALTHY, lost)}
    assert found >= {("primary_gone", "futian-data1"), ("site_dark", "futian"), ("withdrawn", "futian")}
    promoted = with_primary(lost, "nanshan", timeline=4)
    found_after = [(c.code, c.subject, c.detail) for c in changes(ESTATE, lost, promoted)]
    assert found_after == [("primary_is", "nanshan-data1", "4")]
    assert not changes(ESTATE, HEALTHY, HEALTHY)


def test_a_service_that_refuses_writes_and_a_standby_that_stops_are_events() -> None:
    stopped = with_member(with_check(HEALTHY, "nanshan", "writez", 503), "shaoguan", running=False)
    found = [(c.code, c.subject) for c in changes(ESTATE, HEALTHY, stopped)]
    assert found == [("not_writable", "nanshan"), ("not_streaming", "shaoguan-data1")]
    back = [(c.code, c.subject) for c in changes(ESTATE, stopped, HEALTHY)]
    assert back == [("writable", "nanshan"), ("streaming", "shaoguan-data1")]


def test_only_the_sessions_of_the_drills_own_link_are_events() -> None:
    """BFD alone is enough: BGP keeps its session until the hold time ends."""
    cut = with_link(with_link(HEALTHY, "city-a", bfd_up=False), "ft-sg", established=False)
    found = [(c.code, c.subject) for c in changes(ESTATE, HEALTHY, cut, link="city-a")]
    assert found == [("link_unused", "city-a")]
    assert [c.code for c in changes(ESTATE, cut, HEALTHY, link="city-a")] == ["link_used"]
    assert not changes(ESTATE, HEALTHY, cut, link="futian")
