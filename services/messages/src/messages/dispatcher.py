"""The loop that claims messages, sends them side by side, and stores the results.

Any number of instances may run, at any site. They share the work by their claims in the database, not by messages to
each other.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import psycopg

from messages.observability import Metrics, reason_of
from messages.policy import Answer, Breaker, State, judge, retry_delay_s
from messages.settings import Settings
from messages.store import Claim, Message, Queue, Result, Unconfirmed

log = logging.getLogger("messages.dispatcher")

RECOVERY_S = 0.5
"""Pause after a failed access to the database."""
HOUSEKEEPING_S = 5.0
DRAIN_S = 8.0
"""Longest time that a stopping instance waits for its last results. Other instances repeat attempts without one."""


class StoreLike(Protocol):
    """What the dispatcher needs of `messages.store.Store`."""

    async def claim(self, limit: int) -> Claim: ...
    async def record(self, results: list[Result]) -> None: ...
    async def expire(self) -> int: ...
    async def queue(self) -> Queue: ...


class CarrierLike(Protocol):
    """What the dispatcher needs of `messages.carrier.Carrier`."""

    async def send(self, message: Message) -> Answer: ...


class Dispatcher:
    """Delivers messages until `stop` is called. Times are seconds of the monotonic clock."""

    def __init__(
        self,
        settings: Settings,
        store: StoreLike,
        carrier: CarrierLike,
        metrics: Metrics,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._settings, self._store, self._carrier, self._metrics = settings, store, carrier, metrics
        self._clock, self._chance = clock, chance
        self._breaker = Breaker(chance)
        self._in_flight: set[asyncio.Task[None]] = set()
        self._results: asyncio.Queue[Result] = asyncio.Queue()
        self._free = asyncio.Event()
        self._stopping = asyncio.Event()
        self._polled_s: float | None = None
        metrics.carrier_down.set_function(lambda: float(self._breaker.open))
        metrics.in_flight.set_function(lambda: len(self._in_flight))
        metrics.connected.set_function(lambda: -1.0 if self._polled_s is None else clock() - self._polled_s)

    def polled_within(self, seconds: float) -> bool:
        """Return whether the database has confirmed a poll within the last seconds."""
        return self._polled_s is not None and self._clock() - self._polled_s <= seconds

    async def run(self) -> None:
        """Deliver messages. After `stop`, finish the running attempts and store their results."""
        recorder = asyncio.create_task(self._record_all())
        housekeeper = asyncio.create_task(self._keep_house())
        try:
            while not self._stopping.is_set():
                await self._poll()
            await self._drain()
        finally:
            for task in (recorder, housekeeper, *self._in_flight):
                task.cancel()

    def stop(self) -> None:
        """Claim nothing more."""
        self._stopping.set()
        self._free.set()

    async def _poll(self) -> None:
        """Claim messages and start their attempts. Return when it is time for the next poll.

        The next poll follows at once if more messages may be due. If no attempt is allowed, it follows when one ends,
        or after the poll interval.
        """
        free = self._settings.parallel - len(self._in_flight)
        self._free.clear()
        started = self._clock()
        limit = self._breaker.allowed(free, started)
        if limit == 0:
            await self._pause(self._settings.poll.total_seconds(), self._free)
            return
        try:
            claim = await self._store.claim(limit)
        except (Unconfirmed, psycopg.Error, OSError) as error:
            if isinstance(error, Unconfirmed):
                self._metrics.unconfirmed.inc()
            log.warning("nothing claimed", extra={"fields": {"reason": reason_of(error)}})
            await self._pause(RECOVERY_S, self._stopping)
            return
        self._polled_s = self._clock()
        for reason in claim.suppressed:
            self._metrics.suppressed.labels(reason).inc()
        self._start(claim, started)
        if claim.taken or claim.suppressed:
            return
        full = len(claim.messages) == limit
        await self._pause(self._settings.poll.total_seconds(), self._free if full else self._stopping)

    def _start(self, claim: Claim, started: float) -> None:
        """Start the attempts of a claim, unless its commit took so long that another instance may repeat them soon."""
        leased = started + (self._settings.lease - self._settings.carrier_timeout).total_seconds()
        if self._clock() > leased:
            log.warning("claim too late", extra={"fields": {"messages": len(claim.messages)}})
            return
        for message in claim.messages:
            self._breaker.started(self._clock())
            task = asyncio.create_task(self._attempt(message))
            self._in_flight.add(task)
            task.add_done_callback(self._finish)

    def _finish(self, task: asyncio.Task[None]) -> None:
        self._in_flight.discard(task)
        self._free.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("attempt failed", exc_info=error)

    async def _attempt(self, message: Message) -> None:
        """Send one message and queue the result."""
        started = self._clock()
        answer = await self._carrier.send(message)
        now, verdict = self._clock(), judge(answer)
        self._breaker.record(verdict, now)
        self._metrics.attempts.labels(verdict.state, verdict.reason).inc()
        if verdict.state is State.SENT:
            self._metrics.handover.observe(message.age_s + now - started)
        delay = retry_delay_s(message.attempts, answer.retry_after_s, self._chance)
        self._results.put_nowait(
            Result(id=message.id, attempts=message.attempts, state=verdict.state, reason=verdict.reason, delay_s=delay)
        )
        level = logging.INFO if verdict.state is State.SENT else logging.WARNING
        fields = {
            "message": message.id,
            "application": message.application_id,
            "attempt": message.attempts,
            "state": verdict.state.value,
            "reason": verdict.reason,
            "age_s": round(message.age_s + now - started, 3),
        }
        log.log(level, "attempt", extra={"fields": fields})

    async def _record_all(self) -> None:
        """Store results for ever, all waiting ones in one transaction. Results are kept until they are stored."""
        while True:
            results = [await self._results.get()]
            while not self._results.empty():
                results.append(self._results.get_nowait())
            while True:
                try:
                    await self._store.record(results)
                    break
                except (Unconfirmed, psycopg.Error, OSError) as error:
                    log.warning("results not stored yet", extra={"fields": {"reason": reason_of(error)}})
                    await asyncio.sleep(RECOVERY_S)
            for _ in results:
                self._results.task_done()

    async def _keep_house(self) -> None:
        """Give up old messages and measure the queue, for ever."""
        while True:
            with suppress(Unconfirmed, psycopg.Error, OSError):
                self._metrics.expired.inc(await self._store.expire())
                queue = await self._store.queue()
                self._metrics.queue.labels("outbox").set(queue.outbox)
                self._metrics.queue.labels("pending").set(queue.pending)
                self._metrics.queue_age.set(queue.age_s)
                self._metrics.without_receipt.set(queue.without_receipt)
            await asyncio.sleep(HOUSEKEEPING_S)

    async def _pause(self, seconds: float, wake: asyncio.Event) -> None:
        """Wait for an event, at most `seconds`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(wake.wait(), seconds)

    async def _drain(self) -> None:
        """Wait for the last attempts and their results."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                if self._in_flight:
                    await asyncio.wait(self._in_flight)
                await self._results.join()
