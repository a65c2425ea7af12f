"""Decisions about rollbacks: when a new version is given up, and whether there is a version to restore."""

from __future__ import annotations

from typing import Any

import pytest

from stacks.providers.kubernetes import readiness
from stacks.providers.kubernetes.readiness import Failed, Ready, Related, Waiting, judge
from stacks.providers.kubernetes.rollback import previous_version

ASKED = {"govcloud/roll-back": "true"}
OLD, NEW = "5d9", "77c"


def inputs(image: str, annotations: dict[str, str] | None = None, kind: str = "Deployment") -> dict[str, Any]:
    metadata = {"name": "web", "annotations": ASKED if annotations is None else annotations}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {"image": image}}


def live(reason: str, generation: int = 2, **status: Any) -> dict[str, Any]:
    """Return a Deployment of three pods whose controller has observed generation 2."""
    progress = {"type": "Progressing", "status": "True", "reason": reason, "lastUpdateTime": "10:00"}
    found = inputs("web:1")
    found["metadata"] = {**found["metadata"], "uid": "u1", "generation": generation}
    return {**found, "spec": {"replicas": 3}, "status": {"observedGeneration": 2, "conditions": [progress], **status}}


ROLLING = live("ReplicaSetUpdated", updatedReplicas=1, replicas=4, availableReplicas=3)
COMPLETE = live("NewReplicaSetAvailable")


def pod(version: str, reason: str, restarts: int = 0) -> dict[str, Any]:
    container = {"name": "main", "image": "web:2", "restartCount": restarts, "state": {"waiting": {"reason": reason}}}
    metadata = {"name": f"web-{version}", "labels": {"pod-template-hash": version}}
    status = {"phase": "Pending", "containerStatuses": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


def related(found: dict[str, Any], absent: int = 0) -> Related:
    return Related(pods=[found], newest=NEW, absent={f"web-{NEW}": absent})


def test_a_completely_ready_version_is_restored() -> None:
    assert previous_version(inputs("web:2"), inputs("web:1"), COMPLETE) == inputs("web:1")


@pytest.mark.parametrize(
    ("new", "former", "before"),
    [
        pytest.param(inputs("web:2", {}), inputs("web:1"), COMPLETE, id="not asked for"),
        pytest.param(inputs("web:2", {"govcloud/roll-back": "no"}), inputs("web:1"), COMPLETE, id="forbidden"),
        pytest.param(inputs("web:2", kind="StatefulSet"), inputs("web:1"), COMPLETE, id="of another kind"),
        pytest.param(inputs("web:2"), {}, COMPLETE, id="nothing known before"),
        pytest.param(inputs("web:2"), inputs("web:1"), None, id="deleted outside this program"),
        pytest.param(inputs("web:2"), inputs("web:2"), COMPLETE, id="the same version again"),
        pytest.param(inputs("web:2"), inputs("web:1"), ROLLING, id="never ready itself"),
        pytest.param(inputs("web:2"), inputs("web:1"), live("NewReplicaSetAvailable", 3), id="changed just now"),
    ],
)
def test_there_is_no_rollback_without_a_better_version(new: Any, former: Any, before: Any) -> None:
    assert previous_version(new, former, before) is None


@pytest.mark.parametrize(
    ("found", "absent", "given_up"),
    [
        (pod(NEW, "CrashLoopBackOff", 2), 0, False),
        (pod(NEW, "CrashLoopBackOff", 3), 0, True),
        (pod(NEW, "ImagePullBackOff"), 0, False),
        (pod(NEW, "ImagePullBackOff"), 1, False),
        (pod(NEW, "ImagePullBackOff"), 2, True),
        (pod(NEW, "ErrImagePull"), 2, True),
        (pod(NEW, "InvalidImageName"), 0, True),
        (pod(NEW, "CreateContainerConfigError"), 0, False),
        (pod(NEW, "ContainerCreating"), 2, False),
        (pod(OLD, "CrashLoopBackOff", 9), 0, False),
    ],
)
def test_a_new_version_fails_early_if_it_can_never_become_ready(
    found: dict[str, Any], absent: int, given_up: bool
) -> None:
    """Pods of the previous version do not count: the new version may be their repair."""
    verdict = judge(ROLLING, related(found, absent))
    assert isinstance(verdict, Failed if given_up else Waiting)
    if given_up:
        assert verdict.reason.startswith(f"its new version is given up: pod web-{NEW}: ")


def test_only_deployments_with_rollback_fail_early() -> None:
    """All others may recover by themselves, and their authors rely on the wait."""
    unasked = {**ROLLING, "metadata": {**ROLLING["metadata"], "annotations": {}}}
    assert isinstance(judge(unasked, related(pod(NEW, "CrashLoopBackOff", 9))), Waiting)


def test_a_version_that_was_ready_once_may_crash_any_number_of_times() -> None:
    """A node that was powered off has restarted its containers too."""
    unwell = live("NewReplicaSetAvailable", updatedReplicas=3, replicas=3, availableReplicas=1)
    assert isinstance(judge(unwell, related(pod(NEW, "CrashLoopBackOff", 9))), Waiting)


def test_a_deadline_missed_by_the_previous_version_does_not_count_for_the_next() -> None:
    late = live("ProgressDeadlineExceeded", 3)
    missed = readiness.missed_deadline(late)
    seen = {**late, "status": {**late["status"], "observedGeneration": 3, "updatedReplicas": 1, "replicas": 4}}
    assert isinstance(judge(seen), Failed)
    assert isinstance(judge(seen, Related(deadline=missed)), Waiting)
    assert readiness.missed_deadline(live("ProgressDeadlineExceeded")) == {}
    done = live("NewReplicaSetAvailable", updatedReplicas=3, replicas=3, availableReplicas=3)
    assert isinstance(judge(done, Related(deadline=missed)), Ready)


def test_the_newest_pods_are_those_of_the_deployments_latest_revision() -> None:
    def replica_set(version: str, revision: str, owner: str = "u1") -> dict[str, Any]:
        annotations = {"deployment.kubernetes.io/revision": revision}
        labels = {"pod-template-hash": version}
        return {"metadata": {"labels": labels, "annotations": annotations, "ownerReferences": [{"uid": owner}]}}

    found = [replica_set(OLD, "9"), replica_set(NEW, "10"), replica_set("foreign", "11", "u2")]
    assert readiness.newest_version(readiness.owned(found, "u1")) == NEW
    assert readiness.newest_version([]) == ""


def test_only_the_registrys_own_refusal_counts_as_a_missing_image() -> None:
    def event(message: str, **more: Any) -> dict[str, Any]:
        return {"involvedObject": {"name": "web-1"}, "message": message, **more}

    absent = 'Failed to pull image "r/web@sha256:0": failed to resolve reference "r/web@sha256:0": not found'
    events = [
        event(absent),
        event(absent, count=2),
        event(absent, series={"count": 3}),
        event('Failed to pull image "r/web@sha256:0": dial tcp: connection refused', count=9),
        event("Error: ErrImagePull", count=9),
    ]
    assert readiness.absent_images(events) == {"web-1": 6}
