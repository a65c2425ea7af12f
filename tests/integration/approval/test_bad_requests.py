"""Bad requests: 4xx with a code and a reason in Chinese, nothing stored, and no error of the service."""

import json
import socket
import uuid

import pytest
from hostile import HOSTILE, JSON
from raw_http import ENDLESS, RAW_REQUESTS, STALLED, answer, explained, sent, waited_for


def refused(answer, case):
    """Check that the answer is the expected refusal, with a text in both languages."""
    assert (answer.status_code, answer.json()["code"]) == (case.status, case.code), answer.text
    assert answer.json().get("field", "") == case.field
    assert any("\u4e00" <= character <= "\u9fff" for character in answer.json()["message"])
    assert answer.json()["message_en"].isascii() or "·" in answer.json()["message_en"]


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_a_hostile_application_is_refused_with_its_reason(service, primary, next_person, case):
    """No row of it is stored."""
    key = str(uuid.uuid4())
    headers = dict(case.headers) | {"Idempotency-Key": key}
    refused(service.client.post("/v1/applications", content=case.make(next_person()), headers=headers), case)
    assert primary.sql("SELECT count(*) FROM approval.application WHERE key = %s", (key,)) == [(0,)]


@pytest.mark.parametrize(
    "media_type", [JSON, "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"', None]
)
def test_json_is_accepted_with_each_spelling_of_its_content_type(service, next_person, media_type):
    """It is also accepted without a content type: then the body is parsed as JSON."""
    more = {"Content-Type": media_type} if media_type else {}
    answer = service.client.post(
        "/v1/applications",
        content=json.dumps(next_person()).encode(),
        headers={"Idempotency-Key": str(uuid.uuid4())} | more,
    )
    assert answer.status_code == 201, answer.text


def connected(service):
    """Return a connection without an HTTP library."""
    url = service.client.base_url
    return socket.create_connection((url.host, url.port), timeout=20)


@pytest.mark.parametrize("case", RAW_REQUESTS, ids=lambda case: case.name)
def test_a_malformed_request_is_refused_with_its_reason(service, case):
    """This includes bytes that are not an HTTP request."""
    with connected(service) as connection:
        sent(connection, case.data)
        status, body = answer(connection)
    assert (status, explained(body)) == (case.status, case.code)


def test_a_stalled_request_is_refused_and_disconnected(service):
    """The service keeps no connection open for a head or a body that does not arrive."""
    for case, stalled, (status, body) in waited_for(STALLED, lambda: connected(service)):
        assert (status, explained(body)) == (case.status, case.code), case.name
        assert stalled.recv(1) == b"", case.name


def test_an_endless_request_is_disconnected(service):
    """The service reads it only up to a limit."""
    with connected(service) as endless, pytest.raises(ConnectionError):
        endless.sendall(ENDLESS)


@pytest.mark.parametrize("path", ["/", "/nowhere", "/healthz", f"/v1/applications/{uuid.UUID(int=1)}"])
def test_a_head_request_is_answered_without_a_body(service, path):
    """Its status is that of the GET request, or 405."""
    status = service.client.head(path).status_code
    assert status in (service.client.get(path).status_code, 405)


def test_no_bad_request_was_an_internal_error(service):
    """There is no internal error in the log, and none in the metrics that the alerts use."""
    assert "request failed" not in service.log.read_text()
    metrics = service.client.get("/metrics").text
    assert [line for line in metrics.splitlines() if 'code="internal"' in line or 'status="500"' in line] == []
