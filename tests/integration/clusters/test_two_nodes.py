"""A site with two nodes: pods on both, and each node's pods reach those of the other one through the service."""

from __future__ import annotations

import json

import pytest
import workload as pods
from kubernetes_nodes import KubernetesNodes

from playbooks.render.kubernetes.cluster import image_reference

pytestmark = pytest.mark.nightly

NODES = 2
ASK = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).status)"


@pytest.fixture(scope="module")
def both(nodes: KubernetesNodes) -> KubernetesNodes:
    """Both nodes' roles are applied, the control plane's host first: the other one joins it."""
    for host in nodes.hosts:
        nodes.apply(host)
    return nodes


def test_both_nodes_run_pods_that_reach_each_other_through_the_service(both: KubernetesNodes) -> None:
    """In both families, and pod by pod: what goes through the service may stay on the node by chance."""
    both.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=60s")
    nodes = json.loads(both.kubectl("get", "nodes", "-o", "json"))["items"]
    assert {node["metadata"]["name"] for node in nodes} == {host.name for host in both.hosts}
    image, *_ = pods.push(both)
    both.kubectl("apply", "-f", "-", stdin=pods.workload(image_reference(image.name, image.digest)))
    both.kubectl("rollout", "status", "-n", "bureau", "deployment/approval", "--timeout=90s")
    found = json.loads(both.kubectl("get", "pods", "-n", "bureau", "-o", "json"))["items"]
    assert {pod["spec"]["nodeName"] for pod in found} == {host.name for host in both.hosts}
    (service,) = json.loads(both.kubectl("get", "services", "-n", "bureau", "-o", "json"))["items"]
    ips = [ip for pod in found for ip in (entry["ip"] for entry in pod["status"]["podIPs"])]
    asked = [*((ip, 80) for ip in service["spec"]["clusterIPs"]), *((ip, pods.PORT) for ip in ips)]
    urls = [f"http://{f'[{ip}]' if ':' in ip else ip}:{port}/healthz" for ip, port in asked]
    for pod in found:
        for url in urls:
            say = ("exec", "-n", "bureau", pod["metadata"]["name"], "--", "/usr/bin/python3", "-c", ASK, url)
            for _ in range(4):
                assert both.kubectl(*say).strip() == "200", (pod["metadata"]["name"], url)
