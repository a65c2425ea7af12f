"""A node goes from one minor of Kubernetes to the next under load, by the roles: no pod ends and no request fails."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import kubernetes_nodes
import pytest
import workload as pods
from kubernetes_nodes import KubernetesNodes

from facts import ports
from monitors.collectors.kubernetes import Cluster
from monitors.observe.queries import observation_of, queries_of
from monitors.observe.ssh_session import AGENT, AGENT_COMMAND
from monitors.query import Reply, Target
from playbooks.render.kubernetes.cluster import image_reference
from tests.polling import until

pytestmark = pytest.mark.nightly

STARTS = kubernetes_nodes.OLD
RATE_PER_S = 20
LOAD = "govcloud-load"
LEDGER = f"/run/{LOAD}.json"
CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
UNITS = (*CONTROL_PLANE, "kubelet", "kube-proxy")
UNTOUCHED = ("kubernetes-etcd", "containerd")
"""Neither a running pod nor its data depends on what is replaced."""

ASK = """
import json, signal, sys, threading, time, urllib.request
rate, ledger, urls = float(sys.argv[1]), sys.argv[2], sys.argv[3:]
ended, asked, failed, lock = threading.Event(), [], [], threading.Lock()
signal.signal(signal.SIGTERM, lambda *_: ended.set())

def ask(url):
    began = time.monotonic()
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            answer.read()
    except OSError as error:
        with lock:
            failed.append("%.2f %s %s" % (began, url, error))

start, threads = time.monotonic(), []
while not ended.wait(max(0, start + len(asked) / rate - time.monotonic())):
    url = urls[len(asked) % len(urls)]
    asked.append(url)
    threads.append(threading.Thread(target=ask, args=(url,)))
    threads[-1].start()
seconds = time.monotonic() - start
for thread in threads:
    thread.join()
with open(ledger, "w") as out:
    json.dump({"asked": len(asked), "failed": failed, "seconds": seconds}, out)
"""
"""Open loop: a waiting request does not delay the next ones."""


@pytest.fixture(scope="module")
def old_nodes(nodes: KubernetesNodes) -> KubernetesNodes:
    """The old version's cluster with two pods that answer."""
    nodes.apply(nodes.first)
    image, *_ = pods.push(nodes)
    nodes.kubectl("apply", "-f", "-", stdin=pods.workload(image_reference(image.name, image.digest)))
    nodes.kubectl("rollout", "status", "-n", "bureau", "deployment/approval", "--timeout=90s")
    return nodes


@pytest.fixture
def addresses(old_nodes: KubernetesNodes) -> list[str]:
    """The service and each pod, in both families."""
    spec = json.loads(old_nodes.kubectl("get", "service", "-n", "bureau", "approval", "-o", "json"))["spec"]
    of_pods = [(entry["ip"], pods.PORT) for pod in running(old_nodes) for entry in pod["status"]["podIPs"]]
    named = [*((ip, 80) for ip in spec["clusterIPs"]), *of_pods]
    urls = [f"http://{f'[{ip}]' if ':' in ip else ip}:{port}/healthz" for ip, port in named]
    for url in urls:
        until(
            f"{url} answers",
            lambda at=url: old_nodes.run(old_nodes.first, "curl", "-fsS", "-m", "2", at).returncode == 0,
            20,
        )
    return urls


@pytest.fixture
def load(old_nodes: KubernetesNodes, addresses: list[str]) -> Iterator[None]:
    """Requests at a fixed rate, from now on."""
    nodes, first = old_nodes, old_nodes.first
    nodes.text(
        first, "systemd-run", f"--unit={LOAD}", "--quiet", "python3", "-c", ASK, str(RATE_PER_S), LEDGER, *addresses
    )
    yield
    nodes.run(first, "systemctl", "stop", LOAD)


def ended_load(nodes: KubernetesNodes) -> dict[str, Any]:
    """Return the results of the requests."""
    nodes.text(nodes.first, "systemctl", "stop", LOAD)
    return dict(json.loads(nodes.text(nodes.first, "cat", LEDGER)))


def running(nodes: KubernetesNodes) -> list[dict[str, Any]]:
    """The service's pods."""
    return list(json.loads(nodes.kubectl("get", "pods", "-n", "bureau", "-o", "json"))["items"])


def containers(nodes: KubernetesNodes) -> set[tuple[str, str, int]]:
    """Which containers there are: one that was restarted has another ID."""
    return {
        (pod["metadata"]["uid"], status["containerID"], status["restartCount"])
        for pod in running(nodes)
        for status in pod["status"]["containerStatuses"]
    }


def started(nodes: KubernetesNodes, unit: str) -> int:
    """When a unit was started last, in microseconds since the machine's start."""
    return int(nodes.text(nodes.first, "systemctl", "show", "-P", "ExecMainStartTimestampMonotonic", f"{unit}.service"))


def versions_of(nodes: KubernetesNodes) -> set[str]:
    """The versions of the API server and of each kubelet, as the gate of an upgrade observes them."""
    found = observed(nodes)
    assert [node.ready for node in found.node_list] == [True]
    assert found.incomplete_tenants == ()  # the workload here is a bureau's own, and all of it is ready
    return {found.version, *(node.version for node in found.node_list)}


def observed(nodes: KubernetesNodes) -> Cluster:
    """The cluster as the monitors' agent on its host reads it."""
    wanted = queries_of(Target(estate=nodes.estate, plan=nodes.plan, host=nodes.first, tenants=True))
    own = {name: query for name, query in wanted.items() if query.get("port") == ports.KUBERNETES_API}
    lines = (AGENT.read_text(encoding="utf-8") + "\n\nserve()\n", {"timeout_s": 10, "queries": own})
    stdin = "".join(json.dumps(line) + "\n" for line in lines).encode()
    said = nodes.run(nodes.first, *AGENT_COMMAND, stdin=stdin)
    reply = Reply(host=nodes.first.name, reachable=True, results=json.loads(said.stdout)["results"])
    (found,) = observation_of(nodes.estate, nodes.plan, {nodes.first.name: reply}, at=0.0, took_s=0.0).clusters
    return found


def test_an_upgrade_under_load_fails_no_request_and_restarts_no_pod(old_nodes: KubernetesNodes, load: None) -> None:
    nodes = old_nodes
    assert versions_of(nodes) == {kubernetes_nodes.OLD}
    before, kept = containers(nodes), {unit: started(nodes, unit) for unit in UNTOUCHED}
    old = {unit: started(nodes, unit) for unit in UNITS}
    nodes.upgrade(kubernetes_nodes.VERSION)
    began = time.monotonic()
    nodes.apply(nodes.first)
    took = time.monotonic() - began
    assert versions_of(nodes) == {kubernetes_nodes.VERSION}
    result = ended_load(nodes)
    print(f"upgraded in {took:.1f} s under {result['asked']} requests in {result['seconds']:.1f} s")
    assert result["failed"] == []
    assert result["asked"] >= took * RATE_PER_S * 0.9
    assert containers(nodes) == before
    assert {unit: started(nodes, unit) for unit in UNTOUCHED} == kept
    new = {unit: started(nodes, unit) for unit in UNITS}
    assert all(new[unit] > old[unit] for unit in UNITS)
    # They have no fixed order: a unit that loses its lease while the API server restarts is restarted.
    assert min(UNITS, key=lambda unit: new[unit]) == UNITS[0], "the API server first, its clients after it"


def test_a_second_apply_changes_nothing(old_nodes: KubernetesNodes) -> None:
    before = {unit: started(old_nodes, unit) for unit in UNITS}
    assert old_nodes.apply(old_nodes.first).changes == ()
    assert {unit: started(old_nodes, unit) for unit in UNITS} == before
