"""The middleware around every request."""

import asyncio
import json
import logging

from approval.observability import Metrics
from approval.problems import EXPLANATIONS
from approval.web import CLIENT_GONE, MAX_WRITES, RequestMiddleware
from prometheus_client import generate_latest
from starlette.requests import ClientDisconnect


def scope(method, path="/v1/applications"):
    """Return the ASGI scope of a request."""
    return {"type": "http", "method": method, "path": path, "headers": []}


async def request(middleware, method, path="/v1/applications"):
    """Send one request and return status, headers and body of the answer."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    await middleware(scope(method, path), receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(body)


async def fine(scope, receive, send):
    """Answer 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def test_too_many_concurrent_applications_are_refused_at_once_and_reads_are_not():
    """The refusal has the code overloaded and Retry-After. Later, when the others are done, one is accepted again."""

    async def scenario():
        release = asyncio.Event()

        async def slow(scope, receive, send):
            if scope["method"] == "POST":
                await release.wait()
            await fine(scope, receive, send)

        middleware = RequestMiddleware(slow, "futian", Metrics("futian"))
        working = [asyncio.create_task(request(middleware, "POST")) for _ in range(MAX_WRITES)]
        await asyncio.sleep(0)
        status, headers, body = await request(middleware, "POST")
        assert (status, body["code"], headers[b"retry-after"]) == (503, "overloaded", b"1")
        assert (await request(middleware, "GET"))[0] == 200
        release.set()
        assert {answer[0] for answer in await asyncio.gather(*working)} == {200}
        assert (await request(middleware, "POST"))[0] == 200

    asyncio.run(scenario())


def test_an_unexpected_error_is_503_with_the_sites_name():
    """The answer is never 500 and never has a traceback."""

    async def broken(scope, receive, send):
        raise RuntimeError("boom")

    status, headers, body = asyncio.run(request(RequestMiddleware(broken, "nanshan", Metrics("nanshan")), "GET"))
    assert (status, body["code"], headers[b"x-govcloud-site"]) == (503, "internal", b"nanshan")
    assert body["message"] == EXPLANATIONS["internal"].zh
    assert "boom" not in json.dumps(body)


def test_a_client_that_disconnects_is_not_logged_as_an_error(caplog):
    """It is counted and logged as one line without a traceback, and no answer is sent."""
    sent = []

    async def reads_on(scope, receive, send):
        raise ClientDisconnect

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    metrics = Metrics("futian")
    caplog.set_level(logging.INFO, "approval")
    asyncio.run(RequestMiddleware(reads_on, "futian", metrics)(scope("POST"), receive, send))
    assert sent == []
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [("request", None)]
    assert caplog.records[0].fields["status"] == CLIENT_GONE
    assert f'status="{CLIENT_GONE}"' in generate_latest(metrics.registry).decode()
