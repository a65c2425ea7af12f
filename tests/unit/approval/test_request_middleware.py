"""What surrounds every request."""

import asyncio
import json
import logging

from approval.observability import Metrics
from approval.problems import EXPLANATIONS
from approval.web import CLIENT_GONE, MAX_WRITES, RequestMiddleware
from prometheus_client import generate_latest
from starlette.requests import ClientDisconnect


def scope(method, path="/v1/applications"):
    """A request as the server hands it over."""
    return {"type": "http", "method": method, "path": path, "headers": []}


async def request(middleware, method, path="/v1/applications"):
    """Status, headers and body of one request."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    await middleware(scope(method, path), receive, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], dict(sent[0]["headers"]), json.loads(body)


async def fine(scope, receive, send):
    """An application that answers 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


def test_more_applications_than_can_be_worked_on_are_refused_at_once_and_reads_are_not():
    """They say overloaded and Retry-After; when the others are done, applications are taken again."""

    async def story():
        release = asyncio.Event()

        async def slow(scope, receive, send):
            if scope["method"] == "POST":
                await release.wait()
            await fine(scope, receive, send)

        middleware = RequestMiddleware(slow, "futian", Metrics("futian"))
        working = [asyncio.create_task(request(middleware, "POST")) for _ in range(MAX_WRITES)]
        await asyncio.sleep(0)
        status, headers, told = await request(middleware, "POST")
        assert (status, told["code"], headers[b"retry-after"]) == (503, "overloaded", b"1")
        assert (await request(middleware, "GET"))[0] == 200
        release.set()
        assert {answer[0] for answer in await asyncio.gather(*working)} == {200}
        assert (await request(middleware, "POST"))[0] == 200

    asyncio.run(story())


def test_a_fault_nobody_foresaw_is_503_with_the_sites_name():
    """Never 500, never a traceback."""

    async def broken(scope, receive, send):
        raise RuntimeError("boom")

    status, headers, told = asyncio.run(request(RequestMiddleware(broken, "nanshan", Metrics("nanshan")), "GET"))
    assert (status, told["code"], headers[b"x-govcloud-site"]) == (503, "internal", b"nanshan")
    assert told["message"] == EXPLANATIONS["internal"].zh
    assert "boom" not in json.dumps(told)


def test_a_client_that_goes_away_is_no_fault_of_ours(caplog):
    """It is counted and logged as one line without a traceback, and nothing is sent to nobody."""
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
