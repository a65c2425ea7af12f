"""A node goes from one minor of Kubernetes to the next under load, by the roles: pods run on, nobody is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
import room as machine_room
import workload as pods

from failover import clusters
from playbooks.render.kubernetes import image_reference
from tests.waiting import until
from workstation.ssh import Result

STARTS = machine_room.OLD
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
"""Open loop: a request that waits keeps none of the next ones back."""


@dataclass(frozen=True)
class Hands:
    """The room's machines, as failover reaches them."""

    room: machine_room.Room

    def run(self, host: str, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 30.0) -> Result:
        return self.room.run(self.room.estate.host(host), *argv, stdin=stdin, timeout_s=timeout_s)


@pytest.fixture(scope="module")
def room_at_old(room: machine_room.Room) -> machine_room.Room:
    """The old version's cluster with two pods that answer."""
    room.apply(room.first)
    image, *_ = pods.push(room)
    room.kubectl("apply", "-f", "-", stdin=pods.workload(image_reference(image.name, image.digest)))
    room.kubectl("rollout", "status", "-n", "bureau", "deployment/approval", "--timeout=90s")
    return room


@pytest.fixture
def addresses(room_at_old: machine_room.Room) -> list[str]:
    """The service and each pod, in both families."""
    spec = json.loads(room_at_old.kubectl("get", "service", "-n", "bureau", "approval", "-o", "json"))["spec"]
    of_pods = [(entry["ip"], pods.PORT) for pod in running(room_at_old) for entry in pod["status"]["podIPs"]]
    named = [*((ip, 80) for ip in spec["clusterIPs"]), *of_pods]
    urls = [f"http://{f'[{ip}]' if ':' in ip else ip}:{port}/healthz" for ip, port in named]
    for url in urls:
        until(
            f"{url} answers",
            lambda at=url: room_at_old.run(room_at_old.first, "curl", "-fsS", "-m", "2", at).returncode == 0,
            20,
        )
    return urls


@pytest.fixture
def load(room_at_old: machine_room.Room, addresses: list[str]) -> Iterator[None]:
    """Requests at a fixed rate, from now on."""
    room, first = room_at_old, room_at_old.first
    room.text(
        first, "systemd-run", f"--unit={LOAD}", "--quiet", "python3", "-c", ASK, str(RATE_PER_S), LEDGER, *addresses
    )
    yield
    room.run(first, "systemctl", "stop", LOAD)


def ended_load(room: machine_room.Room) -> dict[str, Any]:
    """What the requests came to."""
    room.text(room.first, "systemctl", "stop", LOAD)
    return dict(json.loads(room.text(room.first, "cat", LEDGER)))


def running(room: machine_room.Room) -> list[dict[str, Any]]:
    """The service's pods."""
    return list(json.loads(room.kubectl("get", "pods", "-n", "bureau", "-o", "json"))["items"])


def containers(room: machine_room.Room) -> set[tuple[str, str, int]]:
    """Which containers there are: one that was restarted has another ID."""
    return {
        (pod["metadata"]["uid"], status["containerID"], status["restartCount"])
        for pod in running(room)
        for status in pod["status"]["containerStatuses"]
    }


def started(room: machine_room.Room, unit: str) -> int:
    """When a unit was started last, in microseconds since the machine's start."""
    return int(room.text(room.first, "systemctl", "show", "-P", "ExecMainStartTimestampMonotonic", f"{unit}.service"))


def versions_of(room: machine_room.Room) -> set[str]:
    """As failover's plan sees them: the API server's and each kubelet's."""
    (view,) = clusters.look(room.estate, Hands(room))
    assert [node.ready for node in view.nodes] == [True]
    assert view.others == ()  # the workload here is a bureau's own, and all of it is ready
    return {view.version, *(node.version for node in view.nodes)}


def test_an_upgrade_under_load_fails_no_request_and_restarts_no_pod(room_at_old: machine_room.Room, load: None) -> None:
    room = room_at_old
    assert versions_of(room) == {machine_room.OLD}
    before, kept = containers(room), {unit: started(room, unit) for unit in UNTOUCHED}
    old = {unit: started(room, unit) for unit in UNITS}
    room.upgrade(machine_room.VERSION)
    began = time.monotonic()
    room.apply(room.first)
    took = time.monotonic() - began
    assert versions_of(room) == {machine_room.VERSION}
    result = ended_load(room)
    print(f"upgraded in {took:.1f} s under {result['asked']} requests in {result['seconds']:.1f} s")
    assert result["failed"] == []
    assert result["asked"] >= took * RATE_PER_S * 0.9
    assert containers(room) == before
    assert {unit: started(room, unit) for unit in UNTOUCHED} == kept
    new = {unit: started(room, unit) for unit in UNITS}
    assert all(new[unit] > old[unit] for unit in UNITS)
    # Among each other they have no order: one that loses its lease while the API server restarts is started again.
    assert min(UNITS, key=lambda unit: new[unit]) == UNITS[0], "the API server first, its clients after it"


def test_a_second_apply_changes_nothing(room_at_old: machine_room.Room) -> None:
    before = {unit: started(room_at_old, unit) for unit in UNITS}
    assert room_at_old.apply(room_at_old.first).changes == ()
    assert {unit: started(room_at_old, unit) for unit in UNITS} == before
