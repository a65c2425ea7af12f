"""Two instances behind one address, like pods: one of them ends, and no application fails.

The rendered ingress runs in a real HAProxy. nftables rules in a network namespace replace the node's kube-proxy.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import httpx
import pytest

from contracts.loader import contract
from estate.addressing import plan
from estate.loader import load
from lab.command import network_of
from playbooks.render import ingress
from stacks.providers import health_gate
from tests import image_programs
from tests.polling import until

SERVICE = contract("approval")
HOST, CITIZENS = "futian-kube1", 18443
ACCOUNT = "nobody"
APPLICANTS = 6
NOTICED_S = 1.0
"""A node forwards new connections to a dead pod for this long, in seconds."""
FILTER = """
table ip services
delete table ip services
table ip services {{
    chain output {{
        type nat hook output priority -100;
        ip daddr {address} tcp dport {port} numgen random mod {count} vmap {{ {choice} }}
    }}
{chains}
}}
"""


class Node:
    """A node's network: its own address, the service's address, and the instances that get new connections to it."""

    def __init__(self, name, own, address):
        self.name, self.own, self.address = name, own, address
        self.handle = Path("/run/netns") / name

    def open(self):
        """Create the namespace."""
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.ip("link", "set", "lo", "up")
        self.ip("address", "add", f"{self.own}/32", "dev", "lo")
        self.ip("route", "add", f"{self.address}/32", "dev", "lo", "src", str(self.own))

    def close(self):
        """Delete the namespace."""
        subprocess.run(["ip", "netns", "delete", self.name], check=True)

    def ip(self, *arguments):
        """Run iproute2 in the namespace."""
        subprocess.run(["ip", "-n", self.name, *arguments], check=True)

    def forward_to(self, *services):
        """Send each new connection to a random one of the instances, with nftables rules like kube-proxy's.

        Existing connections stay.
        """
        ports = [service.url.rsplit(":", 1)[1] for service in services]
        chains = [f"    chain pod{n} {{ ip protocol tcp dnat to 127.0.0.1:{port}; }}" for n, port in enumerate(ports)]
        rules = FILTER.format(
            address=self.address,
            port=SERVICE.port,
            count=len(ports),
            choice=", ".join(f"{n} : goto pod{n}" for n in range(len(ports))),
            chains="\n".join(chains),
        )
        with network_of(self.handle):
            subprocess.run([*image_programs.argv("nft"), "-f", "-"], input=rules, text=True, check=True)


@pytest.fixture(scope="module")
def node():
    """The namespace."""
    if os.geteuid() != 0:
        pytest.skip("needs root: a network namespace of its own")
    computed = plan(load())
    address = computed.service_cluster_ip("futian", SERVICE.name).ipv4
    made = Node(f"gk-approval-{os.getpid()}", computed.lan(HOST).ipv4, address)
    made.open()
    yield made
    made.close()


@pytest.fixture(scope="module")
def proxy(home, node):
    """HAProxy with the part of the rendered configuration that forwards citizens to the pods, without TLS."""
    estate = load()
    text = ingress.config_text(estate, plan(estate), estate.host(HOST))
    text = text[: text.index("# For the monitors")]
    lan = str(plan(estate).lan(HOST).ipv4)
    text = re.sub(rf"    bind (?!{lan}:443).*\n", "", text)
    empty = home / "empty"
    empty.mkdir()
    for old, new in (
        (re.escape(f"bind {lan}:443") + ".*", f"bind 127.0.0.1:{CITIZENS}"),
        ("/run/haproxy", str(home)),
        ("chroot /var/lib/haproxy", f"chroot {empty}"),
        ("user haproxy", f"user {ACCOUNT}"),
        ("group haproxy", "group nogroup"),
    ):
        text, replaced = re.subn(old, new, text)
        assert replaced, old
    assert f"server pods {node.address}:{SERVICE.port} " in text
    config = home / "haproxy.cfg"
    config.write_text(text)
    with network_of(node.handle):
        process = subprocess.Popen(
            [*image_programs.argv("haproxy"), "-db", "-f", config], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    yield home / "admin.sock"
    process.terminate()
    process.wait(15)


@pytest.fixture
def start(node, primary, standby, start_service):
    """A function that starts one more instance and waits until it can write."""

    def one():
        with network_of(node.handle):
            name = f"approval-{uuid.uuid4().hex[:5]}"
            made = start_service(primary.dsn("approval_app"), standby.dsn("approval_app"), APPROVAL_INSTANCE=name)
            until("it can write", lambda: made.client.get("/writez").status_code == 200, 30)
        return made

    return one


class Applicants:
    """Concurrent applicants. Each sends one application after the other, each under a new key."""

    def __init__(self, node, bodies):
        self.node, self.bodies, self.lock = node, cycle(bodies), threading.Lock()
        self.ended = threading.Event()
        self.answers, self.failures, self.keys = Counter(), [], []
        self.threads = [threading.Thread(target=self.run) for _ in range(APPLICANTS)]

    def run(self):
        """Run one applicant until all end."""
        with network_of(self.node.handle), httpx.Client(base_url=f"http://127.0.0.1:{CITIZENS}", timeout=15) as client:
            while not self.ended.is_set():
                with self.lock:
                    body, key = next(self.bodies), str(uuid.uuid4())
                    self.keys.append(key)
                self.apply(client, json.dumps(body, ensure_ascii=False).encode(), key)

    def apply(self, client, content, key):
        """Send one application once."""
        try:
            answer = client.post("/v1/applications", content=content, headers={"Idempotency-Key": key})
        except httpx.TransportError as fault:
            self.failures.append(repr(fault))
            return
        self.answers[answer.status_code] += 1
        if answer.status_code not in (200, 201):
            self.failures.append(f"{answer.status_code} {answer.text}")

    def answered(self, more):
        """Wait for this many more answers."""
        wanted = sum(self.answers.values()) + more
        until(f"{more} more answers", lambda: sum(self.answers.values()) + len(self.failures) >= wanted, 60)


@contextmanager
def applying(node, primary, next_person):
    """Send applications without a pause. At the end check that all were accepted and stored once each."""
    crowd = Applicants(node, [next_person() for _ in range(40)])
    for thread in crowd.threads:
        thread.start()
    try:
        crowd.answered(more=40)
        yield crowd
        crowd.answered(more=40)
    finally:
        crowd.ended.set()
        for thread in crowd.threads:
            thread.join(30)
    assert crowd.failures == []
    rows = primary.sql("SELECT key::text FROM approval.application WHERE key = ANY(%s::uuid[])", (crowd.keys,))
    assert sorted(row[0] for row in rows) == sorted(crowd.keys)


def retries(socket):
    """Return how often HAProxy has retried an application, from its own statistics."""
    import socket as sockets

    with sockets.socket(sockets.AF_UNIX) as control:
        control.connect(str(socket))
        control.sendall(b"show stat\n")
        text = b"".join(iter(lambda: control.recv(65536), b"")).decode()
    rows = [line.split(",") for line in text.splitlines() if line]
    heads = rows[0]
    found = next(dict(zip(heads, row, strict=False)) for row in rows if row[:2] == ["applications", "BACKEND"])
    return int(found["wretr"])


def wait_for_instances(node):
    """Wait until HAProxy forwards to the instances."""

    def answers():
        with network_of(node.handle):
            try:
                return httpx.get(f"http://127.0.0.1:{CITIZENS}/readyz").status_code == 200
            except httpx.TransportError:
                return False

    until("HAProxy forwards to the instances", answers, 20)


def test_an_instance_that_is_killed_costs_no_application(node, proxy, start, primary, next_person):
    """It dies in the middle of requests, and gets new connections for some more time."""
    victim, other = start(), start()
    node.forward_to(victim, other)
    wait_for_instances(node)
    before = retries(proxy)
    with applying(node, primary, next_person) as crowd:
        victim.killed = True
        victim.process.send_signal(signal.SIGKILL)
        time.sleep(NOTICED_S)  # the length matters in this test: after a few refusals the proxy stops retrying
        node.forward_to(other)
        crowd.answered(more=40)
    assert retries(proxy) > before, "no request was running at the kill, so the test has proven nothing"


def test_instances_are_replaced_one_by_one_and_no_application_fails(node, proxy, start, primary, next_person):
    """Each old instance ends when a new one answers. It finishes its requests. Idle connections are not reused."""
    running, fresh = [start(), start()], [start(), start()]
    node.forward_to(*running)
    wait_for_instances(node)
    with applying(node, primary, next_person) as crowd:
        for new in fresh:
            old = running.pop(0)
            running.append(new)
            node.forward_to(*running)
            old.process.send_signal(signal.SIGTERM)
            assert old.process.wait(30) in (0, -signal.SIGTERM)
            crowd.answered(more=40)


def run_gate(node, seconds):
    """Run the health gate between two sites here. Return its exit code and output."""
    urls = [f"http://127.0.0.1:{CITIZENS}/{path}" for path in ("readyz", "writez")]
    argv = [sys.executable, "-c", health_gate.PROBE, str(seconds), str(health_gate.IN_A_ROW), *urls]
    with network_of(node.handle):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()


def test_the_gate_between_two_sites_finds_the_one_instance_that_cannot_write(
    node, proxy, start, standby, start_service
):
    """That instance is healthy and serves reads like the other one."""
    good = start()
    with network_of(node.handle):
        read_only = start_service("host=127.0.0.1 port=1 dbname=none", standby.dsn("approval_app"))
        assert read_only.client.get("/healthz").status_code == 200
    node.forward_to(good)
    wait_for_instances(node)
    assert run_gate(node, 30) == (0, "")
    node.forward_to(good, read_only)
    code, output = run_gate(node, 5)
    assert code == 1
    assert "/writez answers 503" in output
