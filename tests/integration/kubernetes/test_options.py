"""Annotations that change the deletion or replacement of an object, tested with real controllers."""

from __future__ import annotations

import json
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from tests.integration.kubernetes.conftest import Declare, EngineSession
from tests.integration.kubernetes.test_life import POD, SKIP
from tests.polling import until

HELD = {"metadata": {"finalizers": ["govcloud.test/held"]}}
"""Finalizer that blocks the deletion of a ReplicaSet, to show whether its Deployment waits for it."""


def ending(session: EngineSession, policy: str) -> Declare:
    """Declare a Deployment with a deletion policy. The wait for its deletion is limited."""
    notes = {**SKIP, "pulumi.com/timeoutSeconds": "4"} | (
        {"pulumi.com/deletionPropagationPolicy": policy} if policy else {}
    )
    template = {"metadata": {"labels": {"app": "web"}}, "spec": POD}

    def declare(opts: pulumi.ResourceOptions) -> None:
        k8s.apps.v1.Deployment(
            "web",
            metadata={"name": "web", "namespace": session.namespace, "annotations": notes},
            spec={"selector": {"matchLabels": {"app": "web"}}, "template": template},
            opts=opts,
        )

    return declare


def replica_set(session: EngineSession) -> dict[str, Any]:
    """Return the Deployment's ReplicaSet; empty if there is none."""
    found = json.loads(session.kubectl("get", "replicasets", "-o", "json"))["items"]
    return dict(found[0]) if found else {}


@pytest.mark.parametrize(
    ("policy", "waits", "ends", "owned"),
    [
        ("", True, True, True),
        pytest.param("Foreground", True, True, True, marks=pytest.mark.nightly),
        ("background", False, True, True),
        pytest.param("orphan", False, False, False, marks=pytest.mark.nightly),
    ],
)
def test_an_object_is_deleted_by_its_annotated_policy(
    session: EngineSession, policy: str, waits: bool, ends: bool, owned: bool
) -> None:
    """Foreground: after its dependents. Background: before them. Orphan: without them."""
    session.up(ending(session, policy))
    until("a ReplicaSet is there", lambda: replica_set(session), 60)
    name = replica_set(session)["metadata"]["name"]
    session.kubectl("patch", "replicaset", name, "--type=merge", "-p", json.dumps(HELD))
    run = session.up(lambda opts: None)
    assert [error for error in run.errors if "still there after 4 s" in error] == run.errors[: int(waits)]
    assert (session.kubectl("get", "deployments", "-o", "name") != "") == waits
    until("the ReplicaSet ends, or not", lambda: ("deletionTimestamp" in replica_set(session)["metadata"]) == ends, 60)
    assert ("ownerReferences" in replica_set(session)["metadata"]) == owned
    free = {"metadata": {"finalizers": None}}
    session.kubectl("patch", "replicaset", name, "--type=merge", "-p", json.dumps(free))
    assert not session.up(lambda opts: None).failed
    assert session.kubectl("get", "deployments", "-o", "name") == ""


def test_an_unknown_deletion_policy_is_refused(session: EngineSession) -> None:
    """With a typing error, dependents that should stay would be deleted."""
    refused = session.preview(ending(session, "orphaned"))
    assert "must be one of background, foreground, orphan" in refused.errors[0]


def job(session: EngineSession, **notes: str) -> Declare:
    """Declare a Job that starts no pods, so that only the test changes it."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        k8s.batch.v1.Job(
            "work",
            metadata={"name": "work", "namespace": session.namespace, "annotations": {**SKIP, **notes}},
            spec={"parallelism": 0, "template": {"spec": {**POD, "restartPolicy": "Never"}}},
            opts=opts,
        )

    return declare


@pytest.mark.nightly
def test_an_unfinished_job_is_replaced_if_its_annotation_requests_it(session: EngineSession) -> None:
    """A completed Job is not replaced. The provider reads the live Job and does not rely on the state."""
    replace = {"pulumi.com/replaceUnready": "true"}
    session.up(job(session))
    first = session.uid("job", "work")
    assert set(session.up(job(session)).changed) == {"same"}
    session.up(job(session, **replace))
    assert session.preview(job(session, **replace)).changed["replace"] == 1
    assert session.up(job(session, **replace)).changed["replace"] == 1
    second = session.uid("job", "work")
    assert second != first
    started = ("get", "job", "work", "-o", "jsonpath={.status.startTime}")
    until("the Job has started", lambda: session.kubectl(*started), 60)
    done = {
        "status": {
            "completionTime": session.kubectl(*started),
            "conditions": [
                {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": None, "reason": "Test"}
                for kind in ("SuccessCriteriaMet", "Complete")
            ],
        }
    }
    session.kubectl("patch", "job", "work", "--subresource=status", "--type=merge", "-p", json.dumps(done))
    assert set(session.preview(job(session, **replace), refresh=False).changed) == {"same"}
    assert set(session.up(job(session, **replace)).changed) == {"same"}
    assert session.uid("job", "work") == second


def test_other_kinds_are_not_replaced_and_a_message_reports_it(session: EngineSession) -> None:
    """The official plugin does the same."""
    place = {
        "name": "web",
        "namespace": session.namespace,
        "annotations": {"pulumi.com/replaceUnready": "true", **SKIP},
    }

    def declare(opts: pulumi.ResourceOptions) -> None:
        k8s.core.v1.Pod("web", metadata=place, spec=POD, opts=opts)

    session.up(declare)
    again = session.up(declare)
    assert set(again.changed) == {"same"}
    assert any("is for Jobs" in line for line in again.said)
