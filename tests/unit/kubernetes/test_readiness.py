"""Readiness of objects, and the reasons while they are not ready."""

from __future__ import annotations

from typing import Any

import pytest

from stacks.providers.kubernetes.readiness import READY, Failed, Ready, Related, Waiting, concerns, judge, waits

SKIP = {"annotations": {"pulumi.com/skipAwait": "true"}}


def obj(kind: str, api: str = "v1", /, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": api, "kind": kind, "metadata": {"name": "x", "generation": 2}, **fields}


def deployment(**status: Any) -> dict[str, Any]:
    return obj("Deployment", "apps/v1", spec={"replicas": 3}, status={"observedGeneration": 2, **status})


def pod(**status: Any) -> dict[str, Any]:
    return obj("Pod", status=status)


def stuck(reason: str, message: str = "", last: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a pod whose container waits with a reason."""
    container = {"name": "web", "image": "registry/web:9", "state": {"waiting": {"reason": reason, "message": message}}}
    return pod(
        phase="Pending",
        conditions=[{"type": "PodScheduled", "status": "True"}],
        containerStatuses=[{**container, "lastState": {"terminated": last} if last else {}}],
    )


def reason(verdict: object) -> str:
    assert isinstance(verdict, (Waiting, Failed)), verdict
    return verdict.reason


def condition(name: str, status: str = "True", **more: str) -> dict[str, str]:
    return {"type": name, "status": status, **more}


def test_a_kind_without_a_rule_is_ready_when_it_exists() -> None:
    assert judge(obj("ConfigMap")) == READY
    assert not waits(obj("ConfigMap"))


def test_the_annotation_skip_await_disables_waiting() -> None:
    assert judge({**deployment(), "metadata": SKIP}) == READY
    assert not waits({**deployment(), "metadata": SKIP})


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"observedGeneration": 1}, "the controller has not seen it"),
        ({"updatedReplicas": 1}, "1 of 3 new pods exist"),
        ({"updatedReplicas": 3, "replicas": 4, "availableReplicas": 3}, "1 old pods are still there"),
        ({"updatedReplicas": 3, "replicas": 3, "availableReplicas": 2}, "2 of 3 pods are ready"),
    ],
)
def test_a_rollout_goes_through_its_stages(status: dict[str, int], words: str) -> None:
    verdict = judge(deployment(**status))
    assert isinstance(verdict, Waiting)
    assert words in verdict.reason


def test_a_finished_rollout_is_ready() -> None:
    assert judge(deployment(updatedReplicas=3, replicas=3, availableReplicas=3)) == READY


def test_an_older_generations_numbers_do_not_count() -> None:
    """They belong to the previous version."""
    done = deployment(updatedReplicas=3, replicas=3, availableReplicas=3, observedGeneration=1)
    assert isinstance(judge(done), Waiting)


def test_an_exceeded_progress_deadline_fails_with_the_pods_reason() -> None:
    progress = condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="has timed out")
    related = Related(pods=[stuck("ImagePullBackOff", "not found")])
    verdict = judge(deployment(conditions=[progress]), related)
    assert isinstance(verdict, Failed)
    assert "has timed out" in verdict.reason
    assert "the image registry/web:9 cannot be fetched" in verdict.reason


def test_a_quota_that_prevents_pods_is_reported() -> None:
    refused = condition("ReplicaFailure", message='pods "x-1" is forbidden: exceeded quota: few')
    assert "exceeded quota: few" in reason(judge(deployment(conditions=[refused])))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (stuck("ImagePullBackOff", "no such host"), "the image registry/web:9 cannot be fetched (ImagePullBackOff: no"),
        (stuck("InvalidImageName"), "the image name registry/web:9 is not valid"),
        (stuck("CreateContainerConfigError", "secret absent"), "secret absent"),
        (
            stuck("CrashLoopBackOff", last={"exitCode": 3, "message": "start\nno database"}),
            "web starts and ends again and again, last with exit code 3 and the message: no database",
        ),
        (
            pod(conditions=[condition("PodScheduled", "False", message="0/3 nodes are available")]),
            "no node takes it: 0/3 nodes are available",
        ),
        (pod(), "no scheduler has handled it yet"),
    ],
)
def test_a_pods_problem_is_reported(found: dict[str, Any], words: str) -> None:
    verdict = judge(found)
    assert isinstance(verdict, Waiting)
    assert words in verdict.reason


def test_a_pod_that_has_failed_will_not_be_ready() -> None:
    ended = {"name": "job", "state": {"terminated": {"exitCode": 2, "message": "bad input"}}}
    verdict = judge(pod(phase="Failed", containerStatuses=[ended]))
    assert verdict == Failed("its container job ended with exit code 2 and the message: bad input")


def test_a_job_completes_or_fails_and_reports_its_progress() -> None:
    job = obj("Job", "batch/v1", spec={"completions": 4}, status={"succeeded": 1})
    assert "1 of 4 runs are done" in reason(judge(job))
    failed = condition("Failed", message="Job has reached the specified backoff limit")
    assert isinstance(judge({**job, "status": {"conditions": [failed]}}), Failed)
    assert judge({**job, "status": {"conditions": [condition("Complete")]}}) == READY


@pytest.mark.parametrize(
    ("spec", "slices", "ready"),
    [
        ({"selector": {"a": "b"}}, [], False),
        ({"selector": {"a": "b"}}, [{"endpoints": [{"conditions": {"ready": False}}]}], False),
        ({"selector": {"a": "b"}}, [{"endpoints": [{"conditions": {"ready": True}}]}], True),
        ({"selector": {"a": "b"}, "clusterIP": "None"}, [], True),
        ({"type": "ExternalName", "externalName": "x.gov.cn"}, [], True),
        ({}, [], True),
        ({"selector": {"a": "b"}, "type": "LoadBalancer"}, [{"endpoints": [{"conditions": {"ready": True}}]}], False),
    ],
)
def test_a_service_needs_a_ready_endpoint(spec: dict[str, Any], slices: list[Any], ready: bool) -> None:
    assert isinstance(judge(obj("Service", spec=spec), Related(slices=slices)), Ready) is ready


def test_a_claim_that_binds_with_its_first_pod_causes_no_wait() -> None:
    """The pod may depend on the claim, so the wait would never end."""
    claim = obj("PersistentVolumeClaim", status={"phase": "Pending"})
    assert isinstance(judge(claim), Waiting)
    assert judge(claim, Related(binding_mode="WaitForFirstConsumer")) == READY
    assert isinstance(judge({**claim, "status": {"phase": "Lost"}}), Failed)


def test_a_stateful_set_waits_for_the_new_revision() -> None:
    status = {"observedGeneration": 2, "readyReplicas": 3, "currentRevision": "a", "updateRevision": "b"}
    found = obj("StatefulSet", "apps/v1", spec={"replicas": 3}, status={**status, "updatedReplicas": 1})
    assert "1 of 3 pods have the new version" in reason(judge(found))
    assert judge({**found, "status": {**status, "currentRevision": "b"}}) == READY
    assert judge({**found, "spec": {"replicas": 3, "updateStrategy": {"type": "OnDelete"}}}) == READY


def test_a_daemon_set_counts_nodes() -> None:
    status = {"observedGeneration": 2, "desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 2}
    found = obj("DaemonSet", "apps/v1", spec={}, status=status)
    assert "ready on 2 of 3 nodes" in reason(judge(found))
    assert judge({**found, "status": {**status, "numberAvailable": 3}}) == READY


def test_a_definition_is_ready_when_it_is_served() -> None:
    assert isinstance(judge(obj("CustomResourceDefinition", "apiextensions.k8s.io/v1", status={})), Waiting)
    refused = {"conditions": [condition("NamesAccepted", "False", message="taken")]}
    assert isinstance(judge(obj("CustomResourceDefinition", "apiextensions.k8s.io/v1", status=refused)), Failed)
    served = {"conditions": [condition("Established")]}
    assert judge(obj("CustomResourceDefinition", "apiextensions.k8s.io/v1", status=served)) == READY


def test_a_quota_is_ready_when_it_is_counted() -> None:
    quota = obj("ResourceQuota", spec={"hard": {"memory": "1024Mi"}}, status={})
    assert isinstance(judge(quota), Waiting)
    assert judge({**quota, "status": {"hard": {"memory": "1Gi"}}}) == READY


@pytest.mark.parametrize(
    ("wish", "ready"),
    [
        ("condition=Ready", True),
        ("condition=Synced=False", True),
        ("condition=Synced", False),
        ("jsonpath={.status.phase}=Active", True),
        ("jsonpath={.status.phase}=Other", False),
        ("jsonpath={.status.absent}", False),
        ('["condition=Ready", "jsonpath={.status.count}=3"]', True),
    ],
)
def test_an_author_may_declare_the_wait_condition(wish: str, ready: bool) -> None:
    conditions = [condition("Ready"), condition("Synced", "False")]
    found = obj("Permit", "example.gov.cn/v1", status={"phase": "Active", "count": 3, "conditions": conditions})
    found["metadata"] = {"annotations": {"pulumi.com/waitFor": wish}}
    assert isinstance(judge(found), Ready) is ready


def test_an_invalid_wait_condition_fails_at_once() -> None:
    found = {**obj("Permit", "example.gov.cn/v1"), "metadata": {"annotations": {"pulumi.com/waitFor": "ready please"}}}
    assert "is invalid" in reason(judge(found))


@pytest.mark.parametrize(
    ("involved", "about"),
    [
        ({"kind": "Pod", "name": "web", "uid": "1"}, True),
        ({"kind": "Pod", "name": "web"}, True),
        ({"kind": "Pod", "name": "web-admin"}, False),
        ({"kind": "Service", "name": "web"}, False),
        ({"kind": "Pod", "name": "web", "uid": "0"}, False),
    ],
)
def test_a_warning_does_not_concern_objects_with_the_same_name_prefix(involved: dict[str, str], about: bool) -> None:
    """It is not about an earlier object of this name either."""
    found = {"kind": "Pod", "metadata": {"name": "web", "uid": "1"}}
    assert concerns({"involvedObject": involved}, found) is about
