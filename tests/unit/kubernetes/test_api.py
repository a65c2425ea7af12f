"""Handling of the API server's answers: which requests are retried, and the messages for other failures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from stacks.providers.kubernetes import api
from stacks.providers.kubernetes.api import ApiError, Unreachable
from tests.unit.kubernetes.clusters import Script, answer, cluster, kubeconfig_text


def test_the_http_librarys_text_about_a_header_is_not_shown() -> None:
    """It quotes the token, and a second attempt would fail too."""
    server = Script(httpx2.LocalProtocolError("Illegal header value b'Bearer hunter2hunter2 '"))
    with pytest.raises(Unreachable, match="characters that are not allowed") as caught:
        asyncio.run(cluster(server).get("/api/v1/pods"))
    assert "hunter2" not in str(caught.value)
    assert len(server.asked) == 1


POD = {"kind": "Pod", "metadata": {"name": "web", "resourceVersion": "7"}}
BUSY = {
    "too many requests": answer(429, reason="TooManyRequests", message="slow down"),
    "not there for a moment": answer(503, message="apiserver is shutting down"),
    "admission is not ready": answer(403, reason="Forbidden", message="web: not yet ready to handle request"),
    "a lost race": answer(409, reason="Conflict", message="the object has been modified"),
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry without pauses."""
    monkeypatch.setattr(api, "TRIES_S", (0.0, 0.0))


def applied(server: Script, warnings: list[str] | None = None) -> object:
    warn = (warnings if warnings is not None else []).append
    return asyncio.run(cluster(server).apply("/api/v1/pods/web", POD, "ours", force=False, dry_run=False, warn=warn))


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("why", BUSY)
def test_a_temporary_failure_is_retried(why: str) -> None:
    server = Script(BUSY[why], BUSY[why], answer(200, **POD))
    assert applied(server) == POD
    assert len(server.asked) == 3


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("why", BUSY)
def test_a_lasting_failure_is_reported_with_the_servers_text(why: str) -> None:
    server = Script(BUSY[why])
    with pytest.raises(ApiError) as caught:
        applied(server)
    assert caught.value.message == BUSY[why].json()["message"]
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    "final",
    [
        answer(403, reason="Forbidden", message="pods is forbidden"),
        answer(409, reason="AlreadyExists", message="it exists"),
        answer(409, reason="Conflict", message="owned", details={"causes": [{"reason": "FieldManagerConflict"}]}),
        answer(422, reason="Invalid", message="no"),
        answer(500, message="failed to create typed patch object (x): .spec.colour: field not declared in schema"),
    ],
)
def test_a_permanent_failure_is_not_retried(final: httpx2.Response) -> None:
    server = Script(final)
    with pytest.raises(ApiError):
        applied(server)
    assert len(server.asked) == 1


def test_a_patch_for_one_version_is_not_retried_for_the_next() -> None:
    """The same steps would fail again, because they name one resource version."""
    server = Script(BUSY["a lost race"])
    with pytest.raises(ApiError) as caught:
        asyncio.run(cluster(server).patch("/api/v1/pods/web", []))
    assert caught.value.lost_race
    assert len(server.asked) == 1


@pytest.mark.usefixtures("impatient")
def test_a_patch_waits_for_a_busy_server() -> None:
    server = Script(BUSY["too many requests"], answer(200, **POD))
    assert asyncio.run(cluster(server).patch("/api/v1/pods/web", [])) == POD


@pytest.mark.usefixtures("impatient")
def test_a_server_that_refuses_connections_is_retried() -> None:
    server = Script(httpx2.ConnectError("refused"), answer(200, **POD))
    assert applied(server) == POD


@pytest.mark.usefixtures("impatient")
def test_retries_are_reported_once_until_the_next_answer() -> None:
    """All attempts together may take more than half a minute, and a run makes many calls."""
    lines: list[str] = []
    refused, busy, good = httpx2.ConnectError("refused"), BUSY["too many requests"], answer(200, **POD)
    reached = cluster(Script(refused, refused, good, busy, good), lines=lines)

    async def calls() -> None:
        for _ in range(2):
            await reached.get("/api/v1/pods/web")

    asyncio.run(calls())
    server = "the API server at https://192.0.2.1:6443"
    assert lines == [f"{server} does not answer; retrying", f"{server} is busy; retrying"]


def test_a_poll_is_not_retried() -> None:
    server = Script(BUSY["too many requests"])
    with pytest.raises(ApiError):
        asyncio.run(cluster(server).get_once("/api/v1/pods/web"))
    assert len(server.asked) == 1


def test_the_timeout_of_a_connection_is_shorter_than_that_of_an_answer() -> None:
    server = Script(answer(200, **POD))
    asyncio.run(cluster(server).get("/api/v1/pods/web"))
    patience = server.asked[0].extensions["timeout"]
    assert (patience["connect"], patience["read"]) == (api.CONNECT_TIMEOUT_S, api.ANSWER_TIMEOUT_S)


def test_a_quiet_watch_ends_without_a_failure() -> None:
    async def watched() -> list[object]:
        async def stream() -> AsyncIterator[bytes]:
            yield b'{"type": "ADDED", "object": {}}\n'
            raise httpx2.ReadTimeout("quiet")

        asked: list[httpx2.Request] = []

        def handler(request: httpx2.Request) -> httpx2.Response:
            asked.append(request)
            return httpx2.Response(200, content=stream())

        async with cluster(handler).watch("/api/v1/pods") as events:
            seen = [event["type"] async for event in events]
        return [*seen, asked[0].extensions["timeout"]["read"]]

    assert asyncio.run(watched()) == ["ADDED", api.QUIET_S]


EXEC = {"apiVersion": "client.authentication.k8s.io/v1beta1"}


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"exec": {**EXEC, "command": "/nowhere/login"}}, "from its program /nowhere/login (FileNotFoundError"),
        ({"exec": {**EXEC, "command": "/bin/false"}}, "from its program /bin/false (ConfigError"),
        ({"exec": {**EXEC, "command": "/bin/true"}}, "from its program /bin/true (JSONDecodeError"),
        ({"exec": {**EXEC, "command": "/bin/echo", "args": ["{}"]}}, "from its program /bin/echo (KeyError"),
        ({"tokenFile": "/nowhere/token"}, "from its file /nowhere/token (ConfigError"),
        ({"tokenFile": "/"}, "from its file / (IsADirectoryError"),
    ],
)
def test_an_unreadable_token_is_reported_with_its_source(user: dict[str, object], words: str) -> None:
    """There is no retry, because it would run the program again."""
    server = Script(answer(200, **POD))

    async def watched() -> None:
        async with cluster(server, kubeconfig_text(**user)).watch("/api/v1/pods"):
            pass

    for act in (cluster(server, kubeconfig_text(**user)).get("/api/v1/pods/web"), watched()):
        with pytest.raises(Unreachable) as caught:
            asyncio.run(act)
        assert words in str(caught.value)
        assert not caught.value.passing
    assert not server.asked


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("certificate has expired", "has expired, or its authority's has: compare this machine's clock"),
        ("certificate is not yet valid", "is not valid yet: compare this machine's clock"),
        ("IP address mismatch, certificate is not valid for '192.0.2.1'.", "put an address of the certificate into"),
        ("self-signed certificate in certificate chain", "is for another cluster or out of date; get a new one"),
    ],
)
def test_a_refused_certificate_is_reported_with_its_problem(text: str, words: str) -> None:
    failed = f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {text} (_ssl.c:992)"
    server = Script(httpx2.ConnectError(failed))
    with pytest.raises(Unreachable) as caught:
        asyncio.run(cluster(server).get("/api/v1/pods"))
    assert words in str(caught.value)
    assert len(server.asked) == 1


def test_warnings_of_the_server_are_received() -> None:
    """They may be in one header or in several, with quotes."""
    headers = [("Warning", '299 - "unknown field \\"spec.colour\\"", 299 - "second"'), ("Warning", '299 - "third"')]
    heard: list[str] = []
    applied(Script(httpx2.Response(200, json=POD, headers=headers)), heard)
    assert heard == ['unknown field "spec.colour"', "second", "third"]
