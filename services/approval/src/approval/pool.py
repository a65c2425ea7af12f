"""A small pool of database connections, made for the moment when the primary moves.

psycopg_pool reconnects in the background and backs off from one second upwards, so a service that has waited out a
failover of thirty seconds may notice the new primary sixteen seconds late. Here nobody reconnects in the background:
whoever needs a connection opens it, tries again every 50 ms until its own deadline, and reports the truth.

A slot stays taken while anything on its connection is unfinished, also when the request that began it has been
answered: commits that hang on an isolated primary therefore use up the slots, and further writes fail fast instead of
piling up backends on the server.

A server that is short of processors must not be kept so. To open a connection costs it several times as much as to
answer on one, so a pool that gives up slow ones and opens others takes from it what it would need to recover. Hence
only a few are opened at a time, and one that comes after its requester's deadline is kept for the next.
"""

import asyncio
import logging
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

RETRY_S = 0.05
MAX_OPENING = 3
"""Connections of a pool that are opened side by side: a server that is well opens a hundred a second through these."""
CONNECT_DEFAULTS = {
    "connect_timeout": "3",
    "tcp_user_timeout": "2000",
    "keepalives": "1",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "2",
}
SESSION_OPTIONS = (
    # Whatever the role's or the database's defaults are: commits wait for the copies, and the warning that a wait
    # was cancelled reaches us.
    "-c synchronous_commit=on -c client_min_messages=warning"
    " -c statement_timeout=1000 -c lock_timeout=900 -c idle_in_transaction_session_timeout=5000"
    " -c timezone=UTC"
)

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class NoConnection(Exception):
    """No connection before the deadline. `busy`: all slots were taken; otherwise the server could not be reached."""

    def __init__(self, reason: str, *, busy: bool) -> None:
        super().__init__(reason)
        self.busy = busy


class Pool:
    """At most `size` connections, opened on demand, in autocommit mode. `name` is seen in pg_stat_activity."""

    def __init__(self, *, dsn: str, size: int, name: str) -> None:
        given = conninfo_to_dict(dsn)
        self._parameters = CONNECT_DEFAULTS | given | {"application_name": name}
        self._parameters["options"] = f"{given.get('options') or ''} {SESSION_OPTIONS}".strip()
        self._slots = asyncio.Semaphore(size)
        self._opening_slots = asyncio.Semaphore(MAX_OPENING)
        self._idle: list[Connection] = []
        self._late: set[asyncio.Task[Connection]] = set()
        self.size = size
        self.taken = 0

    async def warm(self, connections: int, within_s: float) -> None:
        """Opens that many ahead of the first requests, as far as it succeeds in time."""
        deadline = asyncio.get_running_loop().time() + within_s
        wanted = (self.acquire(deadline) for _ in range(min(connections, self.size)))
        for opened in await asyncio.gather(*wanted, return_exceptions=True):
            if isinstance(opened, psycopg.AsyncConnection):
                await self.release(opened)

    async def acquire(self, deadline: float) -> Connection:
        """A connection before `deadline` (seconds of the running loop's clock), or NoConnection."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError:
            raise NoConnection("all connections are in use", busy=True) from None
        self.taken += 1
        if connection := self._pop():
            return connection
        opening = asyncio.create_task(self._open(deadline))
        try:
            done, _ = await asyncio.wait({opening}, timeout=deadline - loop.time())
        except BaseException:
            self._abandon(opening)
            raise
        if not done:
            self._abandon(opening)
            raise NoConnection("it takes too long to connect", busy=False)
        try:
            return opening.result()
        except BaseException:
            self._free()
            raise

    def _pop(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    async def _open(self, deadline: float) -> Connection:
        """A new connection, or one that has become free while it was this one's turn. What is begun before `deadline`
        may take until `connect_timeout`."""
        loop, reason = asyncio.get_running_loop(), "no attempt was possible"
        while loop.time() < deadline:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._opening_slots.acquire()
            except TimeoutError:
                break
            try:
                return self._pop() or await psycopg.AsyncConnection.connect(autocommit=True, **self._parameters)  # type: ignore[arg-type]
            except psycopg.Error as fault:
                reason = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
            finally:
                self._opening_slots.release()
            await asyncio.sleep(min(RETRY_S, max(0.0, deadline - loop.time())))
        raise NoConnection(reason, busy=False)

    def _abandon(self, opening: asyncio.Task[Connection]) -> None:
        """Whoever wanted it has gone: its slot is free once it is decided, and the connection idle if there is one."""
        self._late.add(opening)
        opening.add_done_callback(self._finish_abandoned)

    def _finish_abandoned(self, opening: asyncio.Task[Connection]) -> None:
        self._late.discard(opening)
        if not opening.cancelled() and opening.exception() is None:
            self._idle.append(opening.result())
        self._free()

    async def release(self, connection: Connection) -> None:
        """Gives a connection back; one that is broken or in the middle of something is closed."""
        try:
            if connection.closed or connection.info.transaction_status is not TransactionStatus.IDLE:
                await connection.close()
            else:
                self._idle.append(connection)
        finally:
            self._free()

    def _free(self) -> None:
        self.taken -= 1
        self._slots.release()

    async def discard_idle(self) -> None:
        """Closes idle connections: after one has turned out dead, the others went to the same server."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def close(self) -> None:
        """Closes what is idle; what is in use closes with the process."""
        for opening in self._late:
            opening.cancel()
        await self.discard_idle()
        if self.taken:
            logging.getLogger(__name__).warning("connections in use at shutdown: %d", self.taken)
