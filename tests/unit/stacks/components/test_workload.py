"""The objects of a workload: one name, pods without access to others, and changes that roll the pods."""

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
    """A workload `desk` that depends on another object."""

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
    recorded = declared()
    names = [name for name in recorded.requests if name.startswith("desk-")]
    assert len(names) == 6
    for name in names:
        metadata = recorded.inputs(name)["metadata"]
        assert (metadata["labels"]["app.kubernetes.io/name"], metadata["namespace"]) == ("desk", "records")
        assert metadata["name"] == "desk" or name in ("desk-files", "desk-secrets")
        assert "::there::" in recorded.requests[name].provider


def test_all_objects_depend_on_the_dependencies_of_the_workload() -> None:
    """Pulumi does not pass `depends_on` to children. Pods also depend on the objects that they read."""
    recorded = declared()
    names = [name for name in recorded.requests if name.startswith("desk-")]
    assert all("first" in recorded.depends_on(name) for name in names)
    assert {"desk-account", "desk-files", "desk-secrets"} < recorded.depends_on("desk-deployment")
    assert "desk-deployment" in recorded.depends_on("desk-service")


@pytest.mark.parametrize(
    ("changed", "kind"),
    [({"files": {"/etc/desk/ca.crt": "another"}}, "files"), ({"secrets": {"PASSWORD": "another"}}, "secrets")],
)
def test_each_content_of_files_and_secrets_is_a_separate_object(changed: dict[str, Any], kind: str) -> None:
    """So only a new content rolls the pods, and pods of the previous version still find their object."""
    first, again, other = (declared(args) for args in (ARGS, ARGS, replace(ARGS, **changed)))
    names = [one.inputs(f"desk-{kind}")["metadata"]["name"] for one in (first, again, other)]
    assert names[0] == names[1] != names[2]
    assert pod(first) == pod(again) != pod(other)
    assert [name in str(pod(one)) for name, one in zip(names, (first, again, other), strict=True)] == [True] * 3
    assert names[0] not in str(pod(other))
    assert other.inputs(f"desk-{kind}")["immutable"] is True


def test_files_and_secrets_carry_the_label_of_their_workload() -> None:
    """By this label the provider keeps them as long as a rollback may need them. Their names are not secret."""
    recorded = declared()
    for name in ("desk-files", "desk-secrets"):
        assert recorded.inputs(name)["metadata"]["labels"][VERSION_OF] == "desk"
        assert not recorded.is_secret(name, "metadata")


def test_secret_texts_are_only_in_the_secret() -> None:
    """Pods refer to the Secret, and its content is marked as secret."""
    recorded = declared()
    assert "hunter2" not in str(pod(recorded))
    assert "hunter2" in str(recorded.inputs("desk-secrets"))
    assert recorded.is_secret("desk-secrets", "stringData")


def test_plain_variables_come_after_the_variables_that_they_refer_to() -> None:
    """The kubelet resolves `$(NAME)` only from earlier variables."""
    names = [entry["name"] for entry in pod(declared())["spec"]["containers"][0]["env"]]
    assert names == ["NODE", "PASSWORD", "DSN"]


def test_the_status_of_a_crashed_pod_contains_the_end_of_its_log() -> None:
    """Otherwise the operator would only see the exit code."""
    assert pod(declared())["spec"]["containers"][0]["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_files_do_not_change_under_a_running_pod() -> None:
    """Each file is mounted separately, with a key that is valid in a ConfigMap."""
    mounts = pod(declared())["spec"]["containers"][0]["volumeMounts"]
    assert mounts[0] == {
        "name": "files",
        "mountPath": "/etc/desk/ca.crt",
        "subPath": "etc__desk__ca.crt",
        "readOnly": True,
    }
    assert set(declared().inputs("desk-files")["data"]) == {"etc__desk__ca.crt"}


def test_fixed_addresses_are_of_both_families() -> None:
    """The first one is the Service's primary address."""
    spec = declared().inputs("desk-service")["spec"]
    assert (spec["clusterIP"], spec["ipFamilies"]) == ("10.192.16.10", ["IPv4", "IPv6"])
    assert spec["ipFamilyPolicy"] == "RequireDualStack"


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"image": "registry.govcloud/desk:1"}, "has no digest"),
        ({"min_available": 2}, "it must be less"),
        ({"drain_s": 15}, "is killed after 15 s"),
        ({"files": {"ca.crt": "x"}}, "not an absolute path"),
    ],
)
def test_invalid_arguments_are_refused(wrong: dict[str, Any], words: str) -> None:
    """They are refused before any object is declared."""
    with pytest.raises(ValueError, match=words):
        replace(ARGS, **wrong)
