"""The loop of the dispatcher, with a queue and a carrier in memory."""

import asyncio
import time
from dataclasses import replace

import psycopg
import pytest
from messages.dispatcher import Dispatcher
from messages.observability import Metrics
from messages.policy import OPENS_AFTER, Answer, State
from messages.settings import from_environment
from messages.store import Claim, Message, Queue, Unconfirmed

from tests.unit.messages.test_service import ENVIRONMENT

SETTINGS = from_environment(ENVIRONMENT | {"MESSAGES_PARALLEL": "4"})


class MemoryStore:
    """A queue in memory. `fail_claims` and `fail_records` are errors that are raised first."""

    def __init__(self, count, fail_claims=(), fail_records=()):
        self.waiting = [
            Message(id=str(n), application_id=n, template="approved", mobile="13800138000", attempts=1, age_s=0.0)
            for n in range(count)
        ]
        self.fail_claims, self.fail_records = list(fail_claims), list(fail_records)
        self.results, self.claimed_at = {}, []

    async def claim(self, limit):
        self.claimed_at.append(limit)
        if self.fail_claims:
            raise self.fail_claims.pop(0)
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        return Claim(messages=tuple(taken), suppressed=(), taken=0)

    async def record(self, results):
        if self.fail_records:
            raise self.fail_records.pop(0)
        for result in results:
            self.results[result.id] = result
            if result.state is State.PENDING:
                again = Message(
                    id=result.id,
                    application_id=0,
                    template="approved",
                    mobile="1",
                    attempts=result.attempts + 1,
                    age_s=0,
                )
                self.waiting.append(again)

    async def expire(self):
        return 0

    async def queue(self):
        return Queue(outbox=0, pending=len(self.waiting), without_receipt=0, age_s=0.0)


class MemoryCarrier:
    """A carrier in memory. `answers` come first, then every message is accepted."""

    def __init__(self, answers=(), delay_s=0.0):
        self.answers, self.delay_s = list(answers), delay_s
        self.calls, self.at_once, self.most = [], 0, 0

    async def send(self, message):
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(self.delay_s)
        self.at_once -= 1
        self.calls.append(message.id)
        return self.answers.pop(0) if self.answers else Answer(status=202)


def deliver(store, carrier, done, settings=SETTINGS, **more):
    """Run a dispatcher until `done` is true. Return it."""

    async def scenario():
        dispatcher = Dispatcher(settings, store, carrier, Metrics("futian"), chance=lambda: 0.0, **more)
        running = asyncio.create_task(dispatcher.run())
        async with asyncio.timeout(20):
            while not done():
                await asyncio.sleep(0.01)
        dispatcher.stop()
        await running
        return dispatcher

    return asyncio.run(scenario())


def test_all_messages_are_sent_side_by_side_within_the_limit():
    """A claim never takes more than can be sent at once, so that other instances get the rest."""
    store, carrier = MemoryStore(40), MemoryCarrier(delay_s=0.005)
    deliver(store, carrier, lambda: len(store.results) == 40)
    assert sorted(carrier.calls, key=int) == [str(n) for n in range(40)]
    assert carrier.most == 4
    assert {result.state for result in store.results.values()} == {State.SENT}


def test_nothing_is_sent_after_a_claim_that_no_second_site_has():
    """The first claims are not confirmed, or the database is away. Later ones are."""
    store = MemoryStore(3, fail_claims=[Unconfirmed("cancelled"), psycopg.OperationalError("gone")])
    carrier = MemoryCarrier()
    dispatcher = deliver(store, carrier, lambda: len(store.results) == 3)
    assert sorted(carrier.calls) == ["0", "1", "2"]
    assert dispatcher.polled_within(10)


def test_a_claim_whose_lease_is_nearly_over_is_not_sent():
    """Its commit waited so long that another instance may send the message next."""
    settings = replace(SETTINGS, lease=SETTINGS.carrier_timeout)
    ticks = iter(range(10_000))
    store, carrier = MemoryStore(2), MemoryCarrier()
    deliver(store, carrier, lambda: len(store.claimed_at) > 1, settings, clock=lambda: float(next(ticks)))
    assert carrier.calls == []


def test_results_are_kept_until_they_are_stored():
    """The database is away when the carrier accepts."""
    store = MemoryStore(2, fail_records=[psycopg.OperationalError("gone"), Unconfirmed("cancelled")])
    deliver(store, MemoryCarrier(), lambda: len(store.results) == 2)
    assert {result.state for result in store.results.values()} == {State.SENT}


def test_an_unanswered_attempt_is_repeated_with_the_same_id_and_a_later_number():
    """A refused message is not."""
    store = MemoryStore(2)
    carrier = MemoryCarrier([Answer(status=None, error="timeout"), Answer(status=400)])
    deliver(store, carrier, lambda: len(carrier.calls) == 3 and len(store.results) == 2)
    assert carrier.calls == ["0", "1", "0"]
    assert (store.results["0"].state, store.results["0"].attempts) == (State.SENT, 2)
    assert (store.results["1"].state, store.results["1"].reason) == (State.FAILED, "status_400")


def test_while_the_carrier_is_down_the_queue_is_not_tried_through():
    """After the first failures only single probes are sent, and after the first success all messages."""
    down = [Answer(status=None, error="connection")] * (OPENS_AFTER + 3)
    store, carrier = MemoryStore(200), MemoryCarrier(down)
    started = time.monotonic()
    deliver(store, carrier, lambda: sum(r.state is State.SENT for r in store.results.values()) == 200)
    assert len(carrier.calls) <= 200 + OPENS_AFTER + 3 + 4
    assert time.monotonic() - started > 0.5, "there were pauses between the probes"


def test_a_stopping_instance_finishes_its_attempts():
    """A new version is rolled out without a repeated message."""
    store, carrier = MemoryStore(4), MemoryCarrier(delay_s=0.2)
    deliver(store, carrier, lambda: carrier.at_once == 4)
    assert len(store.results) == 4


def test_an_error_in_one_attempt_stops_neither_the_others_nor_the_loop(caplog):
    """It is logged with its traceback. The lease of that message ends, and the message is repeated."""

    class Broken(MemoryCarrier):
        async def send(self, message):
            if message.id == "1":
                raise RuntimeError("boom")
            return await super().send(message)

    store = MemoryStore(6)
    deliver(store, Broken(), lambda: len(store.results) == 5)
    assert "1" not in store.results
    assert any(record.exc_info for record in caplog.records)


def test_the_details_of_a_database_error_are_not_logged(caplog):
    """PostgreSQL shows the values of a refused row."""
    detail = "new row violates check constraint\nDETAIL:  Failing row contains (1, approved, 13800138000, pending)."
    errors = [psycopg.errors.CheckViolation(detail)]
    store = MemoryStore(1, fail_claims=errors, fail_records=errors)
    deliver(store, MemoryCarrier(), lambda: "0" in store.results)
    text = "".join(str(record.__dict__) for record in caplog.records)
    assert text.count("new row violates check constraint") == 2
    assert "13800138000" not in text


@pytest.mark.parametrize("answers", [[], [Answer(status=400)], [Answer(status=None, error="timeout")]])
def test_no_log_line_has_a_number(caplog, answers):
    """Every result is logged with the message ID."""
    caplog.set_level("DEBUG")
    store = MemoryStore(1)
    deliver(store, MemoryCarrier(answers), lambda: "0" in store.results)
    text = "".join(str(record.__dict__) for record in caplog.records)
    assert "'message': '0'" in text
    assert "13800138000" not in text
