"""The upgrade's plan: the order, the gates, the refusals, and its steps through failover's own runner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from estate.model import Estate
from failover import lock, upgrade
from failover.journal import Journal
from failover.step import CheckFailed, run_step
from monitors.collectors import Observation
from monitors.collectors.kubernetes import Cluster, ClusterNode, TenantDeployment
from tests.unit.failover.observations import (
    ESTATE,
    HEALTHY,
    cluster,
    powered_off,
    with_check,
    with_cluster,
    with_member,
)
from tests.unit.failover.test_journal import Clock
from workstation.errors import Locked, Refused, WrongUse

OLD, NEW = "1.36.4", "1.37.2"
ORDER = ("shaoguan", "futian", "nanshan")


def estate_at(*, default: str = OLD, **by_site: str) -> Estate:
    """The project's estate with its clusters at these versions."""
    assert ESTATE.kubernetes
    clusters = tuple(
        cluster.model_copy(update={"version": by_site.get(cluster.site, default)}) for cluster in ESTATE.clusters
    )
    return ESTATE.model_copy(update={"kubernetes": ESTATE.kubernetes.model_copy(update={"clusters": clusters})})


def seen_at(estate: Estate, **changed: Cluster) -> Observation:
    """All is well, and every cluster runs the declared version, except the given clusters."""
    found = (changed.get(each.site) or cluster(each.site, each.version) for each in estate.clusters)
    return replace(HEALTHY, clusters=tuple(found))


def node(host: str, *, ready: bool = True, version: str = OLD) -> tuple[ClusterNode, ...]:
    """A cluster of one node."""
    return (ClusterNode(host=host, ready=ready, version=version),)


def rules(made: upgrade.Plan) -> list[str]:
    return [refusal.rule for refusal in made.refusals]


def test_the_site_without_an_active_role_is_first_and_the_city_sites_follow_one_by_one() -> None:
    estate = estate_at()
    made = upgrade.plan(estate, seen_at(estate), NEW)
    assert made.needed
    assert tuple(each.site for each in made.site_upgrades) == ORDER
    assert {(each.old, each.new) for each in made.site_upgrades} == {(OLD, NEW)}
    assert "`./govcloud up shaoguan`" in made.site_upgrades[0].step_texts[1]


def test_at_the_target_the_plan_is_empty() -> None:
    estate = estate_at(default=NEW)
    made = upgrade.plan(estate, seen_at(estate), NEW)
    assert (made.site_upgrades, made.refusals, made.needed) == ((), (), False)


def test_a_begun_upgrade_continues() -> None:
    estate = estate_at(shaoguan=NEW)
    assert [each.site for each in upgrade.plan(estate, seen_at(estate), NEW).site_upgrades] == ["futian", "nanshan"]


def test_a_version_that_the_project_does_not_build_is_wrong_use() -> None:
    with pytest.raises(WrongUse, match=r"1\.38\.0") as caught:
        upgrade.plan(estate_at(), seen_at(estate_at()), "1.38.0")
    assert OLD in caught.value.next_step


def test_a_downgrade_and_two_minors_at_once_are_refused() -> None:
    newer = estate_at(futian=NEW)
    assert rules(upgrade.plan(newer, seen_at(newer), OLD)) == ["never to an older version"]
    older = estate_at(default="1.35.9")
    made = upgrade.plan(older, seen_at(older), NEW)
    assert rules(made) == ["one minor at a time"] * 3
    assert made.refusals[0].remedy == "upgrade to 1.36 first"
    assert not made.site_upgrades


def unfinished(site: str) -> Cluster:
    """All pods are ready, and one of them is still of the previous version."""
    healthy = cluster(site, OLD)
    return replace(healthy, workloads=tuple(replace(each, updated=1) for each in healthy.workloads))


def undeployed(site: str) -> Cluster:
    """A person has deleted the service's Deployment."""
    healthy = cluster(site, OLD)
    return replace(healthy, workloads=tuple(replace(each, wanted=None, ready=0) for each in healthy.workloads))


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (lambda s: with_check(s, "nanshan", "readyz", 503), "approval · nanshan: is not ready"),
        (lambda s: with_member(s, "nanshan", running=False), "nanshan-data1: does not stream"),
        (lambda s: replace(s, paused=True), "automatic failover is paused"),
        (lambda s: replace(s, sessions=(replace(s.sessions[0], bfd_up=False), *s.sessions[1:])), "BFD is not up"),
        (lambda s: powered_off(s, "nanshan"), "nanshan-kube1: is not reached"),
        (lambda s: replace(s, clusters=s.clusters[1:]), "futian: the version of its cluster is unknown"),
        (
            lambda s: with_cluster(s, cluster("futian", OLD, answers=False, reason="refused")),
            "futian: its Kubernetes API does not answer (refused)",
        ),
        (lambda s: with_cluster(s, cluster("futian", NEW)), f"futian: its API server runs {NEW}, not {OLD}"),
        (lambda s: with_cluster(s, cluster("futian", "")), f"its API server runs an unknown version, not {OLD}"),
        (
            lambda s: with_cluster(s, cluster("futian", OLD, node_list=node("futian-kube1", version=NEW))),
            f"futian-kube1: its kubelet runs {NEW}, not {OLD}",
        ),
        (
            lambda s: with_cluster(s, cluster("futian", OLD, node_list=())),
            "futian: has nodes that are not ready (0/1: futian-kube1)",
        ),
        (
            lambda s: with_cluster(s, cluster("futian", OLD, node_list=node("futian-kube1", ready=False))),
            "futian: has nodes that are not ready (0/1: futian-kube1)",
        ),
        (
            lambda s: with_cluster(s, cluster("futian", OLD, pods_ready=1)),
            "approval · futian: has fewer ready pods than it wants (1/2)",
        ),
        (lambda s: with_cluster(s, unfinished("futian")), "approval · futian: its newest pods are not all ready (1/2)"),
        (lambda s: with_cluster(s, undeployed("futian")), "`./govcloud up platform` creates it"),
    ],
)
def test_an_unhealthy_start_is_refused(spoilt: Callable[[Observation], Observation], words: str) -> None:
    estate = estate_at()
    made = upgrade.plan(estate, spoilt(seen_at(estate)), NEW)
    assert rules(made) == ["all sites must be well"]
    assert words in made.refusals[0].reason
    with pytest.raises(Refused) as caught:
        made.require()
    assert caught.value.exit_code == 6
    assert made.as_json()["moves"] == []


@dataclass
class FakeEstate:
    """An estate whose sites run the deployed version; the pods of one site may break."""

    breaks: str = ""
    now: dict[str, str] = field(default_factory=lambda: dict.fromkeys(ORDER, OLD))
    brought: list[str] = field(default_factory=list)

    def observe(self) -> Observation:
        estate = estate_at(**self.now)
        broken = {self.breaks: cluster(self.breaks, NEW, pods_ready=0)} if self.breaks in self.brought else {}
        return seen_at(estate, **broken)

    def deploy(self, site: str, version: str) -> None:
        self.brought.append(site)
        self.now[site] = version


def execute_steps(fake_estate: FakeEstate, folder: Path) -> None:
    estate = estate_at()
    made = upgrade.plan(estate, fake_estate.observe(), NEW)
    for step in upgrade.steps(made, estate, fake_estate.observe, fake_estate.deploy):
        run_step(step, Journal(folder), Clock())


def test_the_runner_of_drills_executes_it(tmp_path: Path) -> None:
    fake_estate = FakeEstate()
    execute_steps(fake_estate, tmp_path)
    assert tuple(fake_estate.brought) == ORDER
    assert set(fake_estate.now.values()) == {NEW}
    assert Journal(tmp_path).open_undos() == ()


def test_a_site_that_stays_unhealthy_stops_the_upgrade(tmp_path: Path) -> None:
    fake_estate = FakeEstate(breaks="futian")
    with pytest.raises(CheckFailed, match="fewer ready pods than it wants"):
        execute_steps(fake_estate, tmp_path)
    assert fake_estate.brought == ["shaoguan", "futian"]
    assert fake_estate.now["nanshan"] == OLD


def executed(fake_estate: FakeEstate, home: Path, said: list[str]) -> upgrade.UpgradeResult:
    estate = estate_at()
    made = upgrade.plan(estate, fake_estate.observe(), NEW)
    return upgrade.execute(
        made, estate, fake_estate.observe, fake_estate.deploy, home, on_event=said.append, clock=Clock()
    )


def test_every_site_is_reported_when_it_begins_and_when_it_is_healthy(tmp_path: Path) -> None:
    said: list[str] = []
    done = executed(FakeEstate(), tmp_path, said)
    assert tuple(done.seconds) == ORDER
    assert done.as_json()["changed"] is True
    assert [words.split()[0] for words in said] == [site for site in ORDER for _ in range(2)]
    assert (tmp_path / "moves/journal.jsonl").is_file()


def test_an_upgrade_that_stops_reports_the_problem_and_the_next_step(tmp_path: Path) -> None:
    fake_estate = FakeEstate(breaks="shaoguan")
    with pytest.raises(CheckFailed, match="fewer ready pods than it wants") as caught:
        executed(fake_estate, tmp_path, [])
    assert fake_estate.brought == ["shaoguan"]
    assert "./govcloud up SITE" in caught.value.next_step


def test_no_drill_begins_in_an_upgrade_and_no_upgrade_in_a_drill(tmp_path: Path) -> None:
    fake_estate = FakeEstate()
    with lock.held(tmp_path, "site-loss"), pytest.raises(Locked, match="site-loss"):
        executed(fake_estate, tmp_path, [])
    assert fake_estate.brought == []


def test_at_the_target_no_site_is_changed(tmp_path: Path) -> None:
    fake_estate = FakeEstate(now=dict.fromkeys(ORDER, NEW))
    made = upgrade.plan(estate_at(default=NEW), fake_estate.observe(), NEW)
    done = upgrade.execute(
        made, estate_at(default=NEW), fake_estate.observe, fake_estate.deploy, tmp_path, clock=Clock()
    )
    assert done.as_json() == {"target": NEW, "changed": False, "seconds": {}}


def test_the_gate_of_a_site_is_checked_right_before_the_site(tmp_path: Path) -> None:
    """A site that was healthy at the time of the plan may have a problem by then."""
    fake_estate, estate = FakeEstate(), estate_at()
    first, second, _ = upgrade.steps(
        upgrade.plan(estate, fake_estate.observe(), NEW), estate, fake_estate.observe, fake_estate.deploy
    )
    run_step(first, Journal(tmp_path), Clock())
    fake_estate.now["shaoguan"] = OLD
    with pytest.raises(CheckFailed, match=f"shaoguan: its API server runs {OLD}, not {NEW}"):
        run_step(second, Journal(tmp_path), Clock())
    assert fake_estate.brought == ["shaoguan"]


def test_a_bureaus_own_problem_is_a_warning_and_delays_no_upgrade() -> None:
    estate, crashing = estate_at(), TenantDeployment(namespace="bureau", name="crashing", ready=0, wanted=2)
    made = upgrade.plan(estate, seen_at(estate, futian=cluster("futian", OLD, incomplete_tenants=(crashing,))), NEW)
    assert made.needed
    assert made.warnings == ("futian: bureau/crashing: 0 of 2 pods are ready",)
    assert made.as_json()["warnings"] == list(made.warnings)


def test_unreadable_deployments_of_bureaus_are_a_warning() -> None:
    """An empty list would say that all of them are complete."""
    estate = estate_at()
    made = upgrade.plan(estate, seen_at(estate, futian=cluster("futian", OLD, incomplete_tenants=None)), NEW)
    assert made.needed
    assert made.warnings == ("futian: the bureaus' own Deployments could not be read",)
