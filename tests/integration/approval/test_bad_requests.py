"""Whatever comes in at the door: 4xx with a code and a reason in Chinese, nothing stored, and never a fault of ours."""

import json
import socket
import uuid

import pytest
from hostile import HOSTILE, JSON
from raw_http import ENDLESS, RAW_REQUESTS, STALLED, answer, explained, sent, waited_for


def refused(answer, case):
    """The answer is that refusal, in words for both readers."""
    assert (answer.status_code, answer.json()["code"]) == (case.status, case.code), answer.text
    assert answer.json().get("field", "") == case.field
    assert any("\u4e00" <= character <= "\u9fff" for character in answer.json()["message"])
    assert answer.json()["message_en"].isascii() or "·" in answer.json()["message_en"]


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case.name)
def test_a_hostile_application_is_refused_with_its_reason(service, primary, next_person, case):
    """And not a row of it is stored."""
    key = str(uuid.uuid4())
    headers = dict(case.headers) | {"Idempotency-Key": key}
    refused(service.client.post("/v1/applications", content=case.make(next_person()), headers=headers), case)
    assert primary.sql("SELECT count(*) FROM approval.application WHERE key = %s", (key,)) == [(0,)]


@pytest.mark.parametrize(
    "media_type", [JSON, "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"', None]
)
def test_json_is_taken_however_it_is_spelt(service, next_person, media_type):
    """Also without a content type: what is not told can only be tried."""
    more = {"Content-Type": media_type} if media_type else {}
    answer = service.client.post(
        "/v1/applications",
        content=json.dumps(next_person()).encode(),
        headers={"Idempotency-Key": str(uuid.uuid4())} | more,
    )
    assert answer.status_code == 201, answer.text


def connected(service):
    """A connection without a library."""
    url = service.client.base_url
    return socket.create_connection((url.host, url.port), timeout=20)


@pytest.mark.parametrize("case", RAW_REQUESTS, ids=lambda case: case.name)
def test_a_crooked_request_is_refused_with_its_reason(service, case):
    """Also where it cannot be read as a request."""
    with connected(service) as crooked:
        sent(crooked, case.data)
        status, body = answer(crooked)
    assert (status, explained(body)) == (case.status, case.code)


def test_who_does_not_go_on_is_told_and_let_go(service):
    """No connection is kept for what does not come, neither of a head nor of a body."""
    for case, stalled, (status, body) in waited_for(STALLED, lambda: connected(service)):
        assert (status, explained(body)) == (case.status, case.code), case.name
        assert stalled.recv(1) == b"", case.name


def test_who_never_ends_is_told_and_let_go(service):
    """A connection that goes on and on is read for a while only."""
    with connected(service) as endless, pytest.raises(ConnectionError):
        endless.sendall(ENDLESS)


@pytest.mark.parametrize("path", ["/", "/nowhere", "/healthz", f"/v1/applications/{uuid.UUID(int=1)}"])
def test_a_question_for_the_head_alone_is_answered_without_a_body(service, path):
    """By its status, like the one for all of it."""
    status = service.client.head(path).status_code
    assert status in (service.client.get(path).status_code, 405)


def test_none_of_it_was_a_fault(service):
    """Neither in the log nor in the figures that the alerts read."""
    assert "request failed" not in service.log.read_text()
    figures = service.client.get("/metrics").text
    assert [line for line in figures.splitlines() if 'code="internal"' in line or 'status="500"' in line] == []
