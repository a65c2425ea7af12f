"""A bureau's gateway in pods on a real node: it terminates TLS, and a new certificate loses no request."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import kubernetes_nodes
import pulumi
import pulumi_kubernetes as k8s
import pytest
from kubernetes_nodes import KubernetesNodes
from pulumi.runtime.rpc import is_rpc_secret

from lab.command import network_of
from playbooks import pki
from playbooks.render.kubernetes.cluster import REGISTRY_PORT, image_reference
from stacks.components.gateway import Gateway, GatewayArgs, Route
from stacks.components.pods import labels_of
from stacks.providers import registry
from tests.integration.clusters.workload import PORT, workload
from tests.polling import until
from tests.unit.stacks.declared import declare
from tools.oci import build

pytestmark = pytest.mark.nightly

HOST, NAMESPACE, NAME = "records.planning.govcloud", "bureau", "bureau-gateway"
CITIZENS = """
while ! test -e /tmp/enough; do
    curl -s -f -o /dev/null -m 10 --cacert /tmp/ca.crt --resolve {host}:443:{address} https://{host}/healthz &&
    echo yes || echo no
done
"""


@pytest.fixture(scope="module")
def references(nodes: KubernetesNodes) -> dict[str, str]:
    """The node's cluster is up, and its registry has the images of a workload and of HAProxy."""
    nodes.apply(nodes.first)
    operator = nodes.secrets.certificates["operator"]
    there = registry.Registry(
        url=f"https://{nodes.plan.management(nodes.first.name)}:{REGISTRY_PORT}",
        host=nodes.first.name,
        authority=nodes.secrets.authority,
        cert=operator.cert,
        key=operator.key,
    )
    made = [build.build(name) for name in ("approval", "haproxy")]
    with network_of(Path("/run/netns") / kubernetes_nodes.OPERATOR):
        for image in made:
            registry.push(there, image)
    return {image.name: image_reference(image.name, image.digest) for image in made}


def objects(reference: str, bundle: str, behind: str, front: tuple[str, str]) -> list[Any]:
    """Return the objects that the component declares."""

    def program() -> None:
        service = k8s.core.v1.Service(
            "behind",
            metadata={"name": "behind", "namespace": NAMESPACE},
            spec={"selector": {"app": "approval"}, "clusterIP": behind, "ports": [{"port": PORT, "targetPort": PORT}]},
        )
        route = Route(host=HOST, service=service, port=PORT)
        wanted = GatewayArgs(
            namespace=NAMESPACE,
            image=reference,
            routes=(route,),
            bundle=pulumi.Output.secret(bundle),
            cluster_ips=front,
        )
        Gateway(NAME, wanted)

    recorded = declare(program, "platform")
    found = [recorded.inputs(name) for name, request in recorded.requests.items() if request.custom]
    return [{key: value["value"] if is_rpc_secret(value) else value for key, value in one.items()} for one in found]


class Gate:
    """On the node, with certificates of its own authority."""

    def __init__(self, nodes: KubernetesNodes, references: dict[str, str]) -> None:
        self.nodes, self.references = nodes, references
        own = nodes.plan.clusters[kubernetes_nodes.SITE].cluster_ips
        self.behind, self.address = str(own.ipv4[210]), str(own.ipv4[202])
        self.front = (self.address, str(own.ipv6[202]))
        key, cert = pki.new_authority("estate", 2)
        self.authority = pki.Authority(key=key, cert=cert)
        nodes.text(nodes.first, "tee", "/tmp/ca.crt", stdin=cert.encode())

    def renew(self) -> None:
        """Apply it with another certificate, and wait until its pods serve with that."""
        key, cert = pki.issue(self.authority, NAME, [HOST], 1, ["server"])
        made = objects(self.references["haproxy"], cert + key, self.behind, self.front)
        self.nodes.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, made)))
        self.nodes.kubectl("rollout", "status", "-n", NAMESPACE, f"deployment/{NAME}", "--timeout=90s")

    def ask(self, host: str) -> str:
        """Return status and body of a citizen's request from the node."""
        return self.nodes.run(
            self.nodes.first, "curl", "-s", "-m", "5", "-w", "%{http_code}", "--cacert", "/tmp/ca.crt", "-H",
            f"Host: {host}", "--resolve", f"{HOST}:443:{self.address}", f"https://{HOST}/healthz",
        ).stdout.decode()  # fmt: skip


@pytest.fixture(scope="module")
def gate(nodes: KubernetesNodes, references: dict[str, str]) -> Iterator[Gate]:
    """Yield a ready gateway in front of a workload of two pods."""
    made = Gate(nodes, references)
    nodes.kubectl("apply", "-f", "-", stdin=workload(references["approval"]))
    made.renew()
    nodes.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/approval", "--timeout=90s")
    yield made
    print(nodes.kubectl("logs", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=" + NAME, "--tail=20"))


def test_a_citizen_reaches_the_gateway_only_by_its_name(gate: Gate) -> None:
    until("the workload answers through it", lambda: gate.ask(HOST).endswith("200"), 20)
    assert "host_unknown" in gate.ask("tea.planning.govcloud")
    used = gate.nodes.kubectl("get", "pods", "-n", NAMESPACE, "-o", "json", "-l", f"app.kubernetes.io/name={NAME}")
    assert labels_of(NAME)["app.kubernetes.io/name"] in used
    assert gate.nodes.run(gate.nodes.first, "curl", "-s", f"http://{gate.address}:443/").returncode != 0


def test_a_new_certificate_and_a_killed_pod_fail_no_request(gate: Gate) -> None:
    """The gateway's pods roll one by one, and one of the workload's pods is killed."""
    nodes = gate.nodes
    asking = CITIZENS.format(host=HOST, address=gate.address)
    nodes.text(nodes.first, "rm", "-f", "/tmp/enough")
    with ThreadPoolExecutor(2) as pool:
        citizens = [pool.submit(nodes.run, nodes.first, "sh", "-c", asking, timeout_s=120) for _ in range(2)]
        try:
            gate.renew()
            gone = nodes.kubectl("get", "pods", "-n", NAMESPACE, "-l", "app=approval", "-o", "name").split()[0]
            nodes.kubectl("delete", "-n", NAMESPACE, gone, "--force", "--grace-period=0")
            nodes.kubectl("rollout", "status", "-n", NAMESPACE, "deployment/approval", "--timeout=90s")
            serving = ("get", "pods", "-n", NAMESPACE, "-l", f"app.kubernetes.io/name={NAME}", "-o", "name")
            until("the pods of before are gone", lambda: len(nodes.kubectl(*serving).split()) == 2, 40)
        finally:
            nodes.text(nodes.first, "touch", "/tmp/enough")
        answers = [line for one in citizens for line in one.result().stdout.decode().split()]
    print(f"{len(answers)} requests")
    assert len(answers) > 50
    assert answers.count("no") == 0
