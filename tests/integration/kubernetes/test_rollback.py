"""A version that does not become ready goes, and the one before comes back by itself: in the cluster and in the state.

There is no node, so a version without pods is ready and one with a pod never is.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pulumi
import pulumi_kubernetes as k8s

from stacks.components.workload import Probe, Resources, Workload, WorkloadArgs
from stacks.providers.kubernetes.objects import ROLL_BACK, VERSION_OF
from tests.integration.kubernetes.conftest import Declare, Desk, Flight

IMAGE = "registry.invalid/desk@sha256:" + "0" * 64
Start = Callable[[Declare, str], Flight]


def version(desk: Desk, number: int, good: bool, within_s: int = 3) -> Declare:
    """A Deployment that asks for the way back."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        annotations = {ROLL_BACK: "true", "pulumi.com/timeoutSeconds": str(within_s)}
        container = {"name": "web", "image": f"registry.invalid/web:{number}"}
        k8s.apps.v1.Deployment(
            "web",
            metadata={"name": "web", "namespace": desk.namespace, "annotations": annotations},
            spec={
                "replicas": 0 if good else 1,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
            },
            opts=opts,
        )

    return declare


def deployed(desk: Desk) -> str:
    """The version in the cluster, and its pods."""
    spec = json.loads(desk.kubectl("get", "deployment", "web", "-o", "json"))["spec"]
    return f"{spec['template']['spec']['containers'][0]['image'].rpartition(':')[2]} x{spec['replicas']}"


def recorded(desk: Desk) -> str:
    """The same from the state, where the object was recorded as it was left."""
    spec = desk.resources()["web"]["outputs"]["__inputs"]["spec"]
    return f"{spec['template']['spec']['containers'][0]['image'].rpartition(':')[2]} x{int(spec['replicas'])}"


def test_a_bad_version_is_rolled_back_and_the_next_runs_go_on_from_the_one_before(desk: Desk) -> None:
    """The operator sees the reason and that the version before is back; nothing is left to put right."""
    desk.up(version(desk, 1, good=True))
    failed = desk.up(version(desk, 2, good=False))
    assert "web: not ready after 3 s: 0 of 1 pods are ready: pod web-" in failed.faults[0]
    assert "the version before is back, and all its pods are ready" in failed.faults[0]
    told = [line for line in failed.said if "rolling back to the version before" in line]
    assert told, failed.said
    assert (deployed(desk), recorded(desk)) == ("1 x0", "1 x0")
    assert "initErrors" not in desk.resources()["web"]
    assert desk.drift() == {}
    again = desk.up(version(desk, 1, good=True))
    assert (set(again.changed), again.faults) == ({"same"}, [])
    mended = desk.up(version(desk, 3, good=True))
    assert (mended.changed["update"], mended.faults) == (1, [])
    assert (deployed(desk), recorded(desk)) == ("3 x0", "3 x0")


def test_without_a_version_that_was_ready_nothing_is_rolled_back(desk: Desk) -> None:
    """A first version stays for its author to see, and so does the second try: the first was no better."""
    first = desk.up(version(desk, 1, good=False))
    assert "not ready after 3 s" in first.faults[0]
    second = desk.up(version(desk, 2, good=False))
    assert "not ready after 3 s" in second.faults[0]
    assert "version before" not in first.faults[0] + second.faults[0]
    assert (deployed(desk), recorded(desk)) == ("2 x1", "2 x1")


def test_a_cancelled_change_of_version_is_taken_back(desk: Desk, in_flight: Start) -> None:
    """At once, and told: nobody has seen the new one ready."""
    desk.up(version(desk, 1, good=True))
    flight = in_flight(version(desk, 2, good=False, within_s=600), "0 of 1")
    desk.kill(signal.SIGINT)
    ended = flight.result(60)
    assert any("the run was cancelled" in fault and "was started, but not waited" in fault for fault in ended.faults)
    assert (deployed(desk), recorded(desk)) == ("1 x0", "1 x0")
    assert desk.up(version(desk, 1, good=True)).changed.keys() == {"same"}


def test_a_way_back_that_is_barred_is_told_with_what_stands_there(desk: Desk, in_flight: Start) -> None:
    """The state then holds what the cluster holds: the new version."""
    desk.up(version(desk, 1, good=True))
    flight = in_flight(version(desk, 2, good=False, within_s=8), "0 of 1")
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 5}}
    words = ("apply", "--server-side", "--force-conflicts", "--field-manager=scaler", "-f", "-")
    desk.kubectl(*words, stdin=json.dumps(theirs))
    failed = flight.result(120)
    assert "not ready after 8 s" in failed.faults[0]
    assert "the rollback to the version before failed: another manager owns fields" in failed.faults[0]
    assert 'conflict with "scaler"' in failed.faults[0]
    assert "run the same command with the version before" in failed.faults[0]
    assert (deployed(desk), recorded(desk)) == ("2 x5", "2 x1")


def workload(desk: Desk, text: str, good: bool = True) -> Declare:
    """A workload whose pods read the text from a file, and from a secret one."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        args = WorkloadArgs(
            namespace=desk.namespace,
            image=IMAGE,
            replicas=0 if good else 1,
            resources=Resources(cpu_millis=1, memory_mib=1),
            port=80,
            ready=Probe(path="/"),
            files={"/etc/desk": text},
            secrets={"PASSWORD": text},
            ready_within_s=3,
        )
        Workload("desk", args, opts)

    return declare


def read_by_pods(desk: Desk) -> str:
    """The content of the ConfigMap that the deployed version refers to."""
    path = "jsonpath={.spec.template.spec.volumes[0].configMap.name}"
    name = desk.kubectl("get", "deployment", "desk", "-o", path)
    return desk.kubectl("get", "configmap", name, "-o", "jsonpath={.data.etc__desk}")


def kept(desk: Desk, kind: str) -> int:
    """How many contents the cluster holds of the kind."""
    return len(desk.kubectl("get", kind, "-l", f"{VERSION_OF}=desk", "-o", "name").split())


def test_a_version_that_is_rolled_back_finds_the_settings_it_had(desk: Desk) -> None:
    """Also when the run after it goes back to them: what the state would end is what the version before reads."""
    assert not desk.up(workload(desk, "first")).failed
    assert "the version before is back" in desk.up(workload(desk, "second", good=False)).faults[0]
    assert read_by_pods(desk) == "first"
    assert desk.drift() == {}
    back = desk.up(workload(desk, "first"))
    assert back.faults == []
    assert back.changed.get("update", 0) == 0, back.diffs
    assert read_by_pods(desk) == "first"
    assert (kept(desk, "configmap"), kept(desk, "secret")) == (2, 2)
    assert set(desk.up(workload(desk, "first")).changed) == {"same"}
    assert desk.drift() == {}


def test_settings_go_with_the_last_version_that_reads_them(desk: Desk) -> None:
    """And all of them with the workload."""
    for number in range(7):
        assert not desk.up(workload(desk, f"version {number}")).failed
    assert read_by_pods(desk) == "version 6"
    # Three versions of before in the Deployment's history; its controller ends older ones when it comes to it.
    assert 4 <= kept(desk, "configmap") == kept(desk, "secret") <= 5
    assert not desk.up(lambda opts: None).failed
    assert (kept(desk, "configmap"), kept(desk, "secret")) == (0, 0)
