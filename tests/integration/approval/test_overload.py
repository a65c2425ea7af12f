"""A slow but reachable database: the service must not make it slower."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

import psycopg
import pytest

from tests.polling import until

BACKENDS = "SELECT pid, backend_start FROM pg_stat_activity WHERE application_name = %s ORDER BY pid"
WRITERS, READERS = ("approval-write",), ("approval-read",)


class DelayedProxy:
    """Accept and count connections to a server at once, but forward them only after `opened` is set."""

    def __init__(self, server: Any) -> None:
        self._socket = f"{server.home}/.s.PGSQL.{server.port}"
        self.opened = asyncio.Event()
        self.taken, self.port = 0, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client."""
        self.taken += 1
        try:
            await self.opened.wait()
            to_reader, to_writer = await asyncio.open_unix_connection(self._socket)
            await asyncio.gather(_pass(reader, to_writer), _pass(to_reader, writer))
        finally:
            writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
    finally:
        writer.close()


@asynccontextmanager
async def delayed_proxy(server: Any) -> AsyncIterator[DelayedProxy]:
    """Run a proxy on a loopback port. It does not forward until a test opens it."""
    proxy = DelayedProxy(server)
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = listening.sockets[0].getsockname()[1]
    before = asyncio.all_tasks()
    yield proxy
    listening.close()
    left = asyncio.all_tasks() - before
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def through_delayed_proxy(server: Any, size: int, scenario: Callable[[DelayedProxy, Any], Awaitable[None]]) -> None:
    """Run a scenario with a pool of that size, whose connections go through a delayed proxy."""
    from approval.pool import Pool

    async def run() -> None:
        async with delayed_proxy(server) as proxy:
            where = f"host=127.0.0.1 port={proxy.port} user=approval_app dbname=approval sslmode=disable"
            pool = Pool(dsn=where, size=size, name="approval-test")
            await scenario(proxy, pool)
            await pool.close()

    asyncio.run(run())


def acquire(pool: Any, within_s: float) -> Coroutine[Any, Any, Any]:
    """Acquire a connection within that time."""
    return pool.acquire(asyncio.get_running_loop().time() + within_s)


async def soon(what: str, holds: Callable[[], bool]) -> None:
    """Wait in the event loop until the check is true, for up to 5 s: longer than opening a connection may take."""
    try:
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within 5 s: {what}") from None


def test_a_late_connection_is_kept_for_the_next_request(primary):
    """The server has already spent the work for it, so the next request uses it and opens no other one."""
    from approval.pool import NoConnection

    async def scenario(proxy: DelayedProxy, pool: Any) -> None:
        with pytest.raises(NoConnection) as refused:
            await acquire(pool, 0.2)
        assert (refused.value.busy, pool.taken) == (False, 1), "its slot is taken while it is being opened"
        proxy.opened.set()
        await soon("the late connection", lambda: pool.taken == 0)
        connection = await acquire(pool, 5)
        assert (await (await connection.execute("SELECT 1")).fetchone(), proxy.taken) == ((1,), 1)
        await pool.release(connection)

    through_delayed_proxy(primary, 4, scenario)


def test_a_pool_opens_at_most_three_connections_at_a_time(primary):
    """Twelve requests to a slow server open three connections. Each is refused in time, and no slot is lost."""
    from approval.pool import MAX_OPENING, NoConnection

    async def scenario(proxy: DelayedProxy, pool: Any) -> None:
        answers = await asyncio.wait_for(
            asyncio.gather(*(acquire(pool, 0.3) for _ in range(12)), return_exceptions=True), 0.5
        )
        assert {type(answer) for answer in answers} == {NoConnection}
        assert proxy.taken == MAX_OPENING
        proxy.opened.set()
        await soon("all slots", lambda: pool.taken == 0)
        got = await asyncio.gather(*(acquire(pool, 5) for _ in range(12)))
        assert (len(got), pool.taken) == (12, 12)
        for connection in got:
            await pool.release(connection)

    through_delayed_proxy(primary, 12, scenario)


def test_a_connection_attempt_without_an_answer_frees_its_slot(primary):
    """The slot is free after the connect timeout, and then the next request may try."""
    from approval.pool import NoConnection

    async def scenario(_: DelayedProxy, pool: Any) -> None:
        with pytest.raises(NoConnection):
            await acquire(pool, 0.1)
        await soon("the slot", lambda: pool.taken == 0)
        with pytest.raises(NoConnection) as refused:
            await acquire(pool, 0.1)
        assert not refused.value.busy

    through_delayed_proxy(primary, 1, scenario)


def log_of(server: Any) -> str:
    """Return the server's log."""
    return (server.home / f"{server.name}.log").read_text()


def cancelled_a_statement(server: Any) -> bool:
    """Return whether a client cancelled a statement. Each cancel request costs an extra connection."""
    return "due to user request" in log_of(server)


def test_writes_that_time_out_keep_their_connections(primary, standby, service, next_person):
    """A table is locked while the requests wait. All are refused, and the same sessions are used afterwards."""
    bodies = [next_person() for _ in range(8)]
    with ThreadPoolExecutor(8) as threads:
        assert {answer.status_code for answer in threads.map(service.apply, bodies)} == {201}
    before = primary.sql(BACKENDS, WRITERS)
    with psycopg.connect(primary.dsn("postgres")) as blocker, ThreadPoolExecutor(8) as threads:
        blocker.execute("LOCK TABLE approval.application IN ACCESS EXCLUSIVE MODE")
        answers = list(threads.map(service.apply, [next_person() for _ in range(8)]))
        assert {answer.json()["code"] for answer in answers} <= {"overloaded", "no_primary"}
        assert {answer.status_code for answer in answers} == {503}
        blocker.rollback()
    assert service.apply(next_person()).status_code == 201
    assert set(before) <= set(primary.sql(BACKENDS, WRITERS))
    assert not cancelled_a_statement(primary)


def test_reads_that_time_out_keep_their_connections(primary, standby, service):
    """The same holds for the local copy, which replays the lock of the primary."""
    key = str(uuid.uuid4())

    def read(_: int = 0) -> int:
        return service.client.get(f"/v1/applications/{key}").status_code

    with ThreadPoolExecutor(6) as threads:
        assert set(threads.map(read, range(6))) == {404}
    before = standby.sql(BACKENDS, READERS)
    locks = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = %s::regclass"
    with psycopg.connect(primary.dsn("postgres") + " options='-c synchronous_commit=local'") as blocker:
        blocker.execute("LOCK TABLE approval.application IN ACCESS EXCLUSIVE MODE")
        blocker.execute("SELECT pg_current_xact_id()")
        primary.sql("SELECT pg_switch_wal()")
        until("the copy is locked too", lambda: standby.sql(locks, ("approval.application",)) == [(1,)], 20)
        with ThreadPoolExecutor(6) as threads:
            assert set(threads.map(read, range(6))) == {503}
        until("the server has ended the statements too", lambda: "due to lock timeout" in log_of(standby), 10)
        blocker.rollback()
    until("reads", lambda: read() == 404, 20)
    assert set(before) <= set(standby.sql(BACKENDS, READERS))
    assert not cancelled_a_statement(standby)
