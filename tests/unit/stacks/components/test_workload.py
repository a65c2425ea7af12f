"""What a workload declares: one name, pods that keep to themselves, and a change that rolls them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from stacks.components.workload import Probe, Resources, ServiceSpec, Workload, WorkloadArgs
from stacks.providers.kubernetes.objects import VERSION_OF
from tests.unit.stacks.declared import Recorded, declare

ARGS = WorkloadArgs(
    namespace="records",
    image="registry.govcloud/desk@sha256:" + "0" * 64,
    replicas=2,
    resources=Resources(cpu_millis=100, memory_mib=64),
    port=8080,
    ready=Probe(path="/healthz"),
    environment={"DSN": "hostaddr=$(NODE) password=$(PASSWORD)"},
    secrets={"PASSWORD": "hunter2hunter2"},
    fields={"NODE": "status.hostIP"},
    files={"/etc/desk/ca.crt": "a certificate"},
    service=ServiceSpec(port=80, cluster_ips=("10.192.16.10", "fd64:c10d:4::1:10")),
)


def declared(args: WorkloadArgs = ARGS) -> Recorded:
    """A workload `desk` that waits for another object."""

    def program() -> None:
        provider = k8s.Provider("there", kubeconfig="{}")
        first = k8s.core.v1.ConfigMap(
            "first", metadata={"name": "first"}, opts=pulumi.ResourceOptions(provider=provider)
        )
        Workload("desk", args, opts=pulumi.ResourceOptions(provider=provider, depends_on=[first]))

    return declare(program, "platform")


def pod(recorded: Recorded) -> dict[str, Any]:
    """The pods' template."""
    return dict(recorded.inputs("desk-deployment")["spec"]["template"])


def test_every_object_has_the_workloads_name_namespace_and_provider() -> None:
    """So that they are found, and are where they are meant to be."""
    recorded = declared()
    made = [name for name in recorded.requests if name.startswith("desk-")]
    assert len(made) == 6
    for name in made:
        metadata = recorded.inputs(name)["metadata"]
        assert (metadata["labels"]["app.kubernetes.io/name"], metadata["namespace"]) == ("desk", "records")
        assert metadata["name"] == "desk" or name in ("desk-files", "desk-secrets")
        assert "::there::" in recorded.requests[name].provider


def test_everything_waits_for_what_the_workload_was_told_to_wait_for() -> None:
    """Pulumi does not hand that down; and pods come after what they read."""
    recorded = declared()
    made = [name for name in recorded.requests if name.startswith("desk-")]
    assert all("first" in recorded.depends_on(name) for name in made)
    assert {"desk-account", "desk-files", "desk-secrets"} < recorded.depends_on("desk-deployment")
    assert "desk-deployment" in recorded.depends_on("desk-service")


@pytest.mark.parametrize(
    ("changed", "kind"),
    [({"files": {"/etc/desk/ca.crt": "another"}}, "files"), ({"secrets": {"PASSWORD": "another"}}, "secrets")],
)
def test_what_pods_read_is_an_object_of_its_own_for_each_content(changed: dict[str, Any], kind: str) -> None:
    """So pods are rolled by another content and by nothing else, and those of before still find theirs."""
    first, again, other = (declared(args) for args in (ARGS, ARGS, replace(ARGS, **changed)))
    names = [one.inputs(f"desk-{kind}")["metadata"]["name"] for one in (first, again, other)]
    assert names[0] == names[1] != names[2]
    assert pod(first) == pod(again) != pod(other)
    assert [name in str(pod(one)) for name, one in zip(names, (first, again, other), strict=True)] == [True] * 3
    assert names[0] not in str(pod(other))
    assert other.inputs(f"desk-{kind}")["immutable"] is True


def test_the_objects_that_pods_read_say_whose_versions_they_are() -> None:
    """By that the provider keeps them as long as one of those may come back; their names are no secret."""
    recorded = declared()
    for name in ("desk-files", "desk-secrets"):
        assert recorded.inputs(name)["metadata"]["labels"][VERSION_OF] == "desk"
        assert not recorded.is_secret(name, "metadata")


def test_no_secret_stands_outside_the_secret() -> None:
    """Pods refer to it, and the Secret's content is marked as one."""
    recorded = declared()
    assert "hunter2" not in str(pod(recorded))
    assert "hunter2" in str(recorded.inputs("desk-secrets"))
    assert recorded.is_secret("desk-secrets", "stringData")


def test_plain_settings_come_after_what_they_refer_to() -> None:
    """The kubelet fills `$(NAME)` from what stands before only."""
    names = [entry["name"] for entry in pod(declared())["spec"]["containers"][0]["env"]]
    assert names == ["NODE", "PASSWORD", "DSN"]


def test_a_pod_that_crashes_says_why_by_its_last_words() -> None:
    """Nothing else would reach the operator than the exit code."""
    assert pod(declared())["spec"]["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_files_do_not_change_under_a_running_pod() -> None:
    """Each is mounted by itself, from a key that a ConfigMap may have."""
    mounts = pod(declared())["spec"]["containers"][0]["volumeMounts"]
    assert mounts[0] == {
        "name": "files",
        "mountPath": "/etc/desk/ca.crt",
        "subPath": "etc__desk__ca.crt",
        "readOnly": True,
    }
    assert set(declared().inputs("desk-files")["data"]) == {"etc__desk__ca.crt"}


def test_fixed_addresses_are_of_both_families() -> None:
    """The first is the Service's own."""
    spec = declared().inputs("desk-service")["spec"]
    assert (spec["clusterIP"], spec["ipFamilies"]) == ("10.192.16.10", ["IPv4", "IPv6"])
    assert spec["ipFamilyPolicy"] == "RequireDualStack"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"image": "registry.govcloud/desk:1"}, "has no digest"),
        ({"min_available": 2}, "it must be less"),
        ({"drain_s": 15}, "is ended after 15 s"),
        ({"files": {"ca.crt": "x"}}, "no absolute path"),
    ],
)
def test_what_could_not_work_is_refused(wrong: dict[str, Any], words: str) -> None:
    """Before anything is declared."""
    with pytest.raises(ValueError, match=words):
        replace(ARGS, **wrong)
