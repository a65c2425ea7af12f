"""Two instances behind one address, as pods are: the rendered ingress in a real HAProxy, and between them what a node's
kube-proxy does, in a network namespace of its own. One of them ends, and nobody who applies notices.
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

from estate.addressing import plan
from estate.loader import load
from lab.command import network_of
from playbooks.render import approval, ingress
from stacks.providers import health_gate
from tests import image_programs
from tests.polling import until

HOST, CITIZENS = "futian-kube1", 18443
APPLICANTS = 6
NOTICED_S = 1.0
"""How long a node goes on leading new connections to a pod that is dead."""
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
    """A node's network: its own address, the service's, and the instances that new connections to that are led to."""

    def __init__(self, name, own, address):
        self.name, self.own, self.address = name, own, address
        self.handle = Path("/run/netns") / name

    def open(self):
        """Makes it."""
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        self.ip("link", "set", "lo", "up")
        self.ip("address", "add", f"{self.own}/32", "dev", "lo")
        self.ip("route", "add", f"{self.address}/32", "dev", "lo", "src", str(self.own))

    def close(self):
        """Removes it."""
        subprocess.run(["ip", "netns", "delete", self.name], check=True)

    def ip(self, *arguments):
        """iproute2 in it."""
        subprocess.run(["ip", "-n", self.name, *arguments], check=True)

    def lead_to(self, *services):
        """New connections go to one of these by chance, in nftables and as kube-proxy does it; old ones stay."""
        ports = [service.url.rsplit(":", 1)[1] for service in services]
        chains = [f"    chain pod{n} {{ ip protocol tcp dnat to 127.0.0.1:{port}; }}" for n, port in enumerate(ports)]
        rules = FILTER.format(
            address=self.address,
            port=approval.PORT,
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
    address = computed.service_cluster_ip("futian", approval.SERVICE).ipv4
    made = Node(f"gk-approval-{os.getpid()}", computed.lan(HOST).ipv4, address)
    made.open()
    yield made
    made.close()


@pytest.fixture(scope="module")
def proxy(home, node):
    """HAProxy with the part of the rendered configuration that leads citizens to the pods, without TLS."""
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
        ("user haproxy", "user nobody"),
        ("group haproxy", "group nogroup"),
    ):
        text, replaced = re.subn(old, new, text)
        assert replaced, old
    assert f"server pods {node.address}:{approval.PORT} " in text
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
    """Starts one more instance; it can write when this returns."""

    def one():
        with network_of(node.handle):
            name = f"approval-{uuid.uuid4().hex[:5]}"
            made = start_service(primary.dsn("approval_app"), standby.dsn("approval_app"), APPROVAL_INSTANCE=name)
            until("it can write", lambda: made.client.get("/writez").status_code == 200, 30)
        return made

    return one


class Applicants:
    """So many who apply at once, one application after the other, each under a new key."""

    def __init__(self, node, bodies):
        self.node, self.bodies, self.lock = node, cycle(bodies), threading.Lock()
        self.ended = threading.Event()
        self.answers, self.failures, self.keys = Counter(), [], []
        self.threads = [threading.Thread(target=self.run) for _ in range(APPLICANTS)]

    def run(self):
        """One of them, until all end."""
        with network_of(self.node.handle), httpx.Client(base_url=f"http://127.0.0.1:{CITIZENS}", timeout=15) as client:
            while not self.ended.is_set():
                with self.lock:
                    body, key = next(self.bodies), str(uuid.uuid4())
                    self.keys.append(key)
                self.apply(client, json.dumps(body, ensure_ascii=False).encode(), key)

    def apply(self, client, content, key):
        """One application, sent once."""
        try:
            answer = client.post("/v1/applications", content=content, headers={"Idempotency-Key": key})
        except httpx.TransportError as fault:
            self.failures.append(repr(fault))
            return
        self.answers[answer.status_code] += 1
        if answer.status_code not in (200, 201):
            self.failures.append(f"{answer.status_code} {answer.text}")

    def answered(self, more):
        """Wait for so many more answers."""
        wanted = sum(self.answers.values()) + more
        until(f"{more} more answers", lambda: sum(self.answers.values()) + len(self.failures) >= wanted, 60)


@contextmanager
def applying(node, primary, next_person):
    """Applications without a pause; at the end all are answered well, and stored once each."""
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
    """How often HAProxy has asked again for an application, by its own count."""
    import socket as sockets

    with sockets.socket(sockets.AF_UNIX) as control:
        control.connect(str(socket))
        control.sendall(b"show stat\n")
        text = b"".join(iter(lambda: control.recv(65536), b"")).decode()
    rows = [line.split(",") for line in text.splitlines() if line]
    heads = rows[0]
    found = next(dict(zip(heads, row, strict=False)) for row in rows if row[:2] == ["applications", "BACKEND"])
    return int(found["wretr"])


def wait_for_way(node):
    """Until HAProxy has found the instances."""

    def answers():
        with network_of(node.handle):
            try:
                return httpx.get(f"http://127.0.0.1:{CITIZENS}/readyz").status_code == 200
            except httpx.TransportError:
                return False

    until("HAProxy leads to the instances", answers, 20)


def test_an_instance_that_is_killed_costs_no_application(node, proxy, start, primary, next_person):
    """In the middle of requests, and for as long as new connections are still led to it."""
    victim, other = start(), start()
    node.lead_to(victim, other)
    wait_for_way(node)
    before = retries(proxy)
    with applying(node, primary, next_person) as crowd:
        victim.killed = True
        victim.process.send_signal(signal.SIGKILL)
        time.sleep(NOTICED_S)  # the length is what this test is about: after a few refusals the proxy asks no more
        node.lead_to(other)
        crowd.answered(more=40)
    assert retries(proxy) > before, "nothing was under way: the test has proven nothing"


def test_instances_are_replaced_one_by_one_and_no_application_fails(node, proxy, start, primary, next_person):
    """Each ends when a new one answers. It finishes what it has begun; idle connections to it are not used again."""
    running, fresh = [start(), start()], [start(), start()]
    node.lead_to(*running)
    wait_for_way(node)
    with applying(node, primary, next_person) as crowd:
        for new in fresh:
            old = running.pop(0)
            running.append(new)
            node.lead_to(*running)
            old.process.send_signal(signal.SIGTERM)
            assert old.process.wait(30) in (0, -signal.SIGTERM)
            crowd.answered(more=40)


def passes(node, seconds):
    """What the gate between two sites says here: its exit code and its words."""
    urls = [f"http://127.0.0.1:{CITIZENS}/{path}" for path in ("readyz", "writez")]
    argv = [sys.executable, "-c", health_gate.PROBE, str(seconds), str(health_gate.IN_A_ROW), *urls]
    with network_of(node.handle):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip()


def test_the_gate_between_two_sites_finds_the_one_instance_that_cannot_write(
    node, proxy, start, standby, start_service
):
    """It is healthy and reads as well as the other one."""
    good = start()
    with network_of(node.handle):
        mute = start_service("host=127.0.0.1 port=1 dbname=none", standby.dsn("approval_app"))
        assert mute.client.get("/healthz").status_code == 200
    node.lead_to(good)
    wait_for_way(node)
    assert passes(node, 30) == (0, "")
    node.lead_to(good, mute)
    code, words = passes(node, 5)
    assert code == 1
    assert "/writez answers 503" in words
