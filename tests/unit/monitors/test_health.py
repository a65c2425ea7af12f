"""Health rules: no problem if all is well, and each problem reported once, at its cause."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace

import pytest
import yaml

from monitors import status
from monitors.collectors import COLLECTORS, Observation
from monitors.collectors.postgres import LAG_LIMIT_BYTES
from monitors.health import problems
from monitors.problem import Kind, Scope, Severity
from tests.unit.monitors.observations import (
    ESTATE,
    HEAD,
    LEADER,
    PLAN,
    PRIMARY,
    Replies,
    body,
    changed_frr,
    cluster,
    database,
    healthy,
    observe,
    out,
    powered_off,
    vote,
    with_results,
)  # fmt: skip
from workstation import paths

NANSHAN = ESTATE.host("nanshan-data1")
REFUSED = {"error": "Connection refused"}
ADDRESS = PLAN.anycast["approval"].ipv4
MODULES = [importlib.import_module(collector.judge.__module__) for collector in COLLECTORS]
CODES = {kind.code: kind for module in MODULES for kind in vars(module).values() if isinstance(kind, Kind)}


def codes(replies: Replies) -> set[tuple[str, str]]:
    """Return code and subject of every problem."""
    return {(problem.code, problem.subject) for problem in problems(ESTATE, observe(replies))}


def test_a_healthy_estate_has_no_problems() -> None:
    """The status command can then end with exit code 0."""
    assert problems(ESTATE, observe(healthy())) == ()


def test_a_powered_off_site_is_reported_as_its_hosts_and_the_lost_primary() -> None:
    """The daemons on the hosts are not reported again."""
    found = codes(powered_off(healthy(), "futian"))
    hosts = {("host_unreachable", host.name) for host in ESTATE.hosts_at("futian")}
    assert found == hosts | {("no_primary", "govcloud")}


CASES: list[tuple[str, Replies, tuple[str, str]]] = [
    (
        "two primaries",
        with_results(healthy(), NANSHAN.name, **database(NANSHAN, role="primary")),
        ("two_primaries", "govcloud"),
    ),
    (
        "a remote primary",
        with_results(
            with_results(healthy(), LEADER, **database(ESTATE.host(LEADER), role="primary")),
            PRIMARY,
            **database(ESTATE.host(PRIMARY), role="standby"),
        ),
        ("primary_misplaced", "shaoguan-data1"),
    ),
    (
        "no synchronous standby",
        with_results(healthy(), PRIMARY, **database(ESTATE.host(PRIMARY), standbys=[])),
        ("no_second_copy", PRIMARY),
    ),
    ("no database", with_results(healthy(), NANSHAN.name, postgresql=REFUSED), ("member_down", NANSHAN.name)),
    ("no Patroni", with_results(healthy(), NANSHAN.name, patroni=REFUSED), ("patroni_down", NANSHAN.name)),
    (
        "no stream",
        with_results(healthy(), NANSHAN.name, **database(NANSHAN, receiver=None)),
        ("not_streaming", NANSHAN.name),
    ),
    (
        "an old timeline",
        with_results(healthy(), NANSHAN.name, **database(NANSHAN, timeline=2)),
        ("other_timeline", NANSHAN.name),
    ),
    (
        "far behind",
        with_results(healthy(), NANSHAN.name, **database(NANSHAN, position=HEAD - 20 * 1024 * 1024)),
        ("lagging", NANSHAN.name),
    ),
    ("a pause", with_results(healthy(), PRIMARY, cluster=body({"pause": True})), ("paused", "govcloud")),
    ("a vote", with_results(healthy(), "futian-ops1", etcd_health=REFUSED), ("vote_down", "futian-ops1")),
    (
        "no leader",
        with_results(healthy(), LEADER, etcd_status=body({"header": {"member_id": "7"}, "leader": "0"})),
        ("no_leader", "etcd"),
    ),
    (
        "leader in a city",
        with_results(
            with_results(healthy(), LEADER, etcd_status=REFUSED),
            "futian-ops1",
            **vote(ESTATE.host("futian-ops1")) | {"etcd_status": body({"header": {"member_id": "9"}, "leader": "9"})},
        ),
        ("leader_in_city", "futian-ops1"),
    ),
    (
        "a session",
        changed_frr(healthy(), "futian-edge1", ipv4={"peers": {}}),
        ("session_down", "city-a · futian-edge1 → nanshan-edge1 · IPv4"),
    ),
    (
        "BFD",
        changed_frr(healthy(), "nanshan-edge1", bfd=[{"peer": "10.64.128.13", "status": "down"}]),
        ("bfd_down", "ns-inet · nanshan-edge1 → internet-edge1 · IPv4"),
    ),
    (
        "not ready",
        with_results(healthy(), "futian-kube1", **{"health approval 4 readyz": body({}, status=503)}),
        ("site_not_ready", "approval · futian"),
    ),
    (
        "withdrawn",
        with_results(healthy(), "futian-edge1", routes4=out([])),
        ("not_announced", "approval · futian · IPv4"),
    ),
    (
        "refused writes",
        with_results(healthy(), "citizen1", **{"health approval 6 writez": body({}, status=503)}),
        ("writes_refused", "approval · citizen1 · IPv6"),
    ),
    (
        "no answer",
        with_results(healthy(), "bureau1", **{"health approval 4 healthz": {"error": "timed out"}}),
        ("service_unreachable", "approval · bureau1 · IPv4"),
    ),
    (
        "no API server",
        with_results(healthy(), "futian-kube1", nodes={"error": "Connection refused"}),
        ("cluster_down", "futian"),
    ),
    (
        "an API server without its etcd",
        with_results(healthy(), "futian-kube1", nodes=body({"kind": "Status"}, status=500)),
        ("cluster_down", "futian"),
    ),
    (
        "a node that is not ready",
        with_results(healthy(), "nanshan-kube1", **cluster("nanshan-kube1", node="Unknown")),
        ("node_not_ready", "nanshan"),
    ),
    (
        "a pod too few",
        with_results(healthy(), "shaoguan-kube1", **cluster("shaoguan-kube1", ready=1)),
        ("pods_missing", "approval · shaoguan"),
    ),
    (
        "a node that never joined",
        with_results(healthy(), "nanshan-kube1", nodes=body({"kind": "NodeList", "items": []})),
        ("node_not_ready", "nanshan"),
    ),
    (
        "a Deployment that a person has scaled down",
        with_results(healthy(), "shaoguan-kube1", **cluster("shaoguan-kube1", wanted=1, ready=1, updated=1)),
        ("pods_missing", "approval · shaoguan"),
    ),
    (
        "a Deployment that could not be read",
        with_results(healthy(), "shaoguan-kube1", **{"pods approval": REFUSED}),
        ("pods_missing", "approval · shaoguan"),
    ),
    (
        "an edge that does not list its routes",
        with_results(healthy(), "futian-edge1", routes4=REFUSED, routes6=REFUSED),
        ("not_announced", "approval · futian · IPv6"),
    ),
    (
        "a clock",
        {**healthy(), "citizen1": replace(healthy()["citizen1"], now=1003.0)},
        ("clock_off", "citizen1"),
    ),
    (
        "a host that was not queried",
        {name: reply for name, reply in healthy().items() if name != "nanshan-data1"},
        ("not_observed", "nanshan-data1"),
    ),
    (
        "a failed unit",
        with_results(healthy(), "futian-ops1", failed={"code": 0, "out": "x.service loaded failed failed X\n"}),
        ("unit_failed", "futian-ops1"),
    ),
    ("a site without power", powered_off(healthy(), "futian"), ("no_primary", "govcloud")),
    ("an unreachable host", powered_off(healthy(), "nanshan"), ("host_unreachable", "nanshan-ops1")),
    (
        "an asynchronous standby",
        with_results(
            healthy(), PRIMARY, **database(ESTATE.host(PRIMARY), standbys=[{"name": LEADER, "sync": "quorum"}])
        ),
        ("not_counted", NANSHAN.name),
    ),
    (
        "three votes of five",
        with_results(powered_off(healthy(), "nanshan"), "futian-ops1", etcd_health=REFUSED),
        ("votes_below_majority", "etcd"),
    ),
    (
        "a last resort",
        with_results(healthy(), "futian-edge1", routes4=out([{"dst": str(ADDRESS), "metric": 900}])),
        ("last_resort", "approval · futian · IPv4"),
    ),
    (
        "no announcement",
        with_results(
            with_results(with_results(healthy(), "futian-edge1", routes6=out([])), "nanshan-edge1", routes6=out([])),
            "shaoguan-edge1",
            routes6=out([]),
        ),
        ("announced_nowhere", "approval · IPv6"),
    ),
]


@pytest.mark.parametrize(("replies", "problem"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_each_problem_is_found(replies: Replies, problem: tuple[str, str]) -> None:
    """The problem has the expected code and subject."""
    assert problem in codes(replies)


@pytest.mark.parametrize(("replies", "problem"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_a_problem_of_status_refuses_a_drill_and_an_upgrade(replies: Replies, problem: tuple[str, str]) -> None:
    """Except the codes whose scopes say otherwise."""
    for scope in (Scope.DRILL, Scope.UPGRADE):
        found = {(each.code, each.subject) for each in problems(ESTATE, observe(replies), scope)}
        assert (problem in found) == (scope in CODES[problem[0]].scopes)


def test_every_kind_of_problem_has_its_case() -> None:
    """Also a new collector's. An unfinished rollout concerns only upgrades, so it has a test of its own below."""
    assert {problem[0] for _, _, problem in CASES} == CODES.keys() - {"rollout_unfinished"}


def test_only_three_judgements_differ_between_the_scopes() -> None:
    """An upgrade sees everything that `status` reports. A drill ignores the etcd leader's place, see the table."""
    outside = {(code, scope) for code in CODES for scope in Scope if scope not in CODES[code].scopes}
    assert outside == {
        ("leader_in_city", Scope.DRILL),
        ("rollout_unfinished", Scope.DRILL),
        ("rollout_unfinished", Scope.STATUS),
    }


def test_an_unfinished_rollout_concerns_only_an_upgrade() -> None:
    """Pods of the old version serve as well."""
    observation = observe(with_results(healthy(), "futian-kube1", **cluster("futian-kube1", updated=1)))
    found = {scope: [each.code for each in problems(ESTATE, observation, scope)] for scope in Scope}
    assert found == {Scope.STATUS: [], Scope.DRILL: [], Scope.UPGRADE: ["rollout_unfinished"]}


def test_a_standby_in_the_primarys_own_site_is_no_second_copy() -> None:
    """One site that burns down would take both copies."""
    observation = observe(healthy())
    members = tuple(replace(member, site="futian") for member in observation.members)
    assert "no_second_copy" in {each.code for each in problems(ESTATE, replace(observation, members=members))}


def test_status_drills_and_the_alert_have_one_lag_limit() -> None:
    """Otherwise `status` is green while a drill is refused."""
    rules = yaml.safe_load((paths.repo() / "monitors/rules/database.yml").read_text(encoding="utf-8"))
    (lagging,) = [r for group in rules["groups"] for r in group["rules"] if r.get("alert") == "DatabaseLagging"]
    assert "> 16 * 1024 * 1024" in lagging["expr"]
    assert LAG_LIMIT_BYTES == 16 * 1024 * 1024


def test_sites_have_their_titles_in_a_text_for_readers() -> None:
    """Hosts keep their names."""
    titles = {"futian": "福田中心"}
    assert CODES["pods_missing"].at("approval · futian").text("zh", titles).startswith("approval · 福田中心:")
    assert CODES["unit_failed"].at("futian-ops1").text("zh", titles).startswith("futian-ops1:")


def test_a_missing_majority_is_critical_and_a_missing_vote_is_not() -> None:
    """Two of five votes may be lost."""
    two = powered_off(healthy(), "nanshan")
    assert ("votes_below_majority", "etcd") not in codes(two)
    three = with_results(two, "futian-ops1", etcd_health=REFUSED)
    assert ("votes_below_majority", "etcd") in codes(three)
    assert CODES["votes_below_majority"].severity is Severity.CRITICAL
    assert CODES["vote_down"].severity is Severity.WARNING


def test_a_site_that_is_not_ready_is_not_reported_for_withdrawn_routes() -> None:
    """The cause is reported, its consequence is not."""
    replies = with_results(healthy(), "futian-kube1", **{"health approval 4 readyz": body({}, status=503)})
    replies = with_results(replies, "futian-edge1", routes4=out([]), routes6=out([]))
    assert codes(replies) == {("site_not_ready", "approval · futian")}


def test_a_service_that_no_site_announces_is_critical() -> None:
    """No client can reach it."""
    replies = healthy()
    for edge in ("futian-edge1", "nanshan-edge1", "shaoguan-edge1"):
        replies = with_results(replies, edge, routes6=out([]))
    assert ("announced_nowhere", "approval · IPv6") in codes(replies)
    assert ("announced_nowhere", "approval · IPv4") not in codes(replies)


def test_the_worst_comes_first() -> None:
    """A small terminal cuts off the lower part of the screen."""
    found = problems(ESTATE, observe(powered_off(healthy(), "futian")))
    assert [problem.severity for problem in found] == sorted(problem.severity for problem in found)


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_severity_a_scope_and_both_languages(code: str) -> None:
    """Both texts exist, and the English text has the detail."""
    assert CODES[code].severity in Severity
    assert CODES[code].scopes <= set(Scope)
    assert CODES[code].scopes
    problem = CODES[code].at("somewhere", "7 of 9")
    assert "7 of 9" in problem.text("en")
    assert any("一" <= character <= "鿿" for character in problem.text("zh"))


OBSERVATIONS = {
    "healthy": observe(healthy()),
    "powered off": observe(powered_off(healthy(), "futian")),
    "no replies": observe({}),
}


@pytest.mark.parametrize("observation", OBSERVATIONS.values(), ids=OBSERVATIONS)
def test_the_screen_is_drawn_for_every_observation(observation: Observation) -> None:
    """It is drawn in both languages, and as one JSON object."""
    found = problems(ESTATE, observation)
    english, chinese = (status.as_text(ESTATE, observation, found, lang) for lang in ("en", "zh"))
    for site in ESTATE.sites:
        assert site.name in english
        assert site.title.zh in chinese
    document = json.loads(json.dumps(status.as_json(ESTATE, observation, found)))
    assert document["healthy"] is (not found)
    assert len(document["findings"]) == len(found)


def test_kept_forks_are_shown_and_are_no_problem() -> None:
    """Each loss of the primary's site may leave one: the estate is healthy, but an operator must examine it."""
    reports = "/srv/data/diverged/20260101T000000Z/report.json\n/srv/data/diverged/20260102T000000Z/report.json\n"
    observation = observe(with_results(healthy(), "futian-data1", forks={"code": 0, "out": reports, "err": ""}))
    assert problems(ESTATE, observation) == ()
    assert "futian-data1 keeps WAL of 2 fork(s)" in status.as_text(ESTATE, observation, (), "en")
    assert "futian-data1 留有 2 份分叉日志" in status.as_text(ESTATE, observation, (), "zh")
    assert "fork" not in status.as_text(ESTATE, observe(healthy()), (), "en")


def test_a_cluster_is_shown_by_its_nodes_and_pods() -> None:
    """An unreachable API server is reported once. Its nodes and pods are not also reported as missing."""
    assert "1/1    2/2" in status.as_text(ESTATE, observe(healthy()), (), "en")
    silent = observe(with_results(healthy(), "futian-kube1", nodes={"error": "refused"}, **{"pods approval": {}}))
    assert [problem.code for problem in problems(ESTATE, silent)] == ["cluster_down"]
    absent = body({"kind": "Status", "code": 404}, status=404)
    undeployed = observe(with_results(healthy(), "futian-kube1", **{"pods approval": absent}))
    assert undeployed.clusters[0].workloads[0].wanted is None
    (missing,) = problems(ESTATE, undeployed)
    assert missing.code == "pods_missing"
    assert "`./govcloud up platform` creates it" in missing.detail
    assert "0/2" in status.as_text(ESTATE, undeployed, (missing,), "en")


def test_a_healthy_screen_fits_on_a_screen() -> None:
    """It has fewer than 40 lines of at most 100 columns."""
    from estate.tables import display_width

    for lang in ("en", "zh"):
        lines = status.as_text(ESTATE, observe(healthy()), (), "zh" if lang == "zh" else "en").splitlines()
        assert len(lines) < 40
        assert max(map(display_width, lines)) <= 100
