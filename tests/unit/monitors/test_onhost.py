"""The script that runs on hosts: real commands, a real TLS server, and answers for whatever goes wrong."""

from __future__ import annotations

import datetime
import http.server
import json
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

from monitors.observe import SCRIPT


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
    """`/readyz` answers, `/slow` does not."""

    def do_GET(self) -> None:
        """Answer with the site's header."""
        if self.path == "/slow":
            time.sleep(3)
        self.send_response(503 if self.path == "/writez" else 200)
        self.send_header("X-Govcloud-Site", "futian")
        self.end_headers()
        self.wfile.write(json.dumps({"host": self.headers["Host"]}).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


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


def run(questions: dict[str, dict[str, object]], timeout_s: float = 2.0) -> dict[str, dict[str, object]]:
    """The script as a host runs it: on standard input, isolated from the project."""
    task = {"timeout_s": timeout_s, "questions": questions}
    script = SCRIPT.read_text(encoding="utf-8") + f"\n\nmain(json.loads({json.dumps(task)!r}))\n"
    done = subprocess.run([sys.executable, "-I", "-"], input=script.encode(), capture_output=True, check=True, cwd="/")
    answer = json.loads(done.stdout)
    assert abs(answer["now"] - time.time()) < 30
    return dict(answer["answers"])


def asked(port: int, path: str, **more: object) -> dict[str, object]:
    """A question over HTTPS."""
    return {"kind": "https", "address": "127.0.0.1", "port": port, "name": "approval", "path": path, **more}


def test_a_page_is_fetched_by_address_and_verified_by_name(port: int, certificate: tuple[Path, Path]) -> None:
    """As an anycast address must be; by the authority's file or text."""
    text = certificate[0].read_text(encoding="utf-8")
    answers = run({
        "file": asked(port, "/readyz", ca_file=str(certificate[0])),
        "text": asked(port, "/readyz", ca_text=text),
        "refused": asked(port, "/writez", ca_text=text),
    })  # fmt: skip
    for name in ("file", "text"):
        assert answers[name]["status"] == 200
        assert answers[name]["headers"]["x-govcloud-site"] == "futian"  # type: ignore[index]
        assert "approval" in str(answers[name]["body"])
    assert answers["refused"]["status"] == 503


def test_an_unknown_authority_and_a_wrong_name_are_errors(port: int, certificate: tuple[Path, Path]) -> None:
    """A healthy answer from somebody else is no answer."""
    answers = run({
        "stranger": asked(port, "/readyz"),
        "misnamed": asked(port, "/readyz", ca_file=str(certificate[0])) | {"name": "other"},
        "nofile": asked(port, "/readyz", ca_file="/nonexistent/ca.crt"),
    })  # fmt: skip
    assert all("status" not in answer for answer in answers.values())
    assert "verify failed" in str(answers["stranger"]["error"])
    assert "No such file" in str(answers["nofile"]["error"])


def test_what_does_not_answer_takes_no_longer_than_allowed(port: int, certificate: tuple[Path, Path]) -> None:
    """All questions at once: three slow ones take as long as one."""
    begun = time.monotonic()
    answers = run({
        "slow": asked(port, "/slow", ca_file=str(certificate[0])),
        "closed": asked(1, "/readyz", ca_file=str(certificate[0])),
        "command": {"kind": "command", "argv": ["sleep", "30"]},
    }, timeout_s=1.0)  # fmt: skip
    assert time.monotonic() - begun < 8
    assert "timed out" in str(answers["slow"]["error"])
    assert "refused" in str(answers["closed"]["error"]).lower()
    assert "within 1 s" in str(answers["command"]["error"])


def test_commands_and_files_say_what_they_say(tmp_path: Path) -> None:
    """Exit codes are answers; what is not there is an error."""
    file = tmp_path / "text"
    file.write_text("福田\n", encoding="utf-8")
    answers = run({
        "fails": {"kind": "command", "argv": ["sh", "-c", "echo out; echo why >&2; exit 3"]},
        "absent": {"kind": "command", "argv": ["no-such-command"]},
        "file": {"kind": "text", "path": str(file)},
        "nofile": {"kind": "text", "path": "/nonexistent"},
    })  # fmt: skip
    assert answers["fails"] == {"code": 3, "out": "out\n", "err": "why\n"}
    assert "No such file" in str(answers["absent"]["error"])
    assert answers["file"] == {"text": "福田\n"}
    assert "No such file" in str(answers["nofile"]["error"])
