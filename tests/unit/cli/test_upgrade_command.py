"""`upgrade`: its plan, its actions with --apply, and all its exit codes.

Estate, edit, plan, gates, runner and locks are real. Hosts and the engine are replaced by `World`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from estate import loader
from estate.model import Estate
from failover import lock as moves
from failover.upgrade import declared_versions
from monitors.collectors import Observation
from monitors.collectors.kubernetes import TenantDeployment
from operations.upgrade import declare_version
from stacks.state import lock as deployments
from tests.unit.cli.command_result import Call
from tests.unit.failover.observations import cluster
from tests.unit.failover.test_journal import Clock
from tests.unit.failover.test_upgrade import NEW, OLD, ORDER, estate_at, seen_at
from workstation.errors import GovcloudError

COMMAND = ("upgrade", "kubernetes", "--to", NEW)


@dataclass
class World:
    """Clusters that get the declared version when `up` deploys their site. `acts` has all actions in order."""

    home: Path
    now: dict[str, str] = field(default_factory=lambda: dict.fromkeys(ORDER, OLD))
    acts: list[str] = field(default_factory=list)
    sick: str = ""
    """A site whose pods are not ready after its upgrade."""
    broken: str = ""
    """A site whose `up` fails."""
    others: tuple[TenantDeployment, ...] = ()

    @property
    def declared(self) -> dict[str, str]:
        """The versions in the estate's file, by site."""
        return declared_versions(loader.load())

    def snapshot(self) -> Observation:
        """Return an observation of clusters that run the versions in `now`."""
        ill = {self.sick: cluster(self.sick, NEW, pods_ready=0)} if self.now.get(self.sick) == NEW else {}
        odd = (
            {"nanshan": cluster("nanshan", self.now["nanshan"], incomplete_tenants=self.others)} if self.others else {}
        )
        return seen_at(estate_at(**self.now), **ill, **odd)

    def up(self, estate: Estate, stacks: Sequence[str], **options: Any) -> None:
        """Replace `stacks.runs.engine.up`, which acquires its own lock."""
        (stack,) = stacks
        self.acts.append(f"up {stack}")
        (self.home / "state").mkdir(parents=True, exist_ok=True)
        with deployments.acquire("govcloud upgrade"):
            if stack == self.broken:
                raise GovcloudError(f"{stack}-kube1: it does not start", "see its journal")
            self.now |= {stack: declared_versions(estate)[stack]} if stack in self.now else {}


@pytest.fixture
def world(call: Call, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """All sites declare and run the old version."""
    found = World(home)
    data = tmp_path / "data"
    shutil.copytree(loader.DATA, data)
    monkeypatch.setattr(loader, "DATA", data)
    for site in ORDER:
        declare_version(site, OLD)
    monkeypatch.setattr("cli.upgrade.need_root", lambda what: None)
    monkeypatch.setattr("cli.upgrade.into_namespace", lambda estate: None)
    monkeypatch.setattr("operations.deploy.images", lambda estate, stacks, on_event: ())
    monkeypatch.setattr("operations.adapters.observer", lambda estate, tenants: found)
    monkeypatch.setattr("failover.upgrade.SystemClock", Clock)
    monkeypatch.setattr("stacks.runs.engine.up", found.up)
    monkeypatch.setattr("tools.setup.run", lambda groups, before_lab: found.acts.append("build"))
    return found


def test_without_apply_the_plan_is_shown_but_not_executed(call: Call, world: World) -> None:
    """Exit 0. The plan lists site by site, as text and as JSON."""
    done = call(*COMMAND)
    assert done.code == 0
    at = [done.stderr.index(f"`./govcloud up {site}`") for site in ORDER]
    assert at == sorted(at)
    assert "add --apply to act" in done.stderr
    planned = call(*COMMAND, "--json").document
    assert [move["site"] for move in planned["moves"]] == list(ORDER)
    assert (planned["target"], planned["refusals"]) == (NEW, [])
    assert world.acts == []
    assert set(world.declared.values()) == {OLD}


def test_with_apply_each_site_is_declared_and_upgraded_and_the_platform_comes_last(call: Call, world: World) -> None:
    """Exit 0. The version is built before the first change. The operator commits the estate's file."""
    done = call(*COMMAND, "--apply", "--json")
    assert done.code == 0
    assert world.acts == ["build", *(f"up {site}" for site in ORDER), "up platform"]
    assert set(world.declared.values()) == set(world.now.values()) == {NEW}
    assert done.document["changed"] is True
    assert list(done.document["seconds"]) == list(ORDER)
    assert "commit estate/data/kubernetes.yaml" in done.stderr


def test_at_the_target_only_the_rest_of_an_interrupted_run_is_done(call: Call, world: World) -> None:
    """Exit 0, with and without --apply."""
    for site in ORDER:
        declare_version(site, NEW)
        world.now[site] = NEW
    done = call(*COMMAND)
    assert (done.code, world.acts) == (0, [])
    assert f"all clusters run {NEW}: nothing to do" in done.stderr
    done = call(*COMMAND, "--apply", "--json")
    assert (done.code, world.acts) == (0, ["build", "up platform"])
    assert done.document["changed"] is False
    assert "commit" not in done.stderr


def test_a_bureaus_own_problem_is_reported_without_a_wait(call: Call, world: World) -> None:
    world.others = (TenantDeployment(namespace="tax", name="web", ready=0, wanted=2),)
    done = call(*COMMAND, "--apply")
    assert done.code == 0
    assert "not waited for: nanshan: tax/web: 0 of 2 pods are ready" in done.stderr


def test_an_unknown_version_is_wrong_use(call: Call, world: World) -> None:
    """Exit 2 before anything is built."""
    done = call("upgrade", "kubernetes", "--to", "1.38.0", "--apply", "--json")
    assert done.code == done.document["exit_code"] == 2
    assert OLD in done.stderr
    assert world.acts == []


def make_sick(world: World) -> None:
    world.sick, world.now["futian"] = "futian", NEW
    declare_version("futian", NEW)


def make_newer(world: World) -> None:
    for site in ORDER:
        declare_version(site, NEW)
        world.now[site] = NEW


@pytest.mark.parametrize("apply", [(), ("--apply",)], ids=["plan", "apply"])
@pytest.mark.parametrize(
    ("to", "make", "rule", "remedy"),
    [
        (
            NEW,
            make_sick,
            "all sites must be well: approval · futian: has fewer ready pods than it wants (0/2)",
            "repair it first",
        ),
        (OLD, make_newer, "never to an older version", "going back is a decision of its own"),
    ],
    ids=["ill", "older"],
)
def test_a_refusal_gives_the_rule_and_the_next_step(
    call: Call,
    world: World,
    apply: tuple[str, ...],
    to: str,
    make: Callable[[World], None],
    rule: str,
    remedy: str,
) -> None:
    """Exit 6 with and without --apply. Standard output has one object, and nothing is changed."""
    make(world)
    before = world.declared
    done = call("upgrade", "kubernetes", "--to", to, *apply, "--json")
    assert done.code == done.document["exit_code"] == 6
    assert rule in done.document["error"]
    assert remedy in done.document["next_step"]
    assert not any(act.startswith("up") for act in world.acts)
    assert world.declared == before


def test_a_failed_gate_ends_the_upgrade(call: Call, world: World) -> None:
    """Exit 1. The error has the site and its problem. Later sites are not changed, and nothing is rolled back."""
    world.sick = "futian"
    done = call(*COMMAND, "--apply", "--json")
    assert done.code == done.document["exit_code"] == 1
    assert "approval · futian: has fewer ready pods than it wants (0/2)" in done.document["error"]
    assert "`./govcloud up SITE`" in done.document["next_step"]
    assert world.acts == ["build", "up shaoguan", "up futian"]
    assert world.declared == {"shaoguan": NEW, "futian": NEW, "nanshan": OLD}


def test_a_failed_up_ends_the_upgrade_and_the_same_command_continues_after_the_repair(call: Call, world: World) -> None:
    """Exit 1 with the error of `up`. The declaration is ahead of the cluster until `up` of that site succeeds."""
    world.broken = "futian"
    done = call(*COMMAND, "--apply", "--json")
    assert done.code == done.document["exit_code"] == 1
    assert "futian-kube1: it does not start" in done.document["error"]
    assert world.declared["futian"] == NEW != world.now["futian"]
    assert call(*COMMAND, "--apply").code == 6
    world.broken = ""
    world.up(loader.load(), ["futian"])
    world.acts.clear()
    assert call(*COMMAND, "--apply").code == 0
    assert world.acts == ["build", "up nanshan", "up platform"]


@pytest.mark.parametrize("holder", ["drill site-loss at futian", "upgrade of Kubernetes to 1.37.2"])
def test_no_upgrade_starts_while_a_drill_or_another_upgrade_runs(call: Call, world: World, holder: str) -> None:
    """Exit 8 with the name of the lock's holder."""
    with moves.held(world.home, holder):
        done = call(*COMMAND, "--apply", "--json")
    assert done.code == done.document["exit_code"] == 8
    assert f"{holder}, process {os.getpid()}" in done.stderr
    assert world.acts == ["build"]
    assert set(world.declared.values()) == {OLD}


def test_a_running_deployment_stops_the_upgrade_before_the_first_site(call: Call, world: World) -> None:
    """Exit 8. No cluster changes. The first site's declaration is ahead; the next step is `up` of that site."""
    (world.home / "state").mkdir(parents=True)
    with deployments.acquire("govcloud up"):
        done = call(*COMMAND, "--apply", "--json")
    assert done.code == 8
    assert set(world.now.values()) == {OLD}


def test_without_root_the_upgrade_is_refused_before_anything_is_built(call: Call) -> None:
    done = call(*COMMAND, "--apply", "--json")
    assert done.code == 1
    assert "upgrade needs root; nothing was changed" in done.stderr
    assert json.loads(done.stdout)["next_step"]
