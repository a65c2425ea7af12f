"""Settings, the request to the carrier, and receipts."""

import json
from urllib.parse import urlsplit

import h11
import pytest
from messages.carrier import answer, request
from messages.observability import LabelledRegistry, Metrics
from messages.policy import State, receipt_context
from messages.settings import SettingsError, from_environment
from messages.store import Message
from messages.web import REFUSALS, Refused, parse
from prometheus_client import generate_latest

ENVIRONMENT = {
    "GOVCLOUD_SITE": "futian",
    "MESSAGES_DSN": "host=a",
    "MESSAGES_CARRIER_URL": "https://carrier.example/sms/",
    "MESSAGES_CARRIER_TOKEN": "token",
    "MESSAGES_RECEIPT_SECRET": "0123456789abcdef",
}
MESSAGE = Message(
    id="6b1e3a3e-6df0-4d3c-9d0f-6a8f2f7f3a10",
    application_id=42,
    template="approved",
    mobile="13800138000",
    attempts=1,
    age_s=0.1,
)


def test_settings_come_from_the_environment_and_are_safe_by_default():
    """By default all synthetic people are suppressed and synchronous standbys are required."""
    settings = from_environment(ENVIRONMENT)
    assert settings.deliver_synthetic == ""
    assert settings.require_sync is True
    assert settings.carrier_url == "https://carrier.example/sms"
    assert settings.lease > settings.carrier_timeout


def test_secrets_and_numbers_do_not_appear_when_values_are_printed():
    """Values end up in logs and tracebacks."""
    text = repr(from_environment(ENVIRONMENT)) + repr(MESSAGE)
    assert "0123456789abcdef" not in text
    assert "token'" not in text
    assert MESSAGE.mobile not in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GOVCLOUD_SITE", ""),
        ("MESSAGES_DSN", " "),
        ("MESSAGES_CARRIER_URL", "carrier.example"),
        ("MESSAGES_CARRIER_URL", "ftp://carrier.example"),
        ("MESSAGES_CARRIER_TOKEN", ""),
        ("MESSAGES_RECEIPT_SECRET", "short"),
        ("MESSAGES_RECEIPTS_URL", "nowhere"),
        ("MESSAGES_LISTEN", "8090x"),
        ("MESSAGES_PARALLEL", "0"),
        ("MESSAGES_DELIVER_SYNTHETIC", "138"),
        ("MESSAGES_DELIVER_SYNTHETIC", "15"),
        ("MESSAGES_REQUIRE_SYNC", "yes"),
        ("MESSAGES_LEASE_S", "5"),
    ],
)
def test_a_wrong_setting_is_named(name, value):
    """The message is one sentence with the setting's name."""
    with pytest.raises(SettingsError, match=name):
        from_environment(ENVIRONMENT | {name: value})


def test_the_request_has_the_stable_message_id_and_asks_for_a_receipt():
    """The ID is in the body and in Idempotency-Key, so that a carrier recognises a repetition in either way."""
    settings = from_environment(ENVIRONMENT | {"MESSAGES_RECEIPTS_URL": "https://city.example/v1/receipts"})
    head, body = request(settings, urlsplit(settings.carrier_url), MESSAGE)
    headers = {name.decode(): value.decode() for name, value in head.headers}
    assert head.target == b"/sms/v1/messages"
    assert headers["idempotency-key"] == MESSAGE.id
    assert headers["authorization"] == "Bearer token"
    assert headers["host"] == "carrier.example"
    document = json.loads(body)
    assert document["message_id"] == MESSAGE.id
    assert document["to"] == "+8613800138000"
    assert "受理号42" in document["text"]
    context = receipt_context("0123456789abcdef", MESSAGE.id)
    assert document["receipt"] == {"url": "https://city.example/v1/receipts", "context": context}


def test_without_an_address_for_receipts_none_is_asked_for():
    """The carrier then gets no context."""
    settings = from_environment(ENVIRONMENT)
    assert "receipt" not in json.loads(request(settings, urlsplit(settings.carrier_url), MESSAGE)[1])


@pytest.mark.parametrize(("value", "seconds"), [(b"7", 7.0), (b"Wed, 21 Oct 2026 07:28:00 GMT", None), (b"-1", None)])
def test_only_retry_after_in_seconds_is_understood(value, seconds):
    """A date depends on two clocks, so the own delay applies."""
    response = h11.Response(status_code=429, headers=[("Retry-After", value)])
    assert answer(response).retry_after_s == seconds


def receipt(**changes):
    """Return the body of a receipt with some members changed."""
    body = {"message_id": MESSAGE.id, "state": "delivered", "context": "0" * 64} | changes
    return json.dumps(body).encode()


def test_a_receipt_is_parsed_and_further_members_are_ignored():
    """A carrier may add members of its own."""
    parsed = parse(receipt(state="failed", reason="absent", operator="x", message_id=MESSAGE.id.upper()))
    assert (parsed.message_id, parsed.state, parsed.reason) == (MESSAGE.id, State.FAILED, "absent")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "receipt_malformed"),
        (b"[]", "receipt_malformed"),
        (b"\xff", "receipt_malformed"),
        (b"[" * 4000, "receipt_malformed"),
        (b"{}", "receipt_malformed"),
        (receipt(message_id=5), "receipt_malformed"),
        (receipt(message_id="x"), "receipt_malformed"),
        (receipt(state="pending"), "receipt_malformed"),
        (receipt(state=[]), "receipt_malformed"),
        (receipt(context=None), "receipt_malformed"),
        (receipt(reason="a\nb"), "receipt_malformed"),
        (receipt(reason="原因"), "receipt_malformed"),
        (receipt(context=""), "receipt_refused"),
        (receipt(context="\u0660" * 64), "receipt_refused"),
    ],
)
def test_a_malformed_receipt_is_refused(raw, code):
    """No text from outside reaches the log or the database unchecked."""
    with pytest.raises(Refused, match=code):
        parse(raw)
    assert REFUSALS[code][0] in (400, 403)


def test_metrics_have_the_name_of_the_instance_if_it_has_one():
    """Scrapes of one address reach different instances. Their counters must not be mixed up."""
    metrics = Metrics("futian")
    metrics.attempts.labels("sent", "").inc()
    text = generate_latest(LabelledRegistry(metrics.registry, "messages-1")).decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(samples) > 5
    assert all('pod="messages-1"' in line for line in samples)
