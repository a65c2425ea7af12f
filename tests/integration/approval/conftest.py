"""A private PostgreSQL with a synchronous standby, and the service as a process that uses them."""

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.polling import until
from tests.postgres import Server, server_home, start_primary, start_standby

SOURCES = Path(__file__).parents[3] / "services" / "approval" / "src"
sys.path.insert(0, str(Path(__file__).parent))
if str(SOURCES) not in sys.path:
    sys.path.insert(0, str(SOURCES))

PEOPLE, SEED = 5000, 7
MIGRATING_ROLES = """
CREATE ROLE approval_owner LOGIN; CREATE ROLE approval_app LOGIN;
CREATE ROLE human_resources; CREATE ROLE development_reform; CREATE ROLE public_security;
GRANT human_resources, development_reform, public_security TO approval_owner;
"""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A directory that the account of the database server may use."""
    with server_home("approval-pg-") as path:
        yield path


@pytest.fixture(scope="module")
def primary(home: Path) -> Iterator[Server]:
    """The primary, with roles, database, schema and registers."""
    server = start_primary(home, "primary", 54321)
    server.sql(MIGRATING_ROLES, database="postgres")
    server.sql("CREATE DATABASE approval OWNER approval_owner", database="postgres")
    for arguments in (("schema", "apply"), ("registers", "load", "--people", str(PEOPLE), "--seed", str(SEED))):
        done = tool(arguments[0], arguments[1], "--dsn", server.dsn("approval_owner"), *arguments[2:])
        assert done.returncode == 0, done.stderr
    yield server
    server.stop()


@pytest.fixture(scope="module")
def standby(primary: Server) -> Iterator[Server]:
    """A streaming standby named `other_city_site`. Commits on the primary wait for it."""
    server = start_standby(primary, "standby", 54322, "other_city_site")
    primary.configure(synchronous_standby_names="ANY 1 (other_city_site)")
    yield server
    primary.configure(synchronous_standby_names="")
    server.stop()


def tool(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the service's commands."""
    return subprocess.run(
        [sys.executable, "-m", f"approval.{module}", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )


@dataclass
class Service:
    """A running instance of the service. `keys` are the keys of all applications that were sent."""

    client: httpx.Client
    process: subprocess.Popen[bytes]
    log: Path
    url: str
    keys: list[str] = field(default_factory=list)
    killed: bool = False

    def apply(self, body: dict[str, Any] | bytes, key: str | None = None, **more: Any) -> httpx.Response:
        """Send one application. Use a new key if no key is given."""
        self.keys.append(key or str(uuid.uuid4()))
        content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        return self.client.post("/v1/applications", content=content, headers={"Idempotency-Key": self.keys[-1]}, **more)


@pytest.fixture(scope="module")
def start_service(home: Path) -> Iterator[Callable[..., Service]]:
    """A function that starts instances with given databases. All are stopped at the end of the module."""
    started: list[Service] = []

    def start(write_dsn: str, read_dsn: str, port: int = 0, **environment: str) -> Service:
        if not port:
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
        log = home / f"service-{port}.log"
        variables = {
            **os.environ,
            "PYTHONPATH": str(SOURCES),
            "GOVCLOUD_SITE": "futian",
            "APPROVAL_WRITE_DSN": write_dsn,
            "APPROVAL_READ_DSN": read_dsn,
            "APPROVAL_LISTEN": f"127.0.0.1:{port}",
            "APPROVAL_SYNTHETIC": "1",
            **environment,
        }
        with log.open("wb") as out:
            process = subprocess.Popen([sys.executable, "-m", "approval"], env=variables, stdout=out, stderr=out)
        url = f"http://127.0.0.1:{port}"
        service = Service(client=httpx.Client(base_url=url, timeout=10), process=process, log=log, url=url)
        started.append(service)
        until("the service answers", lambda: answers(service), 60)
        return service

    yield start
    for service in started:
        service.client.close()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(15) in ((-signal.SIGKILL,) if service.killed else (0, -signal.SIGTERM))


def answers(service: Service) -> bool:
    """Return whether the instance answers at all."""
    try:
        return service.client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def service(primary: Server, standby: Server, start_service: Callable[..., Service]) -> Service:
    """An instance that writes to the primary and reads from the standby."""
    instance = start_service(primary.dsn("approval_app"), standby.dsn("approval_app"))
    until("the service can write", lambda: instance.client.get("/writez").status_code == 200, 60)
    return instance


@pytest.fixture(scope="module")
def next_person() -> Callable[[], dict[str, Any]]:
    """A function that returns the form of the next graduate. No other test of the module uses this person."""
    from approval.people import Case, applicant, person

    numbers = (n for n in range(PEOPLE) if person(SEED, n).case is Case.GRADUATE)
    return lambda: applicant(SEED, next(numbers))


@pytest.fixture(scope="module")
def run_tool() -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs one of the service's commands."""
    return tool


@pytest.fixture(scope="module")
def loaded() -> tuple[int, int]:
    """Number of people and seed of the loaded registers."""
    return PEOPLE, SEED
