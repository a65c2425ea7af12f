"""A database that is slow, and not away: what the service does then must not make it slower."""

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
    """Takes connections for a server at once and counts them, and hands them on only when it is opened."""

    def __init__(self, server: Any) -> None:
        self._socket = f"{server.home}/.s.PGSQL.{server.port}"
        self.opened = asyncio.Event()
        self.taken, self.port = 0, 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
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
    """A proxy that does not forward yet, on a port of loopback."""
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
    """Carries out a scenario with a pool of that size, whose connections go through such a proxy."""
    from approval.pool import Pool

    async def carried_out() -> None:
        async with delayed_proxy(server) as proxy:
            where = f"host=127.0.0.1 port={proxy.port} user=approval_app dbname=approval sslmode=disable"
            pool = Pool(dsn=where, size=size, name="approval-test")
            await scenario(proxy, pool)
            await pool.close()

    asyncio.run(carried_out())


def acquire(pool: Any, within_s: float) -> Coroutine[Any, Any, Any]:
    """A connection in that time."""
    return pool.acquire(asyncio.get_running_loop().time() + within_s)


async def soon(what: str, holds: Callable[[], bool]) -> None:
    """Wait within the loop until it holds; longer than a connection may take to open."""
    try:
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within 5 s: {what}") from None


def test_a_connection_that_comes_too_late_is_there_for_the_next(primary):
    """The server has paid for it: whoever comes next pays nothing, and the server is not asked again."""
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


def test_a_server_that_is_slow_to_open_gets_three_at_a_time(primary):
    """Twelve requests at once knock three times, not twelve; each is told in time, and no slot is lost."""
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


def test_a_proxy_that_never_forwards_gives_its_slot_back(primary):
    """After the time for connecting, and not for ever: then the next one may try."""
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
    """What it has logged."""
    return (server.home / f"{server.name}.log").read_text()


def broken_off(server: Any) -> bool:
    """Whether the server was asked to break a statement off: each such request is a connection of its own."""
    return "due to user request" in log_of(server)


def test_writes_that_come_too_late_keep_their_connections(primary, standby, service, next_person):
    """A table is locked for as long as the requests wait: all refused, and afterwards the same sessions go on."""
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
    assert not broken_off(primary)


def test_reads_that_come_too_late_keep_their_connections(primary, standby, service):
    """The same of the local copy, whose lock comes from the primary."""
    key = str(uuid.uuid4())

    def look(_: int = 0) -> int:
        return service.client.get(f"/v1/applications/{key}").status_code

    with ThreadPoolExecutor(6) as threads:
        assert set(threads.map(look, range(6))) == {404}
    before = standby.sql(BACKENDS, READERS)
    locks = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND relation = %s::regclass"
    with psycopg.connect(primary.dsn("postgres") + " options='-c synchronous_commit=local'") as blocker:
        blocker.execute("LOCK TABLE approval.application IN ACCESS EXCLUSIVE MODE")
        blocker.execute("SELECT pg_current_xact_id()")
        primary.sql("SELECT pg_switch_wal()")
        until("the copy is locked too", lambda: standby.sql(locks, ("approval.application",)) == [(1,)], 20)
        with ThreadPoolExecutor(6) as threads:
            assert set(threads.map(look, range(6))) == {503}
        until("the server has given up too", lambda: "due to lock timeout" in log_of(standby), 10)
        blocker.rollback()
    until("reads", lambda: look() == 404, 20)
    assert set(before) <= set(standby.sql(BACKENDS, READERS))
    assert not broken_off(standby)
