"""The approval service's pods at one site, as the stack declares them."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi.runtime.rpc import is_rpc_secret

from estate.addressing import plan
from estate.loader import load
from stacks.components import tenancy
from stacks.components.promised_service import PromisedService, workload_args
from tests.unit.playbooks.clusters import secrets_of, switched_on
from tests.unit.stacks.declared import Recorded, declare

ESTATE = switched_on(load())
IMAGE = "registry.govcloud/approval@sha256:" + "1" * 64


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    """The registrations of one site's service."""

    def program() -> None:
        provider = k8s.Provider("there", kubeconfig="{}")
        secrets = pulumi.Output.secret(secrets_of(ESTATE))
        args = workload_args(ESTATE, plan(ESTATE), ESTATE.service("approval"), "nanshan", IMAGE, secrets)
        there = pulumi.ResourceOptions(provider=provider)
        namespace = k8s.core.v1.Namespace("namespace", metadata={"name": "human-resources"}, opts=there)
        PromisedService("approval", args, pulumi.ResourceOptions(provider=provider, depends_on=[namespace]))

    return declare(program, "platform")


def template(recorded: Recorded) -> dict[str, Any]:
    """The pods' template. One annotation of it is made from a secret, so the whole is wrapped as a secret here."""
    spec = recorded.inputs("approval-deployment")["spec"]
    return dict((spec["value"] if is_rpc_secret(spec) else spec)["template"])


def pod(recorded: Recorded) -> dict[str, Any]:
    """The pods' container."""
    return dict(template(recorded)["spec"]["containers"][0])


def test_the_ingress_forwards_to_the_service_address(recorded: Recorded) -> None:
    """The address is rendered for the ingress and declared for the service, from one address plan."""
    from playbooks.render import ingress

    spec = recorded.inputs("approval-service")["spec"]
    assert spec["clusterIPs"] == ["10.192.32.11", "fd64:c10d:4::2:b"]
    (port,) = spec["ports"]
    config = ingress.config_text(ESTATE, plan(ESTATE), ESTATE.host("nanshan-kube1"))
    assert f"    server pods {spec['clusterIPs'][0]}:{port['port']:.0f} " in config


def test_all_objects_are_in_the_bureaus_namespace_and_depend_on_it(recorded: Recorded) -> None:
    """They are in the site's cluster, with priority over pods of services that are not promised."""
    names = [name for name in recorded.requests if name.startswith("approval-")]
    assert len(names) == 6
    for name in names:
        assert "::there::" in recorded.requests[name].provider
        assert recorded.inputs(name)["metadata"]["namespace"] == ESTATE.service("approval").bureau
        assert "namespace" in recorded.depends_on(name)
    assert template(recorded)["spec"]["priorityClassName"] == tenancy.PROMISED


def test_probes_do_not_depend_on_the_database(recorded: Recorded) -> None:
    """They only check the process. The edge checks whether the site can serve requests."""
    for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
        assert pod(recorded)[probe]["httpGet"]["path"] == "/healthz"


def test_replicas_and_resources_come_from_the_estate(recorded: Recorded) -> None:
    """Replicas are declared by site."""
    wanted = ESTATE.service("approval").pods
    spec = recorded.inputs("approval-deployment")["spec"]
    assert (spec["value"] if is_rpc_secret(spec) else spec)["replicas"] == wanted.replicas["nanshan"]
    resources = pod(recorded)["resources"]
    assert resources["requests"] == {"cpu": f"{wanted.cpus * 1000:.0f}m", "memory": f"{wanted.memory_mib}Mi"}


def test_the_database_password_is_only_in_a_secret(recorded: Recorded) -> None:
    """Pods receive it as PGPASSWORD, the variable that libpq reads."""
    assert "password of approval_app" not in str(pod(recorded))
    assert recorded.is_secret("approval-secrets", "stringData")
    (entry,) = [one for one in pod(recorded)["env"] if one["name"] == "PGPASSWORD"]
    assert entry["valueFrom"]["secretKeyRef"]["name"] == recorded.inputs("approval-secrets")["metadata"]["name"]


def test_a_pod_finds_the_database_on_its_own_node_and_knows_the_estates_authority(recorded: Recorded) -> None:
    """Each node has an ingress. The name in the certificate shows which member may be primary."""
    env = {one["name"]: one for one in pod(recorded)["env"]}
    assert env["NODE_IP"]["valueFrom"]["fieldRef"]["fieldPath"] == "status.hostIP"
    assert "hostaddr=$(NODE_IP) port=5432" in env["APPROVAL_WRITE_DSN"]["value"]
    assert list(env).index("NODE_IP") < list(env).index("APPROVAL_WRITE_DSN")
    (mount,) = [one for one in pod(recorded)["volumeMounts"] if one["mountPath"] == "/etc/govcloud/pki/ca.crt"]
    assert mount["readOnly"] is True
    assert "authority" in str(recorded.inputs("approval-files")["data"])
