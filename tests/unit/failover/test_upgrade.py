"""The upgrade's plan: the order, the gates, what is refused, and its steps through failover's own runner."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from estate.model import Backend, Estate, Gateway
from failover import clusters, lock, upgrade
from failover.journal import Journal
from failover.protocols import ClusterView, NodeView, Observed
from failover.step import CheckFailed, run_step
from tests.unit.failover.observations import ESTATE, HEALTHY, with_member, with_site
from tests.unit.failover.test_journal import Clock
from workstation.errors import Locked, Refused, WrongUse
from workstation.ssh import HostUnreachable

OLD, NEW = "1.36.4", "1.37.2"
SERVICE = ESTATE.services[0]
ORDER = ("shaoguan", "futian", "nanshan")


def estate_at(*, default: str = OLD, **by_site: str) -> Estate:
    """The project's estate with its clusters at these versions."""
    assert ESTATE.kubernetes
    clusters = tuple(
        cluster.model_copy(update={"version": by_site.get(cluster.site, default)}) for cluster in ESTATE.clusters
    )
    return ESTATE.model_copy(update={"kubernetes": ESTATE.kubernetes.model_copy(update={"clusters": clusters})})


def view(site: str, version: str, **changes: Any) -> ClusterView:
    nodes = (NodeView(host=f"{site}-kube1", version=version, ready=True),)
    return replace(ClusterView(site=site, version=version, nodes=nodes, pods_ready=2, pods_wanted=2), **changes)


def seen_at(estate: Estate, **changed: ClusterView) -> Observed:
    """All is well, and every cluster runs what is declared, but for those that are given."""
    views = tuple(changed.get(cluster.site) or view(cluster.site, cluster.version) for cluster in estate.clusters)
    return replace(HEALTHY, clusters=views)


def rules(made: upgrade.Plan) -> list[str]:
    return [refusal.rule for refusal in made.refusals]


def test_the_site_where_nothing_is_active_goes_first_and_the_cities_one_after_the_other() -> None:
    estate = estate_at()
    made = upgrade.plan(estate, seen_at(estate), NEW)
    assert made.needed
    assert tuple(each.site for each in made.site_upgrades) == ORDER
    assert {(each.old, each.new) for each in made.site_upgrades} == {(OLD, NEW)}
    assert "`./govcloud up shaoguan`" in made.site_upgrades[0].step_texts[1]


def test_at_the_target_there_is_nothing_to_do() -> None:
    estate = estate_at(default=NEW)
    made = upgrade.plan(estate, seen_at(estate), NEW)
    assert (made.site_upgrades, made.refusals, made.needed) == ((), (), False)


def test_a_begun_upgrade_goes_on_where_it_was() -> None:
    estate = estate_at(shaoguan=NEW)
    assert [each.site for each in upgrade.plan(estate, seen_at(estate), NEW).site_upgrades] == ["futian", "nanshan"]


def test_a_version_that_nothing_builds_is_wrong_use() -> None:
    with pytest.raises(WrongUse, match=r"1\.38\.0") as caught:
        upgrade.plan(estate_at(), seen_at(estate_at()), "1.38.0")
    assert OLD in caught.value.next_step


def test_never_back_and_never_two_minors_at_once() -> None:
    newer = estate_at(futian=NEW)
    assert rules(upgrade.plan(newer, seen_at(newer), OLD)) == ["never to an older version"]
    older = estate_at(default="1.35.9")
    made = upgrade.plan(older, seen_at(older), NEW)
    assert rules(made) == ["one minor at a time"] * 3
    assert made.refusals[0].remedy == "upgrade to 1.36 first"
    assert not made.site_upgrades


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (lambda s: with_site(s, "nanshan", ready=False), "nanshan: not ready"),
        (lambda s: with_member(s, "nanshan", running=False), "nanshan-data1: not streaming"),
        (lambda s: replace(s, clusters=s.clusters[1:]), "futian: its cluster does not answer"),
        (lambda s: replace(s, clusters=(view("futian", NEW), *s.clusters[1:])), f"runs {NEW}, not {OLD}"),
        (
            lambda s: replace(s, clusters=(view("futian", OLD, nodes=()), *s.clusters[1:])),
            "futian-kube1: is not a node",
        ),
        (
            lambda s: replace(
                s,
                clusters=(
                    view("futian", OLD, nodes=(NodeView(host="futian-kube1", version=OLD, ready=False),)),
                    *s.clusters[1:],
                ),
            ),
            "futian-kube1: is not ready",
        ),
        (lambda s: replace(s, clusters=(view("futian", OLD, pods_ready=1), *s.clusters[1:])), "1 of 2 pods are ready"),
        (
            lambda s: replace(s, clusters=(view("futian", OLD, absent=("bureau/web",)), *s.clusters[1:])),
            "futian: the Deployment bureau/web is not there, `./govcloud up platform` makes it",
        ),
    ],
)
def test_an_unhealthy_start_is_refused(spoilt: Callable[[Observed], Observed], words: str) -> None:
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
    """An estate whose sites become what they are brought to, but for the one that breaks."""

    breaks: str = ""
    now: dict[str, str] = field(default_factory=lambda: dict.fromkeys(ORDER, OLD))
    brought: list[str] = field(default_factory=list)

    def observe(self) -> Observed:
        estate = estate_at(**self.now)
        broken = {self.breaks: view(self.breaks, NEW, pods_ready=0)} if self.breaks in self.brought else {}
        return seen_at(estate, **broken)

    def deploy(self, site: str, version: str) -> None:
        self.brought.append(site)
        self.now[site] = version


def execute_steps(fake_estate: FakeEstate, folder: Path) -> None:
    estate = estate_at()
    made = upgrade.plan(estate, fake_estate.observe(), NEW)
    for step in upgrade.steps(made, estate, fake_estate.observe, fake_estate.deploy):
        run_step(step, Journal(folder), Clock())


def test_the_runner_of_failover_carries_it_out(tmp_path: Path) -> None:
    fake_estate = FakeEstate()
    execute_steps(fake_estate, tmp_path)
    assert tuple(fake_estate.brought) == ORDER
    assert set(fake_estate.now.values()) == {NEW}
    assert Journal(tmp_path).open_undos() == ()


def test_a_site_that_does_not_get_well_stops_the_upgrade_there(tmp_path: Path) -> None:
    fake_estate = FakeEstate(breaks="futian")
    with pytest.raises(CheckFailed, match="0 of 2 pods are ready"):
        execute_steps(fake_estate, tmp_path)
    assert fake_estate.brought == ["shaoguan", "futian"]
    assert fake_estate.now["nanshan"] == OLD


def carried_out(fake_estate: FakeEstate, home: Path, said: list[str]) -> upgrade.UpgradeResult:
    estate = estate_at()
    made = upgrade.plan(estate, fake_estate.observe(), NEW)
    return upgrade.execute(
        made, estate, fake_estate.observe, fake_estate.deploy, home, on_event=said.append, clock=Clock()
    )


def test_every_site_is_told_when_it_begins_and_when_all_is_well(tmp_path: Path) -> None:
    said: list[str] = []
    done = carried_out(FakeEstate(), tmp_path, said)
    assert tuple(done.seconds) == ORDER
    assert done.as_json()["changed"] is True
    assert [words.split()[0] for words in said] == [site for site in ORDER for _ in range(2)]
    assert (tmp_path / "moves/journal.jsonl").is_file()


def test_what_stops_an_upgrade_is_told_with_the_way_on(tmp_path: Path) -> None:
    fake_estate = FakeEstate(breaks="shaoguan")
    with pytest.raises(CheckFailed, match="0 of 2 pods are ready") as caught:
        carried_out(fake_estate, tmp_path, [])
    assert fake_estate.brought == ["shaoguan"]
    assert "./govcloud up SITE" in caught.value.next_step


def test_no_drill_begins_in_an_upgrade_and_no_upgrade_in_a_drill(tmp_path: Path) -> None:
    fake_estate = FakeEstate()
    with lock.held(tmp_path, "site-loss"), pytest.raises(Locked, match="site-loss"):
        carried_out(fake_estate, tmp_path, [])
    assert fake_estate.brought == []


def test_at_the_target_nothing_is_changed(tmp_path: Path) -> None:
    fake_estate = FakeEstate(now=dict.fromkeys(ORDER, NEW))
    made = upgrade.plan(estate_at(default=NEW), fake_estate.observe(), NEW)
    done = upgrade.execute(
        made, estate_at(default=NEW), fake_estate.observe, fake_estate.deploy, tmp_path, clock=Clock()
    )
    assert done.as_json() == {"target": NEW, "changed": False, "seconds": {}}


def test_a_gate_before_a_site_is_asked_when_its_turn_comes(tmp_path: Path) -> None:
    """What was well when the plan was made may be ill by then."""
    fake_estate, estate = FakeEstate(), estate_at()
    first, second, _ = upgrade.steps(
        upgrade.plan(estate, fake_estate.observe(), NEW), estate, fake_estate.observe, fake_estate.deploy
    )
    run_step(first, Journal(tmp_path), Clock())
    fake_estate.now["shaoguan"] = OLD
    with pytest.raises(CheckFailed, match=f"shaoguan: its API server runs {OLD}, not {NEW}"):
        run_step(second, Journal(tmp_path), Clock())
    assert fake_estate.brought == ["shaoguan"]


def node(name: str, ready: str) -> dict[str, Any]:
    status = {"conditions": [{"type": "Ready", "status": ready}], "nodeInfo": {"kubeletVersion": f"v{OLD}"}}
    return {"kind": "Node", "metadata": {"name": name}, "status": status}


def deployment(place: str, wanted: int, generation: int = 3, **status: int) -> dict[str, Any]:
    namespace, name = place.split("/")
    metadata = {"namespace": namespace, "name": name, "generation": generation}
    found = {"observedGeneration": 3, **status}
    return {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": wanted}, "status": found}


@dataclass(frozen=True)
class Answer:
    """What kubectl says."""

    stdout: bytes
    returncode: int = 0
    stderr: bytes = b""


class Machines:
    """Futian's cluster answers, Nanshan's host is dark, Shaoguan's API server refuses."""

    def run(self, host: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> Answer:
        if host == "nanshan-kube1":
            raise HostUnreachable(f"{host} does not answer")
        if host == "shaoguan-kube1":
            return Answer(b"", returncode=1)
        if "--raw" in argv:
            return Answer(json.dumps({"gitVersion": f"v{OLD}"}).encode())
        deployments = [
            deployment(f"{SERVICE.bureau}/{SERVICE.name}", 2, readyReplicas=2, updatedReplicas=2),
            deployment("bureau/bureau-gateway", 2, readyReplicas=2, updatedReplicas=1),
            deployment("bureau/unseen", 1, generation=4, readyReplicas=1, updatedReplicas=1),
            deployment("bureau/crashing", 2),
            deployment("bureau/well", 1, readyReplicas=1, updatedReplicas=1),
        ]
        items = [node("futian-kube1", "True"), node("futian-kube2", "Unknown"), *deployments]
        return Answer(json.dumps({"items": items}).encode())


def with_gateway(estate: Estate) -> Estate:
    """With a bureau of the name `bureau` that has one."""
    first = estate.bureaus[0]
    way_in = Gateway(number=1, hosts={"a.bureau.govcloud": Backend(pods="web", port=8080)})
    return estate.model_copy(
        update={"bureaus": (*estate.bureaus, first.model_copy(update={"name": "bureau", "gateway": way_in}))}
    )


def test_a_bureaus_own_trouble_is_named_and_holds_up_nobody() -> None:
    estate, trouble = estate_at(), "bureau/crashing: 0 of 2 pods are ready"
    made = upgrade.plan(estate, seen_at(estate, futian=view("futian", OLD, others=(trouble,))), NEW)
    assert made.needed
    assert made.warnings == (f"futian: {trouble}",)
    assert made.as_json()["warnings"] == [f"futian: {trouble}"]


def test_a_cluster_is_read_from_its_own_api_server_and_one_that_is_dark_is_absent() -> None:
    """Of the pods the estate's own are counted: its services' and gateways'. The bureaus' are named."""
    assert clusters.cluster_views(with_gateway(estate_at()), Machines()) == (
        ClusterView(
            site="futian",
            version=OLD,
            nodes=(
                NodeView(host="futian-kube1", version=OLD, ready=True),
                NodeView(host="futian-kube2", version=OLD, ready=False),
            ),
            pods_ready=3,
            pods_wanted=4,
            others=("bureau/unseen: 0 of 1 pods are ready", "bureau/crashing: 0 of 2 pods are ready"),
        ),
    )


@pytest.mark.parametrize("scaled", [1, 0])
def test_what_the_estate_declares_counts_and_not_what_is_left_of_it(scaled: int) -> None:
    """Somebody has deleted the service's Deployment, or scaled the gateway's: all pods that are there are ready."""
    estate = with_gateway(estate_at())
    left = deployment("bureau/bureau-gateway", scaled, readyReplicas=scaled, updatedReplicas=scaled)
    items = [node("futian-kube1", "True"), left]
    seen = clusters.read(estate, "futian", {"gitVersion": f"v{OLD}"}, {"items": items})
    assert (seen.pods_ready, seen.pods_wanted) == (scaled, 4)
    assert seen.absent == (f"{SERVICE.bureau}/{SERVICE.name}",)
    assert seen.others == ()
