"""How a watch uses replies of different ages, and when it polls each host."""

from __future__ import annotations

import threading

import pytest

from estate.model import HostRole
from monitors.observe.ca_cache import CaCertificate
from monitors.observe.queries import needs_ca, queries_of, with_ca
from monitors.observe.watch import (
    MAX_AGE_S,
    MAX_QUERY_S,
    LastReply,
    PollSettings,
    current_reply,
    poll_offsets,
    until_next_poll,
)
from monitors.query import Reply, queried_hosts
from tests.unit.monitors.observations import ESTATE, target

REPLY = Reply(host="futian-data1", reachable=True, now=1000.0, results={"uptime": {"text": "1 1"}})


def now(last: LastReply, at: float) -> Reply:
    """Return the reply that is used at that time."""
    return current_reply("futian-data1", last, now=at, max_age_s=MAX_AGE_S)


def test_a_reply_counts_while_it_is_fresh_even_if_a_later_query_failed() -> None:
    """A restarted sshd or a lost session does not yet make the host unreachable."""
    last = LastReply(reply=REPLY, received_at=100.0, error="10.0.0.1: connection refused")
    assert now(last, 100.0 + MAX_AGE_S) is REPLY
    assert now(last, 100.1 + MAX_AGE_S) == Reply(
        host="futian-data1", reachable=False, reason="10.0.0.1: connection refused"
    )


def test_a_host_without_a_fresh_reply_is_unreachable_with_a_reason() -> None:
    """The results of the old reply are dropped, because they may no longer be true."""
    assert not now(LastReply(), 5.0).reachable
    assert now(LastReply(), 5.0).reason == "no answer yet"
    old = now(LastReply(reply=REPLY, received_at=100.0), 112.0)
    assert (old.reachable, old.reason, old.results) == (False, "no answer for 12 s", {})


def test_a_host_whose_queries_all_hang_is_still_seen() -> None:
    """Two of its replies are at most one hanging query and one poll apart."""
    assert MAX_QUERY_S + PollSettings().interval_s < MAX_AGE_S < PollSettings().reply_timeout_s


def test_databases_are_polled_together_and_other_hosts_are_spread() -> None:
    """WAL positions are compared with each other; all hosts share processors with the service."""
    hosts = queried_hosts(ESTATE)
    at = {host.name: offset for host, offset in poll_offsets(hosts, 1.5)}
    assert at.keys() == {host.name for host in hosts}
    assert {at[host.name] for host in ESTATE.database_members} == {0.0}
    others = sorted(offset for name, offset in at.items() if not ESTATE.host(name).database)
    gaps = [later - earlier for earlier, later in zip([0.0, *others], [*others, 1.5], strict=True)]
    assert min(gaps) == pytest.approx(max(gaps))
    assert poll_offsets((), 1.5) == ()


@pytest.mark.parametrize(("elapsed", "wait"), [(0.0, 0.4), (0.3, 0.1), (0.5, 1.4), (1.8, 0.1), (7.9, 1.5), (8.0, 1.4)])
def test_polls_stay_on_schedule_after_a_slow_answer(elapsed: float, wait: float) -> None:
    """A host that comes back keeps its offset within the poll interval."""
    assert until_next_poll(elapsed, interval_s=1.5, offset_s=0.4) == pytest.approx(wait)


def test_the_ca_certificate_comes_from_the_first_holder_that_has_it() -> None:
    """The vantages do not wait for the other holders."""
    ca = CaCertificate(["futian-kube1", "nanshan-kube1"])
    ca.update("futian-kube1", None)
    waiting = threading.Timer(0.1, ca.update, ("nanshan-kube1", "PEM"))
    waiting.start()
    assert ca.wait(10) == "PEM"
    waiting.join()


def test_vantages_do_not_wait_if_all_holders_are_unreachable() -> None:
    """They also do not wait if there is no holder, or after the watch has ended."""
    unreachable = CaCertificate(["futian-kube1"])
    assert unreachable.wait(0.01) == ""
    unreachable.update("futian-kube1", None)
    assert unreachable.wait(60) == ""
    assert CaCertificate([]).wait(60) == ""
    given_up = CaCertificate(["futian-kube1"])
    given_up.give_up()
    assert given_up.wait(60) == ""


def test_a_new_ca_certificate_replaces_the_old_and_a_missing_one_does_not() -> None:
    """During a watch, certificates may be renewed and sites may lose power."""
    ca = CaCertificate(["futian-kube1", "nanshan-kube1"])
    ca.update("futian-kube1", "old")
    ca.update("futian-kube1", None)
    assert ca.wait(60) == "old"
    ca.update("nanshan-kube1", "new")
    assert ca.wait(60) == "new"


def test_a_vantage_verifies_with_the_newest_ca_certificate() -> None:
    """Its queries are built once and sent at each poll."""
    vantage = next(host for host in ESTATE.hosts if host.kind is HostRole.VANTAGE)
    asked = with_ca(with_ca(queries_of(target(vantage)), "old"), "new")
    assert needs_ca(asked)
    assert {query["ca_text"] for query in asked.values() if query["kind"] == "https"} == {"new"}


def test_a_watch_of_a_vantage_also_queries_the_holders_of_the_ca_certificate() -> None:
    """The vantage's queries need their CA certificate."""
    vantage = next(host.name for host in ESTATE.hosts if host.kind is HostRole.VANTAGE)
    kinds = {host.kind for host in queried_hosts(ESTATE, [vantage])}
    assert kinds == {HostRole.VANTAGE, HostRole.KUBE}
    assert [host.name for host in queried_hosts(ESTATE, ["futian-edge1"])] == ["futian-edge1"]
    assert len(queried_hosts(ESTATE)) == 14
