"""The only module that reads and writes the database.

The rule of all writes: an answer that confirms something is given only after a commit of this very request has come
back without a warning, because only that has waited for the copies in other sites. This holds for replays and for
refused keys too: they write their audit row first, so that nothing that is visible only on an isolated primary is ever
confirmed. A commit whose answer is missing, late, or accompanied by any warning (a cancelled wait for the copies is
reported so) is *unknown*. Commits are never cancelled by us: cancelling would make the row visible without its copy.

Decision, audit row and message are one statement, and every statement is a transaction of its own: three exchanges
with the primary for an approval instead of six, each of which costs as much time as the link to the other city. Under
READ COMMITTED a transaction around reading and writing would see nothing else: two requests that race meet the unique
indexes either way, and the loser looks again.
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
from approval.pool import Connection, NoConnection, Pool
from approval.problems import Problem
from approval.settings import Settings

log = logging.getLogger("approval.store")

OVERLOADED = "overloaded"
"""Code of what fails because the server has too much to do; its connection is as good as before."""

WARM_CONNECTIONS, WARM_WITHIN_S = 4, 3.0
"""Connections of each kind that are opened before the first request, and the time for it: without a database the
service starts all the same."""
CANCEL_AFTER_S = 1.5
"""How much longer a statement may take that nobody waits for any more: the server ends it after `statement_timeout`
itself. To break it off would cost the server two connections, one to be told of it and one in place of this."""

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
        (key, digest, id_number, name, decision, reason_code, decided_at, state, site, synthetic, body)
    VALUES (%(key)s, %(digest)s, %(id_number)s, %(name)s, %(decision)s, %(reason)s, now(), %(decision)s, %(site)s,
            %(synthetic)s, %(body)s::jsonb)
    RETURNING id, decided_at
), audited AS (
    INSERT INTO approval.audit (application_id, key, event, to_state, reason_code, actor, site)
    SELECT id, %(key)s, 'decided', %(decision)s, %(reason)s, 'approval', %(site)s FROM stored
), told AS (
    INSERT INTO approval.outbox (application_id, channel, template, suppressed)
    SELECT id, 'sms', %(decision)s, %(synthetic)s FROM stored
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
    """Where in the write-ahead log: whoever has replayed `lsn` of `timeline` holds what is being confirmed."""

    timeline: int
    lsn: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was decided once for one key. `replayed`: an earlier request had decided it."""

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
    """What the local copy shows: the answer if it has one, and how far the copy has come.

    `heartbeats` and `as_of` are the newest heartbeat of any site in it, None before the first; `lag_s` the difference
    of its time to the database host's clock, which may be wrong.
    """

    answer: Answer | None
    heartbeats: int | None
    as_of: datetime | None
    lag_s: float | None


@dataclass(frozen=True, kw_only=True)
class _Lookup:
    """What the primary knew before the decision: the registers' facts, and the row of this key if there is one."""

    facts: Facts
    existing: tuple[Any, ...] | None


class _Attempt:
    """How far a write has come. Between `abandoned` being looked at and the write being sent no other code runs."""

    def __init__(self) -> None:
        self.committing = False
        self.abandoned = False


class Store:
    """Writes through the primary, reads from the local copy."""

    def __init__(self, settings: Settings, on_decision: Callable[[float], None] = lambda seconds: None) -> None:
        self._settings = settings
        self._on_decision = on_decision
        self.writers = Pool(dsn=settings.write_dsn, size=settings.write_connections, name="approval-write")
        self.readers = Pool(dsn=settings.read_dsn, size=settings.read_connections, name="approval-read")
        self._heartbeat_pool = Pool(dsn=settings.write_dsn, size=1, name="approval-pulse")
        self._unfinished: set[asyncio.Task[Any]] = set()

    async def warm(self) -> None:
        """Connects ahead of the first requests: they come as soon as the port is open, and have no time for that."""
        await asyncio.gather(*(pool.warm(WARM_CONNECTIONS, WARM_WITHIN_S) for pool in (self.writers, self.readers)))

    async def close(self) -> None:
        """Closes idle connections."""
        for pool in (self.writers, self.readers, self._heartbeat_pool):
            await pool.close()

    async def submit(self, application: Application, key: str) -> Answer:
        """Decides and stores, or returns the first answer to this key; raises Problem within the time limits."""
        attempt = _Attempt()
        task = asyncio.create_task(self._decide_and_store(attempt, application, key))
        self._keep(task)
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

    def _keep(self, task: asyncio.Task[Any]) -> None:
        """Holds a task until it ends, and takes note of its exception when nobody waits for it any more."""
        self._unfinished.add(task)
        task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        task.add_done_callback(self._unfinished.discard)

    async def _decide_and_store(self, attempt: _Attempt, application: Application, key: str) -> Answer:
        deadline = asyncio.get_running_loop().time() + self._settings.before_commit.total_seconds()
        while True:
            try:
                connection = await self.writers.acquire(deadline)
            except NoConnection as fault:
                raise Problem(OVERLOADED if fault.busy else "no_primary") from fault
            try:
                return await self._one_attempt(attempt, connection, application, key)
            except errors.UniqueViolation:
                # Another request stored this key or this person's case meanwhile: look again.
                attempt.committing = False
            except psycopg.Error as fault:
                if attempt.committing and (connection.closed or fault.sqlstate is None):
                    raise Problem("commit_unknown") from fault
                attempt.committing = False
                await self._after_fault(connection, fault)
            finally:
                await self.writers.release(connection)

    async def _after_fault(self, connection: Connection, fault: psycopg.Error) -> None:
        """Returns if another attempt makes sense (the server went away or cannot write), else raises Problem."""
        problem = await _classify_and_close(connection, fault)
        if problem is not None:
            log.error("write refused", extra={"fields": {"sqlstate": fault.sqlstate, "reason": str(fault)[:200]}})
            raise Problem(problem) from fault
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
        """Writes this site's heartbeat, waiting for the copies; raises if it did not get through."""
        deadline = asyncio.get_running_loop().time() + self._settings.before_commit.total_seconds()
        connection = await self._heartbeat_pool.acquire(deadline)
        try:
            await _write(_Attempt(), connection, HEARTBEAT, (self._settings.site,))
        except psycopg.Error as fault:
            await _classify_and_close(connection, fault)
            raise
        finally:
            await self._heartbeat_pool.release(connection)

    async def look_up(self, key: str | None) -> LocalView:
        """What the local copy knows of a key (None: only how far it has come); raises Problem("no_read")."""
        task = asyncio.create_task(self._look_up(key))
        self._keep(task)
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
            except NoConnection as fault:
                raise Problem("no_read") from fault
            try:
                row = await (await connection.execute(READ, (key,))).fetchone()
                assert row is not None
                return _local_view(row)
            except psycopg.Error as fault:
                lost = connection.closed
                await _classify_and_close(connection, fault)
                if not lost:
                    raise Problem("no_read") from fault
                await self.readers.discard_idle()
            finally:
                await self.readers.release(connection)


def classify(sqlstate: str | None, lost: bool) -> str | None:
    """Problem code of a fault before COMMIT, or None if the write is worth another attempt elsewhere.

    Nothing has been stored in any of these cases.
    """
    if sqlstate is None or lost or (sqlstate[:2] in ("08", "25", "40", "57") and sqlstate != "57014"):
        return None
    if sqlstate in ("57014", "55P03") or sqlstate[:2] == "53":
        return OVERLOADED
    return "internal"


async def _classify_and_close(connection: Connection, fault: psycopg.Error) -> str | None:
    """What `classify` says of a fault; the connection is closed unless it is as good as before."""
    problem = classify(fault.sqlstate, connection.closed)
    if problem != OVERLOADED:
        await connection.close()
    return problem


def _cancel_later(task: asyncio.Task[Any]) -> None:
    """For one that nobody waits for any more."""
    asyncio.get_running_loop().call_later(CANCEL_AFTER_S, task.cancel)


def facts_from(
    resident: Mapping[str, Any] | None,
    degree: Mapping[str, Any] | None,
    plan: Mapping[str, Any] | None,
    *,
    credit_listed: bool,
    earlier: bool,
) -> Facts:
    """Facts from the rows of the shared views."""
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
    """Executes one writing statement, which commits; its row if it returns one.

    Raises Problem("commit_unknown") on any warning: the text of a warning depends on the server's language.
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
        log.warning("commit with a warning", extra={"fields": {"warnings": warnings}})
        raise Problem("commit_unknown")
    return await cursor.fetchone() if cursor.description else None


async def _position(connection: Connection) -> Position:
    """Where the log stands after the commit. Without it there is no acknowledgement: Problem("commit_unknown")."""
    try:
        row = await (await connection.execute(POSITION)).fetchone()
    except psycopg.Error as fault:
        raise Problem("commit_unknown") from fault
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
