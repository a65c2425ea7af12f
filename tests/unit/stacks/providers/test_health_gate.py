"""The health gate checks a site's service until it works, within limits, and only after its pods were replaced."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from stacks.providers import health_gate
from stacks.providers.health_gate import HealthGate
from stacks.providers.resource import Call, ResourceFailed
from stacks.providers.values import to_property
from workstation import ssh

WANTED = {"site": "futian", "service": "approval", "version": "1", "address": "10.0.0.1", "urls": ["http://own/writez"]}
NEWS = {key: to_property(value) for key, value in WANTED.items()}


def call(said: list[str]) -> Call:
    return Call(name="approval-gate", stack="platform", preview=False, timeout_s=0, say=said.append)


def answering(patch: pytest.MonkeyPatch, *answers: ssh.Result) -> list[list[str]]:
    """Give these answers in turn and then repeat the last one. Return the commands that were run."""
    asked: list[list[str]] = []

    def run(access: ssh.Access, address: str, argv: list[str], *, timeout_s: float) -> ssh.Result:
        asked.append(argv)
        return answers[min(len(asked), len(answers)) - 1]

    patch.setattr(ssh, "run", run)
    return asked


BAD = ssh.Result(returncode=1, stdout=b"/writez answers 503: no_primary\n", stderr=b"")
GOOD = ssh.Result(returncode=0, stdout=b"\n", stderr=b"")


def test_a_service_that_needs_some_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    asked = answering(monkeypatch, BAD, BAD, GOOD)
    made, _ = asyncio.run(HealthGate().create(NEWS, call(said)))
    assert (made, said, len(asked)) == ("futian/approval", ["futian: approval: answers"], 3)
    assert asked[0][-1] == "http://own/writez"


def test_a_service_that_never_works_fails_with_site_reason_and_next_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = answering(monkeypatch, BAD)
    with pytest.raises(ResourceFailed, match=r"futian: approval: .*: /writez answers 503: no_primary\. .*run the same"):
        asyncio.run(HealthGate().update("futian/approval", NEWS, NEWS, call([])))
    assert len(asked) == health_gate.ATTEMPTS


def test_a_cancelled_run_stops_checking(monkeypatch: pytest.MonkeyPatch) -> None:
    gate, asked = HealthGate(), answering(monkeypatch, BAD)
    gate.cancel()
    with pytest.raises(ResourceFailed, match="cancelled"):
        asyncio.run(gate.create(NEWS, call([])))
    assert asked == []


def test_only_a_new_version_of_the_pods_is_a_change() -> None:
    moved = {**NEWS, "address": to_property("10.0.0.2"), "urls": to_property([])}
    assert not HealthGate().diff(NEWS, moved).changes
    assert HealthGate().diff(NEWS, {**NEWS, "version": to_property("2")}).changes


@pytest.fixture
def ingress() -> Iterator[tuple[str, list[int]]]:
    """Yield an HTTP server's URL and its list of status codes. The server repeats the last one."""
    statuses: list[int] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.end_headers()
            self.wfile.write(b'{"code": "no_primary"}')

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/writez", statuses
        server.shutdown()


def probe(url: str, seconds: float) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-c", health_gate.PROBE, str(seconds), "3", url]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_the_probe_needs_several_good_answers_in_a_row(ingress: tuple[str, list[int]]) -> None:
    """The probe finds one of two pods that cannot decide."""
    url, statuses = ingress
    statuses += [200, 503, 200, 200, 200]
    assert probe(url, 20).returncode == 0
    assert len(statuses) == 1, "it started to count again after the refusal"
    statuses[:] = [503]
    refused = probe(url, 0.5)
    assert (refused.returncode, refused.stdout.strip()) == (1, f'{url} answers 503: {{"code": "no_primary"}}')
