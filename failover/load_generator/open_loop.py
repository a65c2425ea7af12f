"""The open loop: sends each request when it is due, limits retries separately, and stops cleanly.

Retries never delay first attempts. Retries have their own limits, on how many run at once and on how often one starts.
So a returning service is not flooded with all the requests that it refused before.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

from .ledger_writer import Attempt, Entry, LedgerWriter
from .payloads import SyntheticClient, digest
from .schedule import Backoff, ScheduledRequest, idempotency_key, scheduled_requests
from .transport import Response, Transport

DONE = frozenset({200, 201})
FINAL_REFUSALS = range(400, 500)
TRY_LATER = frozenset({408, 425, 429})


@dataclass(frozen=True, kw_only=True)
class LoadSettings:
    """The settings of one run. Times in seconds.

    `seed` determines the keys and must be new for each run. `people_seed` and `people` must be the registers' own
    values, so that the agencies know the applicants. The run begins with person number `first`.
    """

    seed: int
    people_seed: int
    people: int
    first: int
    rate_per_s: float
    reads: bool
    families: tuple[int, ...]
    limit_s: float
    read_after_s: float
    deadline_s: float
    drain_s: float
    in_flight: int
    retries_at_once: int
    retry_rate_per_s: float
    backoff: Backoff = field(default_factory=Backoff)


class RateLimiter:
    """Lets callers start one after the other, at least one interval apart, in the order of their calls."""

    def __init__(self, rate_per_s: float) -> None:
        self._interval = 1.0 / rate_per_s
        self._next = 0.0

    async def wait_turn(self) -> None:
        """Wait until the caller may start."""
        now = time.monotonic()
        at = max(now, self._next)
        self._next = at + self._interval
        await asyncio.sleep(at - now)


class LoadGenerator:
    """One run. `stop` ends the sending; open requests are then awaited."""

    def __init__(
        self, settings: LoadSettings, transport: Transport, ledger: LedgerWriter, client: SyntheticClient, start: float
    ) -> None:
        self._settings, self._transport, self._ledger, self._client = settings, transport, ledger, client
        self._start = start
        self._random = random.Random(settings.seed)
        self._in_flight = 0
        self._retries = asyncio.Semaphore(settings.retries_at_once)
        self._retry_rate = RateLimiter(settings.retry_rate_per_s)
        self._acknowledged: deque[tuple[float, str]] = deque()
        self._readable = idempotency_key(settings.seed, 0)
        self._tasks: set[asyncio.Task[None]] = set()
        self.stop = asyncio.Event()
        self.reason = "limit"
        self.scheduled = 0

    def now_s(self) -> float:
        """Return the seconds since the run's start, to the microsecond."""
        return round(time.monotonic() - self._start, 6)

    async def run(self) -> None:
        """Send until `stop` or the time limit, then wait at most `drain_s` for open requests."""
        settings = self._settings
        for due in scheduled_requests(
            settings.rate_per_s, read_after_s=settings.read_after_s, limit_s=settings.limit_s,
            families=settings.families, reads=settings.reads,
        ):  # fmt: skip
            if await self._stopped_before(due):
                break
            self.scheduled += 1
            task = asyncio.create_task(self._write(due) if due.kind == "write" else self._read(due))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=settings.drain_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _stopped_before(self, due: ScheduledRequest) -> bool:
        """Wait until the request is due. Return True if the run was stopped before."""
        pause = self._start + due.scheduled_s - time.monotonic()
        if pause <= 0:
            await asyncio.sleep(0)
            return self.stop.is_set()
        try:
            await asyncio.wait_for(self.stop.wait(), pause)
        except TimeoutError:
            return False
        return True

    async def _write(self, due: ScheduledRequest) -> None:
        form = self._form(due.n)
        entry = Entry(
            n=due.n, kind="write", family=due.family, key=idempotency_key(self._settings.seed, due.n),
            digest=digest(form), scheduled_s=due.scheduled_s,
        )  # fmt: skip

        def send() -> Awaitable[Response]:
            return self._transport.write(due.family, self._client.write_path(), entry.key, form)

        try:
            answer = await self._first_attempt(entry, send)
            retry = 0
            while not _settled(answer) and self.now_s() < due.scheduled_s + self._settings.deadline_s:
                retry += 1
                pause = self._settings.backoff.pause_s(retry, self._random.random(), answer.retry_after_s)
                await asyncio.sleep(pause)
                async with self._retries:
                    await self._retry_rate.wait_turn()
                    answer = await self._attempt(entry, send)
        finally:
            self._ledger.write_entry(entry)
        if answer.status in DONE:
            self._acknowledged.append((self.now_s(), entry.key))

    def _form(self, n: int) -> dict[str, Any]:
        settings = self._settings
        return self._client.body(settings.people_seed, (settings.first + n) % settings.people)

    async def _read(self, due: ScheduledRequest) -> None:
        entry = Entry(
            n=due.n, kind="read", family=due.family, key=self._key_to_read(), digest=None, scheduled_s=due.scheduled_s
        )
        try:
            path = self._client.read_path(entry.key)
            await self._first_attempt(entry, lambda: self._transport.read(due.family, path))
        finally:
            self._ledger.write_entry(entry)

    def _key_to_read(self) -> str:
        """Return the key to read: the newest one that was acknowledged at least `read_after_s` ago.

        This imitates a citizen who checks the decision later. Before the first acknowledgement it is the first key.
        """
        ripe = self.now_s() - self._settings.read_after_s
        while self._acknowledged and self._acknowledged[0][0] <= ripe:
            self._readable = self._acknowledged.popleft()[1]
        return self._readable

    async def _first_attempt(self, entry: Entry, send: Any) -> Response:
        """Send the first attempt. If too many are open already, record it as not sent."""
        if self._in_flight >= self._settings.in_flight:
            entry.attempts.append(Attempt(sent_s=self.now_s(), error="not sent: too many in flight"))
            return Response(error="not sent", fields={})
        self._in_flight += 1
        try:
            return await self._attempt(entry, send, enter=entry.kind == "write")
        finally:
            self._in_flight -= 1

    async def _attempt(self, entry: Entry, send: Any, *, enter: bool = False) -> Response:
        attempt = Attempt(sent_s=self.now_s())
        entry.attempts.append(attempt)
        if enter:
            self._ledger.write_entry(entry)
        try:
            answer: Response = await send()
        except asyncio.CancelledError:
            attempt.error = "stopped while waiting"
            raise
        attempt.error, attempt.status, attempt.site = answer.error, answer.status, answer.site
        if answer.status is not None:
            attempt.answered_s = self.now_s()
            _copy(answer.fields, attempt)
        return answer


def _settled(answer: Response) -> bool:
    """Return True if another attempt could not change the answer."""
    if answer.status is None:
        return False
    return answer.status in DONE or (answer.status in FINAL_REFUSALS and answer.status not in TRY_LATER)


def _copy(fields: dict[str, Any], attempt: Attempt) -> None:
    """Copy the few fields that the ledger needs, if they have the right type."""
    commit = fields.get("commit")
    commit = commit if isinstance(commit, dict) else {}
    attempt.code = _text(fields.get("code"))
    attempt.decision = _text(fields.get("decision"))
    attempt.digest = _text(fields.get("digest"))
    attempt.lsn = _text(commit.get("lsn"))
    timeline = commit.get("timeline")
    attempt.timeline = timeline if isinstance(timeline, int) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
