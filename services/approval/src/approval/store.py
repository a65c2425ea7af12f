"""The only module that reads and writes the database.

Rule for all writes: the service confirms something only after a commit of the same request has returned without a
warning. Only such a commit has waited for the standbys in other sites. This rule also covers replays and refused keys:
they write an audit row first. A row that is visible only on an isolated primary is therefore never confirmed.

A commit is *unknown* if its result is missing, late, or comes with any warning. PostgreSQL sends a warning if the wait
for the standbys was cancelled. This module never cancels a commit, because cancelling makes the row visible without a
copy in another site.

Decision, audit row and message are written in one statement, and each statement is its own transaction. An approval
then takes three round trips to the primary instead of six, and each round trip costs the delay of the link to the other
city. A transaction around the read and the write would change nothing under READ COMMITTED: the unique indexes stop one
of two racing requests in both cases, and that request reads again.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import errors

from approval.application import Application, Level
from approval.decision import AdmissionPlan, Decision, DegreeRecord, Facts, Resident, decide, transition
from approval.observability import reason_of
from approval.pool import Connection, NoConnection, Pool
from approval.problems import Problem
from approval.settings import Settings

log = logging.getLogger("approval.store")

OVERLOADED = "overloaded"
"""Code of a failure because the server is overloaded. The connection remains usable."""

WARM_CONNECTIONS, WARM_WITHIN_S = 4, 3.0
"""Number of connections per pool that are opened before the first request, and the time limit in seconds. The service
also starts without a database."""
CANCEL_AFTER_S = 1.5
"""An abandoned statement is cancelled only after this delay, in seconds, because the server itself ends it after
`statement_timeout`. An early cancel would cost the server two connections: one for the cancel request, and one that
replaces this connection."""

FACTS = """
SELECT pg_is_in_recovery(), current_setting('synchronous_standby_names') <> '',
    (SELECT to_jsonb(r) FROM public_security.shared_resident r WHERE r.id_number = %(id_number)s),
    (SELECT to_jsonb(d) FROM human_resources.shared_degree d WHERE d.id_number = %(id_number)s),
    (SELECT to_jsonb(p) FROM development_reform.shared_plan p WHERE p.district = %(district)s),
    EXISTS (SELECT FROM development_reform.shared_credit c WHERE c.id_number = %(id_number)s),
    EXISTS (SELECT FROM approval.application a
            WHERE a.id_number = %(id_number)s AND a.state IN ('approved', 'manual_review')),
    e.id, e.key::text, e.digest, e.decision, e.reason_code, e.decided_at
FROM (SELECT) AS nothing LEFT JOIN approval.application AS e ON e.key = %(key)s
"""
STORE = """
WITH stored AS (
    INSERT INTO approval.application
        (key, digest, id_number, name, decision, reason_code, decided_at, state, site, synthetic, mobile, body)
    VALUES (%(key)s, %(digest)s, %(id_number)s, %(name)s, %(decision)s, %(reason)s, now(), %(decision)s, %(site)s,
            %(synthetic)s, %(mobile)s, %(body)s::jsonb)
    RETURNING id, decided_at
), audited AS (
    INSERT INTO approval.audit (application_id, key, event, to_state, reason_code, actor, site)
    SELECT id, %(key)s, 'decided', %(decision)s, %(reason)s, 'approval', %(site)s FROM stored
), queued AS (
    INSERT INTO approval.outbox (application_id, channel, template, suppressed, mobile)
    SELECT id, 'sms', %(decision)s, %(suppressed)s, CASE WHEN NOT %(suppressed)s THEN %(mobile)s END FROM stored
)
SELECT id, decided_at FROM stored
"""
AUDIT_REPEAT = """
INSERT INTO approval.audit (application_id, key, event, actor, site) VALUES (%s, %s, %s, 'approval', %s)
"""
POSITION = """
SELECT ('x' || substr(pg_walfile_name(here), 1, 8))::bit(32)::int, here::text
FROM pg_current_wal_flush_lsn() AS here
"""
READ = """
SELECT a.id, a.key::text, a.digest, a.decision, a.reason_code, a.decided_at, p.beats, p.at, p.age_s,
    (SELECT timeline_id FROM pg_control_checkpoint()),
    CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END::text
FROM (SELECT sum(beat)::bigint AS beats, max(at) AS at,
             extract(epoch FROM clock_timestamp() - max(at))::float AS age_s FROM approval.pulse) AS p
LEFT JOIN approval.application AS a ON a.key = %s
"""
HEARTBEAT = """
INSERT INTO approval.pulse (site, beat, at) VALUES (%s, 1, clock_timestamp())
ON CONFLICT (site) DO UPDATE SET beat = pulse.beat + 1, at = excluded.at
"""


@dataclass(frozen=True, kw_only=True)
class Position:
    """A position in the WAL. A server that has replayed `lsn` of `timeline` has the confirmed row."""

    timeline: int
    lsn: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The decision for one key. `replayed` is true if an earlier request made it."""

    application_id: int
    key: str
    digest: str
    decision: str
    reason_code: str
    decided_at: datetime
    position: Position
    replayed: bool


@dataclass(frozen=True, kw_only=True)
class LocalView:
    """The state of the local copy: the answer if it has one, and the copy's newest heartbeat.

    `heartbeats` is the sum of all sites' heartbeats and `as_of` the time of the newest one. Both are None before the
    first heartbeat. `lag_s` is the difference between that time and the database host's clock, which may be wrong.
    """

    answer: Answer | None
    heartbeats: int | None
    as_of: datetime | None
    lag_s: float | None


@dataclass(frozen=True, kw_only=True)
class _Lookup:
    """Data on the primary before the decision: the facts in the registers, and the row of this key if it exists."""

    facts: Facts
    existing: tuple[Any, ...] | None


class _Attempt:
    """Progress of a write. No other code runs between the check of `abandoned` and the sending of the write."""

    def __init__(self) -> None:
        self.committing = False
        self.abandoned = False


class Store:
    """Access to the database: writes go to the primary, reads to the local copy."""

    def __init__(self, settings: Settings, on_decision: Callable[[float], None] = lambda seconds: None) -> None:
        self._settings = settings
        self._on_decision = on_decision
        self.writers = Pool(dsn=settings.write_dsn, size=settings.write_connections, name="approval-write")
        self.readers = Pool(dsn=settings.read_dsn, size=settings.read_connections, name="approval-read")
        self._heartbeat_pool = Pool(dsn=settings.write_dsn, size=1, name="approval-pulse")
        self._unfinished: set[asyncio.Task[Any]] = set()

    async def warm(self) -> None:
        """Open connections before the first requests. These arrive as soon as the port is open and have no time to wait
        for connections."""
        await asyncio.gather(*(pool.warm(WARM_CONNECTIONS, WARM_WITHIN_S) for pool in (self.writers, self.readers)))

    async def close(self) -> None:
        """Close idle connections."""
        for pool in (self.writers, self.readers, self._heartbeat_pool):
            await pool.close()

    async def submit(self, application: Application, key: str) -> Answer:
        """Decide and store an application, or return the first answer to this key.

        Raise Problem within the time limits of the settings.
        """
        attempt = _Attempt()
        task = asyncio.create_task(self._decide_and_store(attempt, application, key))
        self._track(task)
        done, _ = await asyncio.wait({task}, timeout=self._settings.before_commit.total_seconds() + 0.05)
        if not done and attempt.committing:
            done, _ = await asyncio.wait({task}, timeout=self._settings.commit.total_seconds())
        if done:
            return task.result()
        if attempt.committing:
            raise Problem("commit_unknown")
        attempt.abandoned = True
        _cancel_later(task)
        raise Problem("no_primary")

    def _track(self, task: asyncio.Task[Any]) -> None:
        """Keep a reference to a task until it ends, and retrieve its exception even if its request has given up."""
        self._unfinished.add(task)
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        task.add_done_callback(self._unfinished.discard)

    async def _decide_and_store(self, attempt: _Attempt, application: Application, key: str) -> Answer:
        deadline = asyncio.get_running_loop().time() + self._settings.before_commit.total_seconds()
        while True:
            try:
                connection = await self.writers.acquire(deadline)
            except NoConnection as error:
                raise Problem(OVERLOADED if error.busy else "no_primary") from error
            try:
                return await self._one_attempt(attempt, connection, application, key)
            except errors.UniqueViolation:
                # Another request has stored this key or this person's case in the meantime: read again.
                attempt.committing = False
            except psycopg.Error as error:
                if attempt.committing and (connection.closed or error.sqlstate is None):
                    raise Problem("commit_unknown") from error
                attempt.committing = False
                await self._after_error(connection, error)
            finally:
                await self.writers.release(connection)

    async def _after_error(self, connection: Connection, error: psycopg.Error) -> None:
        """Return if another attempt is useful (the server went away or cannot write). Otherwise raise Problem."""
        problem = await _classify_and_close(connection, error)
        if problem is not None:
            log.error("write failed", extra={"fields": {"sqlstate": error.sqlstate, "reason": reason_of(error)}})
            raise Problem(problem) from error
        await self.writers.discard_idle()

    async def _one_attempt(
        self, attempt: _Attempt, connection: Connection, application: Application, key: str
    ) -> Answer:
        started = asyncio.get_running_loop().time()
        found = await self._find(connection, application, key)
        if found.existing is not None:
            return await self._repeat(attempt, connection, application, key, found.existing)
        decision = decide(application, found.facts)
        transition(None, decision.outcome)
        self._on_decision(asyncio.get_running_loop().time() - started)
        row = await _write(attempt, connection, STORE, self._stored(application, key, decision))
        assert row is not None
        return Answer(
            application_id=row[0],
            key=key,
            digest=application.digest,
            decision=decision.outcome,
            reason_code=decision.reason,
            decided_at=row[1],
            position=await _position(connection),
            replayed=False,
        )

    def _stored(self, application: Application, key: str, decision: Decision) -> Mapping[str, object]:
        return {
            "key": key,
            "digest": application.digest,
            "id_number": application.id_number,
            "name": application.name,
            "decision": decision.outcome.value,
            "reason": decision.reason.value,
            "site": self._settings.site,
            "synthetic": application.synthetic,
            "suppressed": is_suppressed(application, self._settings.deliver_synthetic),
            "mobile": application.mobile,
            "body": application.body,
        }

    async def _find(self, connection: Connection, application: Application, key: str) -> _Lookup:
        parameters = {"id_number": application.id_number, "district": application.district, "key": key}
        row = await (await connection.execute(FACTS, parameters)).fetchone()
        assert row is not None
        if row[0]:
            raise errors.ReadOnlySqlTransaction("the server is a standby")
        if self._settings.require_sync and not row[1]:
            raise Problem("unprotected")
        facts = facts_from(row[2], row[3], row[4], credit_listed=row[5], earlier=row[6])
        return _Lookup(facts=facts, existing=None if row[7] is None else row[7:])

    async def _repeat(
        self, attempt: _Attempt, connection: Connection, application: Application, key: str, existing: tuple[Any, ...]
    ) -> Answer:
        same = existing[2] == application.digest
        event = "replayed" if same else "key_reused"
        await _write(attempt, connection, AUDIT_REPEAT, (existing[0], key, event, self._settings.site))
        if not same:
            raise Problem("key_reused")
        return _answer(existing, await _position(connection))

    async def write_heartbeat(self) -> None:
        """Write this site's heartbeat and wait for the standbys. Raise if the write fails or is not confirmed."""
        deadline = asyncio.get_running_loop().time() + self._settings.before_commit.total_seconds()
        connection = await self._heartbeat_pool.acquire(deadline)
        try:
            await _write(_Attempt(), connection, HEARTBEAT, (self._settings.site,))
        except psycopg.Error as error:
            await _classify_and_close(connection, error)
            raise
        finally:
            await self._heartbeat_pool.release(connection)

    async def look_up(self, key: str | None) -> LocalView:
        """Read the local copy's answer for a key. With None, read only the copy's newest heartbeat.

        Raise Problem("no_read") if the local copy cannot be read in time.
        """
        task = asyncio.create_task(self._look_up(key))
        self._track(task)
        done, _ = await asyncio.wait({task}, timeout=self._settings.read.total_seconds() + 0.05)
        if done:
            return task.result()
        _cancel_later(task)
        raise Problem("no_read")

    async def _look_up(self, key: str | None) -> LocalView:
        deadline = asyncio.get_running_loop().time() + self._settings.read.total_seconds()
        while True:
            try:
                connection = await self.readers.acquire(deadline)
            except NoConnection as error:
                raise Problem("no_read") from error
            try:
                row = await (await connection.execute(READ, (key,))).fetchone()
                assert row is not None
                return _local_view(row)
            except psycopg.Error as error:
                lost = connection.closed
                await _classify_and_close(connection, error)
                if not lost:
                    raise Problem("no_read") from error
                await self.readers.discard_idle()
            finally:
                await self.readers.release(connection)


def is_suppressed(application: Application, deliver_synthetic: str) -> bool:
    """Return whether the applicant gets no message: without a number, or a synthetic person.

    `deliver_synthetic` are the first digits of a test population's numbers. These synthetic people get messages.
    """
    if application.mobile is None:
        return True
    in_test = deliver_synthetic != "" and application.mobile.startswith(deliver_synthetic)
    return application.synthetic and not in_test


def classify(sqlstate: str | None, lost: bool) -> str | None:
    """Return the problem code of a database error before COMMIT, or None if another attempt may succeed.

    Nothing has been stored in any of these cases.
    """
    if sqlstate is None or lost or (sqlstate[:2] in ("08", "25", "40", "57") and sqlstate != "57014"):
        return None
    if sqlstate in ("57014", "55P03") or sqlstate[:2] == "53":
        return OVERLOADED
    return "internal"


async def _classify_and_close(connection: Connection, error: psycopg.Error) -> str | None:
    """Return the result of `classify` for a database error. Close the connection unless it remains usable."""
    problem = classify(error.sqlstate, connection.closed)
    if problem != OVERLOADED:
        await connection.close()
    return problem


def _cancel_later(task: asyncio.Task[Any]) -> None:
    """Cancel an abandoned task after `CANCEL_AFTER_S`."""
    asyncio.get_running_loop().call_later(CANCEL_AFTER_S, task.cancel)


def facts_from(
    resident: Mapping[str, Any] | None,
    degree: Mapping[str, Any] | None,
    plan: Mapping[str, Any] | None,
    *,
    credit_listed: bool,
    earlier: bool,
) -> Facts:
    """Return the facts in the rows of the shared views."""
    return Facts(
        resident=Resident(
            name=resident["name"], active=resident["active"], shenzhen_household=resident["shenzhen_household"]
        )
        if resident
        else None,
        degree=DegreeRecord(
            level=Level(degree["level"]), university=degree["university"], graduated_year=degree["graduated_year"]
        )
        if degree
        else None,
        plan=AdmissionPlan(open=plan["open"], graduated_from=plan["graduated_from"], graduated_to=plan["graduated_to"])
        if plan
        else None,
        credit_listed=credit_listed,
        earlier=earlier,
    )


async def _write(
    attempt: _Attempt, connection: Connection, statement: str, parameters: Mapping[str, object] | tuple[object, ...]
) -> tuple[Any, ...] | None:
    """Execute one writing statement, which commits, and return its row if it has one.

    Raise Problem("commit_unknown") on any warning. The text of the warning is not checked, because it depends on the
    server's language.
    """
    if attempt.abandoned:
        raise Problem("no_primary")
    warnings: list[str] = []

    def note(diagnostic: errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            warnings.append(diagnostic.message_primary or "warning")

    attempt.committing = True
    connection.add_notice_handler(note)
    try:
        cursor = await connection.execute(statement, parameters)
    finally:
        connection.remove_notice_handler(note)
    if warnings:
        log.warning("commit returned a warning", extra={"fields": {"warnings": warnings}})
        raise Problem("commit_unknown")
    return await cursor.fetchone() if cursor.description else None


async def _position(connection: Connection) -> Position:
    """Return the WAL position after the commit. It is part of the acknowledgement.

    Raise Problem("commit_unknown") if it cannot be read.
    """
    try:
        row = await (await connection.execute(POSITION)).fetchone()
    except psycopg.Error as error:
        raise Problem("commit_unknown") from error
    assert row is not None
    return Position(timeline=row[0], lsn=row[1])


def _answer(row: tuple[Any, ...], position: Position) -> Answer:
    return Answer(
        application_id=row[0],
        key=row[1],
        digest=row[2],
        decision=row[3],
        reason_code=row[4],
        decided_at=row[5],
        position=position,
        replayed=True,
    )


def _local_view(row: tuple[Any, ...]) -> LocalView:
    position = Position(timeline=row[9], lsn=row[10])
    return LocalView(
        answer=None if row[0] is None else _answer(row, position),
        heartbeats=row[6],
        as_of=row[7].astimezone(UTC) if row[7] else None,
        lag_s=row[8],
    )
