"""The only module that reads and writes the database.

A message is sent only after a commit that claims it has returned without a warning. Such a commit has waited for a
standby at another site, and WAL is one sequence: the standby then has everything before it, and so the decision too. A
decision that is visible only on an isolated primary is therefore never sent (decision record 30). The claim also
survives a failover, so the new primary knows the message ID.

A claim is a lease: `next_attempt_at` is set to its end. An instance that ends in the middle of an attempt needs no
cleanup, because another instance repeats the attempt with the same ID.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from messages.policy import State, suppressed_because
from messages.settings import Settings
from messages.templates import TEMPLATES

log = logging.getLogger("messages.store")

CONNECT_DEFAULTS = {
    "connect_timeout": "3",
    "tcp_user_timeout": "5000",
    "keepalives": "1",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "3",
}
SESSION_OPTIONS = (
    # These settings override the defaults of role and database: commits wait for the standbys, and the service receives
    # the warning that such a wait was cancelled.
    "-c synchronous_commit=on -c client_min_messages=warning -c statement_timeout=3000 -c lock_timeout=2000"
    " -c idle_in_transaction_session_timeout=10000 -c timezone=UTC"
)
PATIENCE_S = 15.0
"""Longest duration of one transaction, with its wait for a standby. The connection is closed then. This may leave a
claim that no standby has. It is not sent, and its lease ends."""

NEW = """
SELECT id, application_id, template, mobile, created_at FROM approval.outbox
WHERE sent_at IS NULL AND NOT suppressed AND template = ANY(%s) ORDER BY id LIMIT 200 FOR UPDATE SKIP LOCKED
"""
SUPPRESS = "UPDATE approval.outbox SET suppressed = true, mobile = NULL WHERE id = ANY(%s)"
TAKE = """
WITH taken AS (UPDATE approval.outbox SET sent_at = clock_timestamp(), mobile = NULL WHERE id = ANY(%(ids)s))
INSERT INTO messages.delivery (outbox_id, application_id, template, mobile, created_at)
SELECT * FROM unnest(%(ids)s::bigint[], %(applications)s::bigint[], %(templates)s::text[], %(mobiles)s::text[],
                     %(times)s::timestamptz[])
"""
CLAIM = """
WITH due AS (
    SELECT d.id FROM messages.delivery AS d
    WHERE d.state = 'pending' AND d.next_attempt_at <= now() AND d.template = ANY(%(templates)s)
      AND NOT EXISTS (SELECT FROM messages.delivery AS earlier WHERE earlier.application_id = d.application_id
                      AND earlier.state = 'pending' AND earlier.outbox_id < d.outbox_id)
      AND NOT EXISTS (SELECT FROM approval.outbox AS earlier WHERE earlier.application_id = d.application_id
                      AND earlier.id < d.outbox_id
                        AND earlier.sent_at IS NULL AND NOT earlier.suppressed)
    ORDER BY d.next_attempt_at LIMIT %(limit)s FOR UPDATE OF d SKIP LOCKED
)
UPDATE messages.delivery AS d
SET attempts = d.attempts + 1, next_attempt_at = clock_timestamp() + %(lease)s
FROM due WHERE d.id = due.id
RETURNING d.id::text, d.application_id, d.template, d.mobile, d.attempts,
    extract(epoch FROM clock_timestamp() - d.created_at)::float, current_setting('synchronous_standby_names') <> ''
"""
"""Messages about one application are sent in the order of its decisions."""
RECORD = """
UPDATE messages.delivery AS d
SET state = r.state, mobile = CASE WHEN r.state = 'pending' THEN d.mobile END, reason = nullif(r.reason, ''),
    next_attempt_at = clock_timestamp() + r.delay_s * interval '1 second',
    sent_at = CASE WHEN r.state = 'sent' THEN clock_timestamp() END,
    finished_at = CASE WHEN r.state = 'failed' THEN clock_timestamp() END
FROM unnest(%(ids)s::uuid[], %(states)s::text[], %(attempts)s::int[], %(delays)s::float8[], %(reasons)s::text[])
    AS r (id, state, attempts, delay_s, reason)
WHERE d.id = r.id AND d.state = 'pending' AND (r.state = 'sent' OR d.attempts = r.attempts)
"""
"""A result never replaces a receipt. A later attempt is replaced only by the success of an earlier one."""
RECEIPT = """
WITH changed AS (
    UPDATE messages.delivery SET state = %(state)s, mobile = NULL, reason = %(reason)s, finished_at = clock_timestamp()
    WHERE id = %(id)s AND state IN ('pending', 'sent') RETURNING id
)
SELECT (SELECT count(*) FROM changed), (SELECT count(*) FROM messages.delivery WHERE id = %(id)s)
"""
EXPIRE = """
UPDATE messages.delivery SET state = 'failed', mobile = NULL, reason = 'expired', finished_at = clock_timestamp()
WHERE state = 'pending' AND created_at < now() - %s AND next_attempt_at < now()
"""
QUEUE = """
SELECT (SELECT count(*) FROM approval.outbox WHERE sent_at IS NULL AND NOT suppressed),
    (SELECT count(*) FROM messages.delivery WHERE state = 'pending'),
    (SELECT count(*) FROM messages.delivery WHERE state = 'sent' AND sent_at < now() - interval '1 hour'),
    coalesce(extract(epoch FROM clock_timestamp() - least(
        (SELECT created_at FROM approval.outbox WHERE sent_at IS NULL AND NOT suppressed ORDER BY id LIMIT 1),
        (SELECT min(created_at) FROM messages.delivery WHERE state = 'pending'))), 0)::float
"""


class Unconfirmed(Exception):
    """A commit has not been confirmed by a standby at another site. Nothing may follow from it."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """A claimed message. `age_s` is the time since the decision, at the moment of the claim."""

    id: str
    application_id: int
    template: str
    mobile: str = field(repr=False)
    attempts: int
    age_s: float


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The claimed messages, and the number of suppressed ones by reason."""

    messages: tuple[Message, ...]
    suppressed: tuple[str, ...]
    taken: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one attempt. A pending message is tried again after `delay_s`."""

    id: str
    attempts: int
    state: State
    reason: str
    delay_s: float


@dataclass(frozen=True, kw_only=True)
class Queue:
    """What waits: rows in the outbox, pending messages, messages without a receipt after an hour, and the oldest's age
    in seconds."""

    outbox: int
    pending: int
    without_receipt: int
    age_s: float


class Session:
    """One database connection, opened when needed. One transaction at a time uses it."""

    def __init__(self, dsn: str, name: str) -> None:
        given = conninfo_to_dict(dsn)
        self._parameters = CONNECT_DEFAULTS | given | {"application_name": name}
        self._parameters["options"] = f"{given.get('options') or ''} {SESSION_OPTIONS}".strip()
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
        """Run one transaction. Raise Unconfirmed unless its commit returned without a warning, in time."""
        warnings: list[str] = []

        def note(diagnostic: errors.Diagnostic) -> None:
            if diagnostic.severity_nonlocalized == "WARNING":
                warnings.append(diagnostic.message_primary or "warning")

        async with self._lock:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    connection = await self._open()
                    connection.add_notice_handler(note)
                    async with connection.transaction():
                        yield connection
                connection.remove_notice_handler(note)
            except BaseException as error:
                await self.close()
                if isinstance(error, TimeoutError):
                    raise Unconfirmed("the commit took too long") from error
                raise
        if warnings:
            raise Unconfirmed("; ".join(warnings))

    async def _open(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(autocommit=True, **self._parameters)  # type: ignore[arg-type]
        return self._connection

    async def close(self) -> None:
        """Close the connection. The next transaction opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


class Store:
    """Access to the outbox and to the messages. All of it is on the primary."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._claims = Session(settings.dsn, "messages-claim")
        self._results = Session(settings.dsn, "messages-result")

    async def close(self) -> None:
        """Close all connections."""
        await self._claims.close()
        await self._results.close()

    async def claim(self, limit: int) -> Claim:
        """Take new messages over from the outbox, and claim at most `limit` messages that are due.

        Raise Unconfirmed or psycopg.Error if the claim is not known to be at a second site.
        """
        known = list(TEMPLATES)
        async with self._claims.transaction() as connection:
            new = await (await connection.execute(NEW, (known,))).fetchall()
            suppressed = await self._take(connection, new) if new else ()
            parameters = {"templates": known, "limit": limit, "lease": self._settings.lease}
            rows = await (await connection.execute(CLAIM, parameters)).fetchall()
            if rows and self._settings.require_sync and not rows[0][6]:
                raise Unconfirmed("PostgreSQL has no synchronous standby configured")
        messages = tuple(
            Message(id=row[0], application_id=row[1], template=row[2], mobile=row[3], attempts=row[4], age_s=row[5])
            for row in rows
        )
        return Claim(messages=messages, suppressed=suppressed, taken=len(new) - len(suppressed))

    async def _take(
        self, connection: psycopg.AsyncConnection[tuple[Any, ...]], rows: Sequence[tuple[Any, ...]]
    ) -> tuple[str, ...]:
        """Take rows over from the outbox, or suppress them. Return the reasons of the suppressed ones."""
        reasons = {row[0]: suppressed_because(row[3], self._settings.deliver_synthetic) for row in rows}
        if quiet := [number for number, reason in reasons.items() if reason]:
            await connection.execute(SUPPRESS, (quiet,))
        if sent := [row for row in rows if not reasons[row[0]]]:
            columns = ("ids", "applications", "templates", "mobiles", "times")
            await connection.execute(TAKE, dict(zip(columns, map(list, zip(*sent, strict=True)), strict=True)))
        return tuple(reason for reason in reasons.values() if reason)

    async def record(self, results: Sequence[Result]) -> None:
        """Store the results of attempts."""
        columns = {
            "ids": [result.id for result in results],
            "states": [result.state.value for result in results],
            "attempts": [result.attempts for result in results],
            "delays": [result.delay_s for result in results],
            "reasons": [result.reason for result in results],
        }
        async with self._results.transaction() as connection:
            await connection.execute(RECORD, columns)

    async def receive(self, message_id: str, state: State, reason: str | None) -> str:
        """Store a receipt. Return its meaning: the new state, "repeated", or "unknown" for an unknown message ID."""
        parameters = {"id": message_id, "state": state.value, "reason": reason}
        async with self._results.transaction() as connection:
            row = await (await connection.execute(RECEIPT, parameters)).fetchone()
        assert row is not None
        if row[0]:
            return state.value
        return "repeated" if row[1] else "unknown"

    async def expire(self) -> int:
        """Give up the messages that are too old. Return their number."""
        async with self._results.transaction() as connection:
            return (await connection.execute(EXPIRE, (self._settings.give_up,))).rowcount

    async def queue(self) -> Queue:
        """Count the messages that wait."""
        async with self._results.transaction() as connection:
            row = await (await connection.execute(QUEUE)).fetchone()
        assert row is not None
        return Queue(outbox=row[0], pending=row[1], without_receipt=row[2], age_s=row[3])
