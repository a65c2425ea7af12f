"""The agent that runs on hosts: real commands, a real TLS server, and an answer for each kind of error."""

from __future__ import annotations

import datetime
import http.server
import json
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from monitors.observe.ssh_session import AGENT, AGENT_COMMAND


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for the name `approval` and its key."""
    folder = tmp_path_factory.mktemp("pki")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "approval")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("approval"), x509.IPAddress(IPv4Address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "host.crt", folder / "host.key"
    cert_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


class Pages(http.server.BaseHTTPRequestHandler):
    """`/readyz` answers at once, `/slow` after 3 s, and `/writez` with 503."""

    def do_GET(self) -> None:
        """Answer with the site's header."""
        if self.path == "/slow":
            time.sleep(3)
        self.send_response(503 if self.path == "/writez" else 200)
        self.send_header("X-Govcloud-Site", "futian")
        self.end_headers()
        self.wfile.write(json.dumps({"host": self.headers["Host"]}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def port(certificate: tuple[Path, Path]) -> Iterator[int]:
    """A TLS server on loopback."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda request, client_address: None  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


Queries = dict[str, dict[str, object]]


class Serving:
    """The agent as a host runs it, isolated from the project."""

    def __init__(self, script: str) -> None:
        argv = [sys.executable, *AGENT_COMMAND[1:]]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", text=True)
        self.send(script + "\n\nserve()\n")

    def send(self, value: object) -> None:
        """Send one line."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()

    def ask(self, queries: Queries, timeout_s: float = 2.0) -> Queries:
        """Send one line and return the results in the answer."""
        assert self.process.stdout is not None
        self.send({"timeout_s": timeout_s, "queries": queries})
        answer = json.loads(self.process.stdout.readline())
        assert abs(answer["now"] - time.time()) < 30
        return dict(answer["results"])

    def end(self) -> int:
        """Close its input and return the exit code."""
        self.process.communicate(timeout=60)
        return self.process.returncode


def run(queries: Queries, timeout_s: float = 2.0) -> Queries:
    """Run one task in a new agent and end its input."""
    serving = Serving(AGENT.read_text(encoding="utf-8"))
    try:
        return serving.ask(queries, timeout_s)
    finally:
        assert serving.end() == 0


def https_query(port: int, path: str, **more: object) -> dict[str, object]:
    """Return a query over HTTPS."""
    return {"kind": "https", "address": "127.0.0.1", "port": port, "name": "approval", "path": path, **more}


def test_a_page_is_fetched_by_address_and_verified_by_name(port: int, certificate: tuple[Path, Path]) -> None:
    """An anycast address needs this. The CA certificate may be given as a file or as text."""
    text = certificate[0].read_text(encoding="utf-8")
    results = run({
        "file": https_query(port, "/readyz", ca_file=str(certificate[0])),
        "text": https_query(port, "/readyz", ca_text=text),
        "refused": https_query(port, "/writez", ca_text=text),
    })  # fmt: skip
    for name in ("file", "text"):
        assert results[name]["status"] == 200
        assert results[name]["headers"]["x-govcloud-site"] == "futian"  # type: ignore[index]
        assert "approval" in str(results[name]["body"])
    assert results["refused"]["status"] == 503


def test_an_unknown_authority_and_a_wrong_name_are_errors(port: int, certificate: tuple[Path, Path]) -> None:
    """A healthy answer from an unknown server counts as no answer."""
    results = run({
        "stranger": https_query(port, "/readyz"),
        "misnamed": https_query(port, "/readyz", ca_file=str(certificate[0])) | {"name": "other"},
        "nofile": https_query(port, "/readyz", ca_file="/nonexistent/ca.crt"),
    })  # fmt: skip
    assert all("status" not in result for result in results.values())
    assert "verify failed" in str(results["stranger"]["error"])
    assert "No such file" in str(results["nofile"]["error"])


def test_a_query_without_an_answer_ends_at_its_timeout(port: int, certificate: tuple[Path, Path]) -> None:
    """Queries run concurrently: three slow ones take as long as one."""
    begun = time.monotonic()
    results = run({
        "slow": https_query(port, "/slow", ca_file=str(certificate[0])),
        "closed": https_query(1, "/readyz", ca_file=str(certificate[0])),
        "command": {"kind": "command", "argv": ["sleep", "30"]},
    }, timeout_s=1.0)  # fmt: skip
    assert time.monotonic() - begun < 8
    assert "timed out" in str(results["slow"]["error"])
    assert "refused" in str(results["closed"]["error"]).lower()
    assert "within 1 s" in str(results["command"]["error"])


def test_commands_and_files_return_their_exit_code_and_text(tmp_path: Path) -> None:
    """An exit code is an answer. A missing command or file is an error."""
    file = tmp_path / "text"
    file.write_text("福田\n", encoding="utf-8")
    results = run({
        "fails": {"kind": "command", "argv": ["sh", "-c", "echo out; echo why >&2; exit 3"]},
        "absent": {"kind": "command", "argv": ["no-such-command"]},
        "file": {"kind": "text", "path": str(file)},
        "nofile": {"kind": "text", "path": "/nonexistent"},
    })  # fmt: skip
    assert results["fails"] == {"code": 3, "out": "out\n", "err": "why\n"}
    assert "No such file" in str(results["absent"]["error"])
    assert results["file"] == {"text": "福田\n"}
    assert "No such file" in str(results["nofile"]["error"])


def test_a_certificate_that_was_renewed_is_read_again(
    port: int, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """The TLS context is cached between tasks until its file changes."""
    file = tmp_path / "ca.crt"
    file.write_text(certificate[0].read_text(encoding="utf-8"), encoding="utf-8")
    serving = Serving(AGENT.read_text(encoding="utf-8"))
    query = {"page": https_query(port, "/readyz", ca_file=str(file))}
    assert [serving.ask(query, 30)["page"].get("status") for _ in range(3)] == [200, 200, 200]
    replaced = tmp_path / "new.crt"
    replaced.write_text("no certificate\n", encoding="utf-8")
    replaced.replace(file)
    assert "status" not in serving.ask(query, 30)["page"]
    file.unlink()
    assert "No such file" in str(serving.ask(query, 30)["page"]["error"])
    file.write_text(certificate[0].read_text(encoding="utf-8"), encoding="utf-8")
    assert serving.ask(query, 30)["page"]["status"] == 200
    assert serving.end() == 0


def test_an_agent_without_queries_ends_by_itself() -> None:
    """This happens when the network is cut and neither end of the connection notices."""
    script = AGENT.read_text(encoding="utf-8")
    assert "IDLE_S = 60\n" in script
    serving = Serving(script.replace("IDLE_S = 60\n", "IDLE_S = 1\n"))
    assert serving.process.wait(60) == -signal.SIGALRM
    serving.process.communicate()
