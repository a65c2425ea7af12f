"""A deployed estate goes without a trace, whatever became of its processes, and comes back whole from its code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from estate import versions
from estate.edit import set_cluster_version
from lab.api import Lab
from stacks import state
from stacks.programs import stack_names
from tests.lab import pods_on_lab as pods
from tests.lab import traces
from tests.lab.citizens_on_lab import applying
from tests.lab.estate_on_lab import Hosts, govcloud, healthy, until_well
from workstation import paths

pytestmark = pytest.mark.lab

OLDER, NEWEST = versions.KUBERNETES
BEHIND = ("shaoguan", "futian")
"""Sites that the other clone deploys with the older Kubernetes, in the order in which they are upgraded."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another clone of the project, as another operator has it."""
    folder = tmp_path_factory.mktemp("another") / "clone"
    subprocess.run(["git", "clone", "-q", str(paths.repo()), str(folder)], check=True)
    return folder


def test_destroy_forgets_the_estate_and_takes_nothing_from_it(lab: Lab) -> None:
    """It asks first. Afterwards no stack has a resource; every decision and every daemon is still there."""
    hosts = Hosts(lab)
    until_well(120)
    rows = (
        "runuser",
        "-u",
        "postgres",
        "--",
        "psql",
        "-XAtq",
        "-d",
        "approval",
        "-c",
        "select count(*) from approval.application",
    )
    before = hosts.run("shaoguan-data1", *rows)
    assert int(before) > 0
    asked = govcloud("destroy")
    assert asked.code == 2
    assert "--yes" in asked.stderr
    done = govcloud("destroy", "--yes", "--json")
    assert done.code == 0, done.stderr
    assert sorted(done.report["destroyed"]) == sorted(stack_names(lab.estate))
    assert all(not state.resources(stack) for stack in stack_names(lab.estate))
    assert hosts.run("shaoguan-data1", *rows) == before
    assert healthy()


def test_killed_taken_down_and_deployed_again_by_another_clone(
    lab: Lab, bare_host: tuple[traces.Snapshot, frozenset[int], set[str]] | None, clone: Path
) -> None:
    """Every process of the lab is killed under the running estate. Another clone's `lab down` leaves the host as it was
    before; its `lab up` and `up` find nothing of the former instance in the way and deploy every stack."""
    traces.kill_everything()
    entry(clone, "lab", "down")
    if bare_host:
        traces.clean(*bare_host)
    entry(clone, "lab", "up")
    for site in BEHIND:
        set_cluster_version(site, OLDER, clone / "estate/data")
    done = entry(clone, "up", "--json")
    assert all(done["stacks"][stack] > 0 for stack in stack_names(lab.estate)), done["stacks"]
    until_well(120)


def test_clusters_go_to_the_next_version_site_by_site_while_citizens_apply(lab: Lab, clone: Path) -> None:
    """The command edits the estate and deploys it; in the end that declares what was committed. Nobody was refused."""
    hosts = Hosts(lab)
    assert running(hosts) == {c.site: OLDER if c.site in BEHIND else NEWEST for c in lab.estate.clusters}
    with applying(hosts):
        done = entry(clone, "upgrade", "kubernetes", "--to", NEWEST, "--apply", "--json")
    assert tuple(done["seconds"]) == BEHIND
    assert set(running(hosts).values()) == {NEWEST}
    changed = subprocess.run(["git", "-C", str(clone), "status", "--porcelain"], capture_output=True, check=True)
    assert not changed.stdout
    until_well(60)


def running(hosts: Hosts) -> Mapping[str, str]:
    """By site, the version that the cluster's API server runs and its nodes' kubelets, which are one."""
    found = {}
    for cluster in hosts.lab.estate.clusters:
        node = hosts.lab.estate.nodes_at(cluster.site)[0].name
        told = json.loads(pods.kubectl(hosts, node, "get", "--raw", "/version"))["gitVersion"]
        nodes = json.loads(pods.kubectl(hosts, node, "get", "nodes", "--output=json"))["items"]
        both = {told, *(item["status"]["nodeInfo"]["kubeletVersion"] for item in nodes)}
        found[cluster.site] = ", ".join(sorted(both)).removeprefix("v")
    return found


def entry(clone: Path, *argv: str) -> dict[str, Any]:
    """A command of the clone; its object where it answers with one."""
    done = subprocess.run([str(clone / "govcloud"), *argv], capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(json.loads(done.stdout)) if done.stdout else {}
