"""A primary with a synchronous standby, a simulated carrier, and instances of the message service as processes."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.polling import until
from tests.postgres import Server, server_home, start_primary, start_standby

REPOSITORY = Path(__file__).parents[3]
SOURCES = {name: REPOSITORY / "services" / name / "src" for name in ("approval", "messages")}
for folder in SOURCES.values():
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
SIMULATOR = REPOSITORY / "playbooks" / "host_programs" / "carrier_simulator.py"

ROLES = """
CREATE ROLE approval_owner LOGIN; CREATE ROLE approval_app LOGIN; CREATE ROLE messages_app LOGIN;
CREATE ROLE human_resources; CREATE ROLE development_reform; CREATE ROLE public_security;
GRANT human_resources, development_reform, public_security TO approval_owner;
"""
TEST_NUMBERS = "1540"
SECRET = "receipts-of-this-test"
SYNCHRONOUS = "ANY 1 (other_city_site)"


def free_port() -> int:
    """Return a port that no server uses at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def primary() -> Iterator[Server]:
    """The primary with roles and schema."""
    with server_home("messages-pg-") as home:
        server = start_primary(home, "primary", 54331)
        server.sql(ROLES, database="postgres")
        server.sql("CREATE DATABASE approval OWNER approval_owner", database="postgres")
        from approval.schema import apply

        apply(server.dsn("approval_owner"))
        yield server
        if (server.data / "postmaster.pid").exists():
            server.stop()


@pytest.fixture(scope="module")
def standby(primary: Server) -> Iterator[Server]:
    """A streaming standby at the other city site. Commits on the primary wait for it."""
    server = start_standby(primary, "standby", 54332, "other_city_site")
    primary.configure(synchronous_standby_names=SYNCHRONOUS)
    yield server
    server.stop()


class Simulator:
    """The simulated carrier, a process of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._ports = folder, (free_port(), free_port())
        self.url = f"http://127.0.0.1:{self._ports[0]}"
        self._control = httpx.Client(base_url=f"http://127.0.0.1:{self._ports[1]}", timeout=10, trust_env=False)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process and wait until it answers."""
        listen, control = (f"127.0.0.1:{port}" for port in self._ports)
        argv = [sys.executable, "-I", SIMULATOR, "--listen", listen, "--control", control, "--state", self._folder]
        self._process = subprocess.Popen(argv)
        until("the simulator answers", self._answers, 30)

    def kill(self) -> None:
        """End the process at once, as a power failure would."""
        if self._process:
            self._process.kill()
            self._process.wait(10)

    def close(self) -> None:
        """End the process and the control connection."""
        self.kill()
        self._control.close()

    def mode(self, mode: str, delay_s: float = 0.0) -> None:
        """Change how the carrier answers."""
        assert self._control.put("/mode", json={"mode": mode, "delay_s": delay_s}).status_code == 200

    def stats(self) -> dict[str, Any]:
        """Return the carrier's counts."""
        return dict(self._control.get("/stats").json())

    def accepted(self) -> list[dict[str, Any]]:
        """Return all messages that the carrier has accepted, in order."""
        return [json.loads(line) for line in self._control.get("/accepted").text.splitlines()]

    def times(self, outbox: Outbox) -> Counter[str]:
        """Return how often the carrier has accepted each message of `outbox`, by message ID."""
        return Counter(entry["message_id"] for entry in self.accepted() if entry["to"] in outbox.numbers)

    def _answers(self) -> bool:
        try:
            return self._control.get("/stats").status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def carrier_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """The simulated carrier of the module."""
    simulator = Simulator(tmp_path_factory.mktemp("carrier"))
    simulator.start()
    yield simulator
    simulator.close()


@pytest.fixture
def carrier(carrier_process: Simulator) -> Simulator:
    """The simulated carrier, which accepts everything at once."""
    carrier_process.mode("normal")
    return carrier_process


class Outbox:
    """Decisions that one test stores with the approval service's own statement."""

    people = itertools.count(1)

    def __init__(self, server: Server) -> None:
        self.server = server
        self.applications: list[int] = []
        self.numbers: set[str] = set()

    def decide(self, count: int = 1, *, decision: str = "approved", segment: str = TEST_NUMBERS) -> list[int]:
        """Store decisions of new people and return the numbers of their applications."""
        from approval.people import id_number
        from approval.store import STORE

        with psycopg.connect(self.server.dsn("approval_app"), autocommit=True) as connection:
            for n in itertools.islice(Outbox.people, count):
                mobile = f"{segment}{n:0{11 - len(segment)}d}"
                row = connection.execute(
                    STORE,
                    {
                        "key": str(uuid.uuid4()), "digest": "a" * 64, "id_number": id_number(1, n), "name": "某人",
                        "decision": decision, "reason": "meets_conditions", "site": "futian", "synthetic": True,
                        "mobile": mobile, "suppressed": False, "body": "{}",
                    },
                ).fetchone()  # fmt: skip
                assert row is not None
                self.applications.append(row[0])
                self.numbers.add(f"+86{mobile}")
        return self.applications[-count:]

    def states(self) -> dict[str, int]:
        """Return the number of messages by state."""
        return dict(
            self.server.sql(
                "SELECT state, count(*) FROM messages.delivery WHERE application_id = ANY(%s) GROUP BY state",
                (self.applications,),
            )
        )

    def ids(self) -> set[str]:
        """Return the message IDs."""
        query = "SELECT id::text FROM messages.delivery WHERE application_id = ANY(%s)"
        return {row[0] for row in self.server.sql(query, (self.applications,))}


@pytest.fixture
def outbox(primary: Server, standby: Server) -> Outbox:
    """The decisions of one test."""
    return Outbox(primary)


@dataclass
class Instance:
    """A running instance of the service."""

    process: subprocess.Popen[bytes]
    client: httpx.Client
    log: Path

    def metric(self, line: str) -> float:
        """Return the value of one sample, 0 if there is none."""
        for found in self.client.get("/metrics").text.splitlines():
            if found.startswith(f"{line} "):
                return float(found.rpartition(" ")[2])
        return 0.0

    def kill(self) -> None:
        """End the process at once."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """Stop the process as the platform does, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


Start = Callable[..., Instance]


@pytest.fixture
def start(primary: Server, standby: Server, carrier: Simulator, tmp_path: Path) -> Iterator[Start]:
    """A function that starts instances. They stop with the test. Arguments are further variables of the environment."""
    started: list[Instance] = []

    def begin(**environment: str) -> Instance:
        port, log = free_port(), tmp_path / f"messages-{len(started)}.log"
        variables = {
            **os.environ,
            "PYTHONPATH": str(SOURCES["messages"]),
            "GOVCLOUD_SITE": "futian",
            "MESSAGES_DSN": primary.dsn("messages_app"),
            "MESSAGES_LISTEN": f"127.0.0.1:{port}",
            "MESSAGES_CARRIER_URL": carrier.url,
            "MESSAGES_CARRIER_TOKEN": "token",
            "MESSAGES_RECEIPT_SECRET": SECRET,
            "MESSAGES_RECEIPTS_URL": f"http://127.0.0.1:{port}/v1/receipts",
            "MESSAGES_DELIVER_SYNTHETIC": TEST_NUMBERS,
            **environment,
        }
        with log.open("wb") as out:
            process = subprocess.Popen([sys.executable, "-m", "messages"], env=variables, stdout=out, stderr=out)
        client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10, trust_env=False)
        started.append(Instance(process=process, client=client, log=log))
        until("the instance answers", lambda: answers(client, process), 60)
        return started[-1]

    yield begin
    for instance in started:
        instance.client.close()
        if instance.process.poll() is None:
            assert instance.stop() in (0, -signal.SIGTERM)


def answers(client: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    """Return whether the instance answers. Fail at once if it has ended."""
    assert process.poll() is None, "the instance has ended"
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False
