"""Messages between a real database with a synchronous standby and a simulated carrier."""

from __future__ import annotations

import json
import re
import signal
import time

import httpx
import psycopg
import pytest
from messages.policy import receipt_context

from tests.integration.messages.conftest import SECRET, SYNCHRONOUS, Outbox, Simulator, Start
from tests.polling import until
from tests.postgres import Server

WAITING = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'messages-claim'"
QUICK = {"MESSAGES_LEASE_S": "3", "MESSAGES_CARRIER_TIMEOUT_S": "1"}
STOPPED = (0, -signal.SIGTERM)
"""uvicorn shuts down in order and then repeats the signal."""
OUTAGE_S, OUTAGE_RATE_PER_S = 600, 10
LATENCY_S, LATENCY_RATE_PER_S = 20, 50


def delivered(outbox: Outbox) -> bool:
    """Return whether every message of the test has its receipt."""
    return outbox.states() == {"delivered": len(outbox.applications)}


def test_a_decision_becomes_a_message_and_its_receipt_is_matched(
    outbox: Outbox, carrier: Simulator, start: Start
) -> None:
    """Afterwards the number is only in the application. Log and metrics never have it."""
    instance = start()
    (application,) = outbox.decide()
    until("the receipt", lambda: delivered(outbox), 20)
    (entry,) = (entry for entry in carrier.accepted() if entry["to"] in outbox.numbers)
    assert entry["text"].startswith("【深圳政务】")
    assert f"受理号{application}）已批准" in entry["text"]
    assert {entry["message_id"]} == outbox.ids()
    row = outbox.server.sql(
        "SELECT o.mobile, d.mobile, o.suppressed, o.sent_at IS NOT NULL, d.attempts FROM approval.outbox o"
        " JOIN messages.delivery d ON d.outbox_id = o.id WHERE o.application_id = %s",
        (application,),
    )
    assert row == [(None, None, False, True, 1)]
    assert instance.metric('messages_receipts_total{meaning="delivered"}') == 1
    assert instance.client.get("/readyz").status_code == 200
    assert instance.stop() in STOPPED
    text = instance.log.read_text()
    assert entry["message_id"] in text
    assert not re.search(r"1540\d{7}", text)


def test_two_instances_send_each_message_once(outbox: Outbox, carrier: Simulator, start: Start) -> None:
    """They share one queue, and both work on it."""
    instances = [start(), start()]
    outbox.decide(120)
    until("all receipts", lambda: delivered(outbox), 30)
    assert set(carrier.times(outbox).values()) == {1}
    assert carrier.times(outbox).keys() == outbox.ids()
    shares = [instance.metric('messages_attempts_total{reason="",state="sent"}') for instance in instances]
    assert sum(shares) == 120
    assert min(shares) > 0


@pytest.mark.parametrize("mode", ["down", pytest.param("busy", marks=pytest.mark.nightly)])
def test_a_carrier_outage_loses_nothing(outbox: Outbox, carrier: Simulator, start: Start, mode: str) -> None:
    """During the outage only probes are sent. Afterwards each message arrives."""
    instance = start()
    carrier.mode(mode)
    outbox.decide(60)
    until("the outage is noticed", lambda: instance.metric("messages_carrier_down") == 1, 20)
    outbox.decide(20)
    assert carrier.times(outbox) == {}
    attempts = sum(
        row[0] for row in outbox.server.sql("SELECT attempts FROM messages.delivery WHERE state = 'pending'")
    )
    assert attempts < 40, "the queue was tried through"
    assert instance.client.get("/readyz").status_code == 200
    carrier.mode("normal")
    until("all receipts", lambda: delivered(outbox), 40)
    assert set(carrier.times(outbox).values()) == {1}


@pytest.mark.nightly
def test_a_carrier_that_restarts_keeps_what_it_accepted(outbox: Outbox, carrier: Simulator, start: Start) -> None:
    """It is killed with messages under way. Each message arrives, none is lost between the two."""
    start(**QUICK)
    carrier.mode("slow", 0.3)
    outbox.decide(40)
    until("some messages are accepted", lambda: len(carrier.times(outbox)) > 4, 20)
    carrier.kill()
    carrier.start()
    carrier.mode("normal")
    until("all receipts", lambda: delivered(outbox), 40)
    assert carrier.times(outbox).keys() == outbox.ids()


def test_a_message_that_is_accepted_twice_has_the_same_id(outbox: Outbox, carrier: Simulator, start: Start) -> None:
    """The carrier accepts and does not answer. Without a receipt, only the ID shows that the second is the same."""
    start(MESSAGES_RECEIPTS_URL="")
    carrier.mode("accept-twice")
    outbox.decide(4)
    until("all are sent", lambda: outbox.states() == {"sent": 4}, 30)
    assert set(carrier.times(outbox).values()) == {2}
    assert carrier.times(outbox).keys() == outbox.ids()


def test_a_receipt_of_an_unanswered_attempt_is_matched(outbox: Outbox, carrier: Simulator, start: Start) -> None:
    """A message that is delivered is not sent again, except if the second attempt was already under way."""
    start()
    carrier.mode("accept-twice")
    outbox.decide(4)
    until("all receipts", lambda: delivered(outbox), 30)
    assert carrier.times(outbox).keys() == outbox.ids()
    assert set(carrier.times(outbox).values()) <= {1, 2}


def test_a_killed_instance_leaves_its_messages_to_the_other(outbox: Outbox, carrier: Simulator, start: Start) -> None:
    """It is killed in the middle of an attempt. The lease ends, and the other one repeats it with the same ID."""
    first = start(**QUICK)
    carrier.mode("slow", 0.8)
    outbox.decide(3)
    until("the attempts run", lambda: first.metric("messages_in_flight") == 3, 20, 0.02)
    first.kill()
    ids = outbox.ids()
    carrier.mode("normal")
    start(**QUICK)
    until("all receipts", lambda: delivered(outbox), 30)
    assert outbox.ids() == ids
    assert carrier.times(outbox).keys() == ids


def test_other_synthetic_people_get_no_message(outbox: Outbox, carrier: Simulator, start: Start) -> None:
    """Their rows are not marked as suppressed, as if the other service had a wrong setting. Nothing is sent."""
    instance = start()
    outbox.decide(2, segment="1541")
    without = outbox.decide(1, segment="1542")
    outbox.server.sql("UPDATE approval.outbox SET mobile = NULL WHERE application_id = ANY(%s)", (without,))
    query = "SELECT bool_and(suppressed AND mobile IS NULL) FROM approval.outbox WHERE application_id = ANY(%s)"
    until("the rows are suppressed", lambda: outbox.server.sql(query, (outbox.applications,)) == [(True,)], 20)
    last = Outbox(outbox.server)
    last.decide()
    until("a later message", lambda: delivered(last), 20)
    assert carrier.times(outbox) == {}
    assert outbox.states() == {}
    assert instance.metric('messages_suppressed_total{reason="synthetic"}') >= 2


def test_nothing_is_sent_before_a_second_site_has_the_decision(
    primary: Server, outbox: Outbox, carrier: Simulator, start: Start
) -> None:
    """The decision is visible on the primary, but no standby has it, and the wait of the claim is cancelled as well."""
    instance = start(**QUICK)
    until("the first poll", lambda: instance.client.get("/readyz").status_code == 200, 20)
    primary.configure(synchronous_standby_names="ANY 1 (nowhere)")
    local = Server(home=primary.home, name=primary.name, port=primary.port)
    local.dsn = lambda user, database="approval": f"{primary.dsn(user, database)} options='-c synchronous_commit=local'"  # type: ignore[method-assign]
    visible = Outbox(local)
    try:
        visible.decide(3)
        until("the claim waits", lambda: primary.sql(WAITING) != [], 20)
        primary.sql(f"SELECT pg_cancel_backend(pid) FROM ({WAITING}) AS w")
        until("the claim is refused", lambda: instance.metric("messages_unconfirmed_total") >= 1, 20)
        until("the claim is visible on the primary", lambda: visible.states() == {"pending": 3}, 20)
        primary.configure(synchronous_standby_names="")
        refused = instance.metric("messages_unconfirmed_total")
        until(
            "claims without any copy are refused", lambda: instance.metric("messages_unconfirmed_total") > refused, 20
        )
        assert carrier.times(visible) == {}
    finally:
        primary.configure(synchronous_standby_names=SYNCHRONOUS)
    until("all receipts", lambda: delivered(visible), 40)
    assert set(carrier.times(visible).values()) == {1}


def test_messages_about_one_application_keep_the_order_of_its_decisions(
    primary: Server, outbox: Outbox, carrier: Simulator, start: Start
) -> None:
    """The first one has to be repeated. The second one waits for it."""
    from approval.admin import review
    from approval.decision import State

    start()
    carrier.mode("busy")
    (application,) = outbox.decide(decision="manual_review")
    until("a first attempt", lambda: outbox.states() == {"pending": 1}, 20)
    ((key,),) = primary.sql("SELECT key::text FROM approval.application WHERE id = %s", (application,))
    review(primary.dsn("approval_owner"), key, State.APPROVED, "1042", "学历已核实")
    carrier.mode("normal")
    until("both receipts", lambda: outbox.states() == {"delivered": 2}, 40)
    texts = [entry["text"] for entry in carrier.accepted() if entry["to"] in outbox.numbers]
    assert ["人工审核" in text for text in texts] == [True, False]


def test_a_forged_or_unknown_receipt_changes_nothing(outbox: Outbox, carrier: Simulator, start: Start) -> None:
    """Only the carrier of a message knows its context."""
    instance = start(MESSAGES_RECEIPTS_URL="")
    outbox.decide()
    until("the message is sent", lambda: outbox.states() == {"sent": 1}, 20)
    (message,) = outbox.ids()
    unknown = "6b1e3a3e-6df0-4d3c-9d0f-6a8f2f7f3a10"

    def receipt(number: str, context: str) -> httpx.Response:
        body = {"message_id": number, "state": "failed", "reason": "absent", "context": context}
        return instance.client.post("/v1/receipts", content=json.dumps(body))

    assert receipt(message, receipt_context(SECRET, unknown)).status_code == 403
    assert receipt(unknown, receipt_context(SECRET, unknown)).status_code == 404
    assert instance.client.post("/v1/receipts", content=b"x" * 5000).status_code == 413
    assert instance.client.get("/v1/receipts").status_code == 405
    assert outbox.states() == {"sent": 1}
    assert receipt(message, receipt_context(SECRET, message)).json() == {"status": "failed"}
    assert receipt(message, receipt_context(SECRET, message)).json() == {"status": "repeated"}
    assert outbox.states() == {"failed": 1}


def test_the_service_may_only_use_the_outbox_and_its_own_table(primary: Server, standby: Server) -> None:
    """Its login reads no application, no audit row and no register, and deletes nothing."""
    with psycopg.connect(primary.dsn("messages_app"), autocommit=True) as connection:
        for act in (
            "SELECT FROM approval.application",
            "SELECT FROM approval.audit",
            "SELECT FROM public_security.shared_resident",
            "INSERT INTO approval.outbox (application_id, channel, template, suppressed) VALUES (1, 'sms', 'x', false)",
            "UPDATE approval.outbox SET template = 'x'",
            "DELETE FROM approval.outbox",
            "DELETE FROM messages.delivery",
            "CREATE TABLE messages.mine (n int)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(act)


def test_the_schema_applied_again_changes_nothing(primary: Server, standby: Server) -> None:
    """The rights are given once."""
    from approval.schema import apply

    assert apply(primary.dsn("approval_owner")) == []


@pytest.mark.nightly
def test_decisions_reach_the_carrier_within_two_seconds(outbox: Outbox, carrier: Simulator, start: Start) -> None:
    """p99 of a steady load. Both clocks are this machine's."""
    start()
    started = time.monotonic()
    for n in range(LATENCY_S * LATENCY_RATE_PER_S):
        time.sleep(max(0.0, started + n / LATENCY_RATE_PER_S - time.monotonic()))
        outbox.decide()
    until("all receipts", lambda: delivered(outbox), 60)
    arrived = {entry["message_id"]: entry["at"] for entry in carrier.accepted()}
    rows = outbox.server.sql(
        "SELECT id::text, extract(epoch FROM created_at)::float FROM messages.delivery WHERE application_id = ANY(%s)",
        (outbox.applications,),
    )
    waits = sorted(arrived[number] - decided for number, decided in rows)
    assert waits[int(len(waits) * 0.99)] < 2.0


@pytest.mark.nightly
def test_a_carrier_outage_of_ten_minutes_loses_nothing(outbox: Outbox, carrier: Simulator, start: Start) -> None:
    """Decisions are made all the time. One instance is killed and replaced in the middle."""
    instances = [start(), start()]
    carrier.mode("down")
    started = time.monotonic()
    for n in range(OUTAGE_S):
        time.sleep(max(0.0, started + n - time.monotonic()))
        outbox.decide(OUTAGE_RATE_PER_S)
        if n == OUTAGE_S // 2:
            instances[0].kill()
            start()
    assert carrier.times(outbox) == {}
    carrier.mode("normal")
    until("all receipts", lambda: delivered(outbox), 180, 1.0)
    assert carrier.times(outbox).keys() == outbox.ids()
    assert len(outbox.ids()) == OUTAGE_S * OUTAGE_RATE_PER_S


def test_a_new_primary_sends_what_the_old_one_had_claimed(
    primary: Server, standby: Server, outbox: Outbox, carrier: Simulator, start: Start
) -> None:
    """The primary crashes during an outage of the carrier. The standby knows every claim, so the IDs stay the same.

    This test comes last, because it ends the primary.
    """
    both = f"host={primary.home},{primary.home} port={primary.port},{standby.port} user=messages_app dbname=approval"
    instance = start(MESSAGES_DSN=f"{both} target_session_attrs=read-write", **QUICK)
    carrier.mode("down")
    outbox.decide(20)
    until("first attempts", lambda: instance.metric("messages_carrier_down") == 1, 20)
    ids = outbox.ids()
    assert ids
    primary.stop("immediate")
    standby.promote()
    standby.configure(synchronous_standby_names="")
    instance.stop()
    outbox.server = standby
    carrier.mode("normal")
    start(MESSAGES_DSN=standby.dsn("messages_app"), MESSAGES_REQUIRE_SYNC="0", **QUICK)
    until("all receipts", lambda: delivered(outbox), 40)
    assert ids <= outbox.ids()
    assert carrier.times(outbox).keys() == outbox.ids()
    assert len(outbox.ids()) == 20
