"""A version that does not become ready goes, and the one before comes back by itself: in the cluster and in the state.

There is no node, so a version without pods is ready and one with a pod never is.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pulumi
import pulumi_kubernetes as k8s

from stacks.providers.kubernetes.objects import ROLL_BACK
from tests.integration.kubernetes.conftest import Declare, Desk, Flight

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
    told = [line for line in failed.said if "the version before is put back" in line]
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
    assert any("the run was cancelled" in fault and "was put back, but not waited" in fault for fault in ended.faults)
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
    assert "the version before could not be put back: another manager owns fields" in failed.faults[0]
    assert 'conflict with "scaler"' in failed.faults[0]
    assert "run the same command with the version before" in failed.faults[0]
    assert (deployed(desk), recorded(desk)) == ("2 x5", "2 x1")
