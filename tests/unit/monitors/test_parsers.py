"""Hosts' replies become an observation; a malformed answer counts as no answer."""

from __future__ import annotations

import re
from typing import Any

import pytest

from estate.model import Backend, Estate, Gateway
from monitors.collectors.announcements import Announcement
from monitors.collectors.kubernetes import TENANTS, Cluster, ClusterNode
from monitors.collectors.postgres import Role
from monitors.health import problems
from monitors.observe.queries import observation_of, queries_of
from monitors.query import Reply
from tests.unit.monitors.observations import (
    ESTATE,
    LEADER,
    PLAN,
    PRIMARY,
    VERSION,
    body,
    changed_frr,
    database,
    deployment,
    healthy,
    observe,
    out,
    powered_off,
    shown,
    target,
    with_results,
)
from tests.unit.monitors.observations import cluster as cluster_results


def test_a_healthy_estate_is_observed_completely() -> None:
    """The observation has every session, announcement, member, vote and vantage."""
    observation = observe(healthy())
    assert len(observation.hosts) == 14
    assert len(observation.sessions) == 2 * (4 * 2 + 9)
    assert all(session.established and session.bfd_up and session.prefixes == 7 for session in observation.sessions)
    assert {(a.site, a.family, a.state) for a in observation.announced} == {
        (site.name, family, Announcement.ANNOUNCED) for site in ESTATE.sites for family in (4, 6)
    }
    assert observation.primary is not None
    assert observation.primary.host == PRIMARY
    assert observation.leader is not None
    assert observation.leader.host == LEADER
    assert observation.synchronous_standby_names == 'ANY 1 ("nanshan-data1","shaoguan-data1")'
    assert len(observation.sites) == 9
    assert len(observation.vantages) == 12
    assert [(c.site, c.answers, c.nodes_ready, c.nodes) for c in observation.clusters] == [
        (site.name, True, 1, 1) for site in ESTATE.sites
    ]
    assert all(health.ok for health in (*observation.sites, *observation.vantages))


def test_lag_is_the_distance_from_the_primary() -> None:
    """The lag is in bytes of flushed WAL."""
    lags = {member.host: member.lag_bytes for member in observe(healthy()).members}
    assert lags == {"futian-data1": 0, "nanshan-data1": 4096, "shaoguan-data1": 4096}


def test_without_a_primary_the_lag_is_unknown() -> None:
    """The distance to a missing primary is unknown, not zero."""
    observation = observe(powered_off(healthy(), "futian"))
    assert observation.primary is None
    assert observation.synchronous_standby_names is None
    assert [member.lag_bytes for member in observation.members] == [None, None, None]
    assert observation.members[0].role is Role.UNKNOWN
    assert observation.members[0].reason == "no answer"


def test_two_primaries_are_both_seen() -> None:
    """Neither of them is reported as the primary."""
    nanshan = ESTATE.host("nanshan-data1")
    observation = observe(with_results(healthy(), "nanshan-data1", **database(nanshan, role="primary", timeline=4)))
    assert [member.host for member in observation.primaries] == ["futian-data1", "nanshan-data1"]
    assert observation.primary is None
    assert observation.synchronous_standby_names is None


def test_postgresqls_own_state_counts_when_patroni_is_down() -> None:
    """PostgreSQL still serves reads, so its member is still observed."""
    observation = observe(
        with_results(healthy(), PRIMARY, patroni={"error": "Connection refused"}, cluster={"error": "refused"})
    )
    assert observation.primary is not None
    assert not observation.primary.patroni
    assert observation.primary.reason == "Patroni: Connection refused"


def test_a_standby_that_does_not_stream_is_not_running() -> None:
    """PostgreSQL answers, but its data no longer follows the primary."""
    nanshan = ESTATE.host("nanshan-data1")
    observation = observe(with_results(healthy(), "nanshan-data1", **database(nanshan, receiver=None)))
    member = next(m for m in observation.members if m.host == "nanshan-data1")
    assert (member.role, member.running, member.state) == (Role.STANDBY, False, "not streaming")


def test_withdrawn_last_resort_and_unknown_are_distinguished() -> None:
    """An answer without a route means withdrawn; no answer means unknown."""
    replies = with_results(healthy(), "futian-edge1", routes4=out([]), routes6=out([]))
    replies = with_results(
        replies,
        "nanshan-edge1",
        routes4=out([{"dst": "203.0.113.10", "metric": 900}]),
        routes6=out([{"dst": "2001:db8:113::10", "metric": 900}]),
    )
    states = {(a.site, a.state) for a in observe(powered_off(replies, "shaoguan")).announced}
    assert states == {
        ("futian", Announcement.WITHDRAWN),
        ("nanshan", Announcement.LAST_RESORT),
        ("shaoguan", Announcement.UNKNOWN),
    }


def test_a_session_that_is_not_configured_is_seen_as_down() -> None:
    """The estate declares the session, so it must be there."""
    observation = observe(changed_frr(healthy(), "futian-edge1", ipv6={"peers": {}}))
    down = [session for session in observation.sessions if not session.established]
    assert len(down) == len(ESTATE.links_of("futian-edge1"))
    assert {session.state for session in down} == {"not configured"}


def test_an_error_message_of_one_daemon_hides_no_answer_of_another() -> None:
    """`vtysh` prints the answers of all daemons one after another."""
    replies = healthy()
    ipv4, ipv6, _ = replies["futian-edge1"].documents("frr")
    printed = shown(ipv4, ipv6)
    printed["out"] += "bfdd is not running\n"
    sessions = [
        s for s in observe(with_results(replies, "futian-edge1", frr=printed)).sessions if s.router == "futian-edge1"
    ]
    assert {(session.established, session.bfd_up) for session in sessions} == {(True, None)}


def test_the_health_of_an_unreachable_site_is_reported_as_not_answered() -> None:
    """The status screen shows the site, so its reader does not have to guess."""
    observation = observe(powered_off(healthy(), "nanshan"))
    gone = [health for health in observation.sites if health.place == "nanshan"]
    assert [(health.path, health.status, health.why) for health in gone] == [
        ("healthz", None, "no answer"), ("readyz", None, "no answer"), ("writez", None, "no answer"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "broken",
    [
        {"code": 1, "out": "", "err": "psql: error: connection to server failed: refused"},
        {"code": 0, "out": "<html>", "err": ""},
        {"code": 0, "out": "[]", "err": ""},
        {"code": 0, "out": '{"position": 5}', "err": ""},
        {"code": 0, "out": '{"in_recovery": null}', "err": ""},
        {"error": "no answer within 3 s"},
        {},
    ],
)
def test_a_broken_answer_of_postgresql_is_no_answer(broken: dict[str, object]) -> None:
    """It never raises an exception: operators need an observation most when something is broken."""
    observation = observe(with_results(healthy(), PRIMARY, postgresql=broken))
    member = observation.members[0]
    assert member.role is Role.UNKNOWN
    assert not member.running
    assert member.reason


QUESTIONS = (
    "frr",
    "routes4",
    "etcd_health",
    "etcd_status",
    "cluster",
    "patroni",
    "uptime",
    "nodes",
    "pods approval",
)


@pytest.mark.parametrize("name", QUESTIONS)
@pytest.mark.parametrize("value", [{"error": "x"}, {"code": 0, "out": "7"}, {"status": 500, "body": "null"}])
def test_no_malformed_answer_breaks_the_observation(name: str, value: dict[str, object]) -> None:
    """This holds for each host that answers the query."""
    replies = healthy()
    for host in replies:
        if name in replies[host].results:
            replies = with_results(replies, host, **{name: value})
    problems(ESTATE, observe(replies))


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("routes4", '[{"dst": "10.0.0.1", "metric": "x"}, {"metric": null}]'),
        ("frr", '{"peers": {"10.0.0.1": {"pfxRcd": "x"}}}'),
        ("frr", '[{"peer": ["10.0.0.1"]}]'),
        ("etcd_status", '{"header": {"raft_term": Infinity}}'),
        ("cluster", "[" * 100_000),
    ],
)
def test_no_value_of_another_type_breaks_the_observation(name: str, document: str) -> None:
    replies = healthy()
    for host in replies:
        if name in replies[host].results:
            old = str(replies[host].results[name].get("out", replies[host].results[name].get("body", "")))
            found = document.replace("10.0.0.1", next(iter(re.findall(r"10(?:\.\d+){3}", old)), "10.0.0.1"))
            replies = with_results(replies, host, **{name: {"code": 0, "status": 200, "out": found}})
    problems(ESTATE, observe(replies))


def test_failed_units_and_the_clock_are_noted() -> None:
    """The clock is compared with ours at the time of the answer."""
    replies = with_results(healthy(), "futian-ops1", failed={"code": 0, "out": "prometheus.service loaded failed\n"})
    host = observe(replies).host("futian-ops1")
    assert host.failed_units == ("prometheus.service",)
    assert host.uptime_s == pytest.approx(3601.65)
    assert host.clock_offset_s == pytest.approx(-0.1)


def test_a_pause_is_seen() -> None:
    """A pause means that an operator has switched automatic failover off."""
    assert observe(healthy()).paused is False
    assert observe(with_results(healthy(), PRIMARY, cluster=body({"pause": True}))).paused is True


def with_gateway(estate: Estate) -> Estate:
    """Add a bureau of the name `bureau` that has a gateway of two pods."""
    gateway = Gateway(number=1, hosts={"a.bureau.govcloud": Backend(pods="web", port=8080)})
    bureau = estate.bureaus[0].model_copy(update={"name": "bureau", "gateway": gateway})
    return estate.model_copy(update={"bureaus": (*estate.bureaus, bureau)})


def observed_cluster(**results: Any) -> Cluster:
    """Return futian's cluster in the estate with a gateway, from a reply with these results."""
    reply = Reply(host="futian-kube1", reachable=True, results=cluster_results("futian-kube1") | results)
    (found,) = observation_of(with_gateway(ESTATE), PLAN, {"futian-kube1": reply}, at=0.0, took_s=0.0).clusters
    return found


def test_versions_are_read_from_the_api_server_and_each_kubelet() -> None:
    """Without the leading v."""
    found = observed_cluster()
    assert found.version == VERSION
    assert found.node_list == (ClusterNode(host="futian-kube1", ready=True, version=VERSION),)
    assert observed_cluster(version={"error": "refused"}).version == ""


def test_services_and_gateways_are_the_estates_own_workloads() -> None:
    """Pods of the newest template count as updated only once the controller has read that template."""
    gateway = deployment("bureau-gateway", 2, ready=2, updated=1)
    service, entry = observed_cluster(**{"pods bureau-gateway": body(gateway)}).workloads
    assert (service.service, service.declared, service.wanted, service.ready, service.updated) == (
        "approval",
        2,
        2,
        2,
        2,
    )
    assert (entry.namespace, entry.declared, entry.ready, entry.updated) == ("bureau", 2, 2, 1)
    unread = deployment("bureau-gateway", 2, ready=2, updated=2, generation=4)
    assert observed_cluster(**{"pods bureau-gateway": body(unread)}).workloads[1].updated == 0


def test_absent_and_unreadable_deployments_are_distinguished() -> None:
    """Only the first one is repaired by `up`."""
    absent = body({"kind": "Status", "code": 404}, status=404)
    service, entry = observed_cluster(
        **{"pods approval": absent, "pods bureau-gateway": {"error": "refused"}}
    ).workloads
    assert (service.wanted, service.reason) == (None, "")
    assert (entry.wanted, entry.reason) == (None, "refused")


def test_incomplete_deployments_of_bureaus_are_listed_and_the_estates_own_are_not() -> None:
    """They are known only if the query for them was sent and answered."""
    own = ESTATE.services[0]
    items = [
        deployment(own.name, 2, namespace=own.bureau),
        deployment("bureau-gateway", 2, namespace="bureau"),
        deployment("unread", 1, namespace="bureau", generation=4, ready=1, updated=1),
        deployment("crashing", 2, namespace="bureau"),
        deployment("complete", 1, namespace="bureau", ready=1, updated=1),
    ]
    listed = observed_cluster(**{TENANTS: body({"kind": "DeploymentList", "items": items})})
    assert [str(each) for each in listed.incomplete_tenants or ()] == [
        "bureau/unread: 0 of 1 pods are ready", "bureau/crashing: 0 of 2 pods are ready",
    ]  # fmt: skip
    assert observed_cluster().incomplete_tenants is None
    assert observed_cluster(**{TENANTS: {"error": "refused"}}).incomplete_tenants is None


def test_only_an_upgrade_asks_for_the_bureaus_deployments() -> None:
    """A watch polls every four seconds, and a city's cluster may have hundreds."""
    host = ESTATE.host("futian-kube1")
    assert TENANTS not in queries_of(target(host))
    assert TENANTS in queries_of(target(host, tenants=True))
