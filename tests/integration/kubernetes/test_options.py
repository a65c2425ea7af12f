"""Annotations that change how an object is ended or replaced, against real controllers."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from tests.integration.kubernetes.conftest import Declare, Desk
from tests.integration.kubernetes.test_life import POD, SKIP
from tests.polling import until

HELD = {"metadata": {"finalizers": ["govcloud.test/held"]}}
"""Keeps a ReplicaSet from going, so that it shows whether its Deployment has waited for it."""


def ending(desk: Desk, policy: str) -> Declare:
    """A Deployment that ends in a certain way; that it waits for its end is limited."""
    notes = {**SKIP, "pulumi.com/timeoutSeconds": "4"} | (
        {"pulumi.com/deletionPropagationPolicy": policy} if policy else {}
    )
    template = {"metadata": {"labels": {"app": "web"}}, "spec": POD}

    def declare(opts: pulumi.ResourceOptions) -> None:
        k8s.apps.v1.Deployment(
            "web",
            metadata={"name": "web", "namespace": desk.namespace, "annotations": notes},
            spec={"selector": {"matchLabels": {"app": "web"}}, "template": template},
            opts=opts,
        )

    return declare


def replica_set(desk: Desk) -> dict[str, Any]:
    """The Deployment's, or an empty one."""
    found = json.loads(desk.kubectl("get", "replicasets", "-o", "json"))["items"]
    return dict(found[0]) if found else {}


@pytest.mark.parametrize(
    ("policy", "waits", "ends", "owned"),
    [
        ("", True, True, True),
        ("Foreground", True, True, True),
        ("background", False, True, True),
        ("orphan", False, False, False),
    ],
)
def test_an_object_ends_as_its_annotation_says(desk: Desk, policy: str, waits: bool, ends: bool, owned: bool) -> None:
    """In the foreground it goes after all that it owns, in the background before, as an orphan's parent without it."""
    desk.up(ending(desk, policy))
    until("a ReplicaSet is there", lambda: replica_set(desk), 60)
    name = replica_set(desk)["metadata"]["name"]
    desk.kubectl("patch", "replicaset", name, "--type=merge", "-p", json.dumps(HELD))
    run = desk.up(lambda opts: None)
    assert [fault for fault in run.faults if "still there after 4 s" in fault] == run.faults[: int(waits)]
    assert (desk.kubectl("get", "deployments", "-o", "name") != "") == waits
    until("the ReplicaSet ends, or not", lambda: ("deletionTimestamp" in replica_set(desk)["metadata"]) == ends, 60)
    assert ("ownerReferences" in replica_set(desk)["metadata"]) == owned
    free = {"metadata": {"finalizers": None}}
    desk.kubectl("patch", "replicaset", name, "--type=merge", "-p", json.dumps(free))
    assert not desk.up(lambda opts: None).failed
    assert desk.kubectl("get", "deployments", "-o", "name") == ""


def test_a_way_to_end_that_there_is_not_is_refused(desk: Desk) -> None:
    """A word with a slip in it would end what was to be left behind."""
    refused = desk.preview(ending(desk, "orphaned"))
    assert "must be one of background, foreground, orphan" in refused.faults[0]


def job(desk: Desk, **notes: str) -> Declare:
    """A Job that starts no pods, so nothing but the test moves it."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        k8s.batch.v1.Job(
            "work",
            metadata={"name": "work", "namespace": desk.namespace, "annotations": {**SKIP, **notes}},
            spec={"parallelism": 0, "template": {"spec": {**POD, "restartPolicy": "Never"}}},
            opts=opts,
        )

    return declare


def test_a_job_that_has_not_done_its_work_is_replaced_where_that_is_asked_for(desk: Desk) -> None:
    """And only then; one that is done is left alone. It is looked at, whatever the state says."""
    replace = {"pulumi.com/replaceUnready": "true"}
    desk.up(job(desk))
    first = desk.uid("job", "work")
    assert set(desk.up(job(desk)).changed) == {"same"}
    desk.up(job(desk, **replace))
    assert desk.preview(job(desk, **replace)).changed["replace"] == 1
    assert desk.up(job(desk, **replace)).changed["replace"] == 1
    second = desk.uid("job", "work")
    assert second != first
    started = ("get", "job", "work", "-o", "jsonpath={.status.startTime}")
    until("the Job has started", lambda: desk.kubectl(*started), 60)
    done = {
        "status": {
            "completionTime": desk.kubectl(*started),
            "conditions": [
                {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": None, "reason": "Test"}
                for kind in ("SuccessCriteriaMet", "Complete")
            ],
        }
    }
    desk.kubectl("patch", "job", "work", "--subresource=status", "--type=merge", "-p", json.dumps(done))
    assert set(desk.preview(job(desk, **replace), refresh=False).changed) == {"same"}
    assert set(desk.up(job(desk, **replace)).changed) == {"same"}
    assert desk.uid("job", "work") == second


def test_what_is_no_job_is_not_replaced_and_that_is_told(desk: Desk) -> None:
    """As the official plugin has it."""
    place = {"name": "web", "namespace": desk.namespace, "annotations": {"pulumi.com/replaceUnready": "true", **SKIP}}

    def declare(opts: pulumi.ResourceOptions) -> None:
        k8s.core.v1.Pod("web", metadata=place, spec=POD, opts=opts)

    desk.up(declare)
    again = desk.up(declare)
    assert set(again.changed) == {"same"}
    assert any("is for Jobs" in line for line in again.said)
