"""A version that does not become ready is rolled back automatically, in the cluster and in the state.

There is no node, so a version without pods is ready and one with a pod never is.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable

import pulumi
import pulumi_kubernetes as k8s
import pytest

from stacks.components.workload import Probe, Resources, Workload, WorkloadArgs
from stacks.providers.kubernetes.objects import ROLL_BACK, VERSION_OF
from tests.integration.kubernetes.conftest import BackgroundRun, Declare, EngineSession

IMAGE = "registry.invalid/session@sha256:" + "0" * 64
Start = Callable[[Declare, str], BackgroundRun]


def version(session: EngineSession, number: int, good: bool, within_s: int = 3) -> Declare:
    """Declare a Deployment that requests a rollback."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        annotations = {ROLL_BACK: "true", "pulumi.com/timeoutSeconds": str(within_s)}
        container = {"name": "web", "image": f"registry.invalid/web:{number}"}
        k8s.apps.v1.Deployment(
            "web",
            metadata={"name": "web", "namespace": session.namespace, "annotations": annotations},
            spec={
                "replicas": 0 if good else 1,
                "selector": {"matchLabels": {"app": "web"}},
                "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
            },
            opts=opts,
        )

    return declare


def deployed(session: EngineSession) -> str:
    """Return the version in the cluster and its number of pods."""
    spec = json.loads(session.kubectl("get", "deployment", "web", "-o", "json"))["spec"]
    return f"{spec['template']['spec']['containers'][0]['image'].rpartition(':')[2]} x{spec['replicas']}"


def recorded(session: EngineSession) -> str:
    """Return the same from the state."""
    spec = session.resources()["web"]["outputs"]["__inputs"]["spec"]
    return f"{spec['template']['spec']['containers'][0]['image'].rpartition(':')[2]} x{int(spec['replicas'])}"


def test_a_bad_version_is_rolled_back_and_the_next_runs_continue_from_the_previous_version(
    session: EngineSession,
) -> None:
    """The operator sees the reason and that the previous version is back. Nothing remains to be repaired."""
    session.up(version(session, 1, good=True))
    failed = session.up(version(session, 2, good=False))
    assert "web: not ready after 3 s: 0 of 1 pods are ready: pod web-" in failed.errors[0]
    assert "the previous version is back, and all its pods are ready" in failed.errors[0]
    told = [line for line in failed.said if "rolling back to the previous version" in line]
    assert told, failed.said
    assert (deployed(session), recorded(session)) == ("1 x0", "1 x0")
    assert "initErrors" not in session.resources()["web"]
    assert session.drift() == {}
    again = session.up(version(session, 1, good=True))
    assert (set(again.changed), again.errors) == ({"same"}, [])
    mended = session.up(version(session, 3, good=True))
    assert (mended.changed["update"], mended.errors) == (1, [])
    assert (deployed(session), recorded(session)) == ("3 x0", "3 x0")


@pytest.mark.nightly
def test_without_a_version_that_was_ready_there_is_no_rollback(session: EngineSession) -> None:
    """A first version stays so that its author can inspect it. A second attempt stays too: the first was no better."""
    first = session.up(version(session, 1, good=False))
    assert "not ready after 3 s" in first.errors[0]
    second = session.up(version(session, 2, good=False))
    assert "not ready after 3 s" in second.errors[0]
    assert "previous version" not in first.errors[0] + second.errors[0]
    assert (deployed(session), recorded(session)) == ("2 x1", "2 x1")


def test_a_cancelled_change_of_version_is_rolled_back(session: EngineSession, in_flight: Start) -> None:
    """At once, with a message: the new version was never ready."""
    session.up(version(session, 1, good=True))
    run = in_flight(version(session, 2, good=False, within_s=600), "0 of 1")
    session.kill(signal.SIGINT)
    ended = run.result(60)
    assert any("the run was cancelled" in error and "was started, but not waited" in error for error in ended.errors)
    assert (deployed(session), recorded(session)) == ("1 x0", "1 x0")
    assert session.up(version(session, 1, good=True)).changed.keys() == {"same"}


@pytest.mark.nightly
def test_a_failed_rollback_is_reported_with_the_declared_version(session: EngineSession, in_flight: Start) -> None:
    """The state then has the same version as the cluster: the new one."""
    session.up(version(session, 1, good=True))
    run = in_flight(version(session, 2, good=False, within_s=8), "0 of 1")
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 5}}
    words = ("apply", "--server-side", "--force-conflicts", "--field-manager=scaler", "-f", "-")
    session.kubectl(*words, stdin=json.dumps(theirs))
    failed = run.result(120)
    assert "not ready after 8 s" in failed.errors[0]
    assert "the rollback to the previous version failed: another manager owns fields" in failed.errors[0]
    assert 'conflict with "scaler"' in failed.errors[0]
    assert "run the same command with the previous version" in failed.errors[0]
    assert (deployed(session), recorded(session)) == ("2 x5", "2 x1")


def workload(session: EngineSession, text: str, good: bool = True) -> Declare:
    """Declare a workload whose pods read the text from a file and from a secret file."""

    def declare(opts: pulumi.ResourceOptions) -> None:
        args = WorkloadArgs(
            namespace=session.namespace,
            image=IMAGE,
            replicas=0 if good else 1,
            resources=Resources(cpu_millis=1, memory_mib=1),
            port=80,
            ready=Probe(path="/"),
            files={"/etc/session": text},
            secrets={"PASSWORD": text},
            ready_within_s=3,
        )
        Workload("session", args, opts)

    return declare


def read_by_pods(session: EngineSession) -> str:
    """Return the content of the ConfigMap that the deployed version refers to."""
    path = "jsonpath={.spec.template.spec.volumes[0].configMap.name}"
    name = session.kubectl("get", "deployment", "session", "-o", path)
    return session.kubectl("get", "configmap", name, "-o", "jsonpath={.data.etc__desk}")


def kept(session: EngineSession, kind: str) -> int:
    """Return the number of revision objects of the kind in the cluster."""
    return len(session.kubectl("get", kind, "-l", f"{VERSION_OF}=session", "-o", "name").split())


@pytest.mark.nightly
def test_a_restored_version_finds_its_old_settings(session: EngineSession) -> None:
    """Also if the next run returns to them: the state would delete the objects that the previous version reads."""
    assert not session.up(workload(session, "first")).failed
    assert "the previous version is back" in session.up(workload(session, "second", good=False)).errors[0]
    assert read_by_pods(session) == "first"
    assert session.drift() == {}
    back = session.up(workload(session, "first"))
    assert back.errors == []
    assert back.changed.get("update", 0) == 0, back.diffs
    assert read_by_pods(session) == "first"
    assert (kept(session, "configmap"), kept(session, "secret")) == (2, 2)
    assert set(session.up(workload(session, "first")).changed) == {"same"}
    assert session.drift() == {}


@pytest.mark.nightly
def test_settings_are_deleted_with_the_last_version_that_reads_them(session: EngineSession) -> None:
    """All of them are deleted with the workload."""
    for number in range(7):
        assert not session.up(workload(session, f"version {number}")).failed
    assert read_by_pods(session) == "version 6"
    # The Deployment's history has three earlier versions. Its controller deletes older ones later.
    assert 4 <= kept(session, "configmap") == kept(session, "secret") <= 5
    assert not session.up(lambda opts: None).failed
    assert (kept(session, "configmap"), kept(session, "secret")) == (0, 0)
