"""A small pool of database connections, designed for failovers.

psycopg_pool reconnects in the background with a backoff of one second or more. After a failover of thirty seconds it
may notice the new primary sixteen seconds late. This pool never reconnects in the background: the request that needs a
connection opens it, retries every 50 ms until its own deadline, and reports the real error.

A slot stays taken until all work on its connection has ended, even if the request that started it has been answered.
Commits that hang on an isolated primary therefore use up the slots. Further writes then fail fast and do not pile up
backends on the server.

The pool must not keep an overloaded server overloaded. Opening a connection costs the server several times as much as a
query. A pool that drops slow connections and opens new ones takes the processor time that the server needs to recover.
The pool therefore opens only a few connections at a time. A connection that arrives after its request's deadline is
kept for the next request.
"""

import asyncio
import logging
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

RETRY_S = 0.05
MAX_OPENING = 3
"""A pool opens this many connections at the same time. A healthy server opens a hundred per second in this way."""
CONNECT_DEFAULTS = {
    "connect_timeout": "3",
    "tcp_user_timeout": "2000",
    "keepalives": "1",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "2",
}
SESSION_OPTIONS = (
    # These settings override the defaults of the role and the database: commits wait for the standbys, and the service
    # receives the warning that such a wait was cancelled.
    "-c synchronous_commit=on -c client_min_messages=warning"
    " -c statement_timeout=1000 -c lock_timeout=900 -c idle_in_transaction_session_timeout=5000"
    " -c timezone=UTC"
)

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


class NoConnection(Exception):
    """No connection before the deadline. `busy` means that all slots were taken; else the server was unreachable."""

    def __init__(self, reason: str, *, busy: bool) -> None:
        super().__init__(reason)
        self.busy = busy


class Pool:
    """A pool of at most `size` autocommit connections, opened on demand. pg_stat_activity shows `name`."""

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
        """Open up to `connections` connections before the first requests. Stop after `within_s` seconds."""
        deadline = asyncio.get_running_loop().time() + within_s
        wanted = (self.acquire(deadline) for _ in range(min(connections, self.size)))
        for opened in await asyncio.gather(*wanted, return_exceptions=True):
            if isinstance(opened, psycopg.AsyncConnection):
                await self.release(opened)

    async def acquire(self, deadline: float) -> Connection:
        """Return a connection before `deadline` (seconds of the running loop's clock) or raise NoConnection."""
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
            raise NoConnection("connecting took too long", busy=False)
        try:
            return opening.result()
        except BaseException:
            self._free_slot()
            raise

    def _pop(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed:
                return connection
        return None

    async def _open(self, deadline: float) -> Connection:
        """Return a new connection, or one that became free while this call waited for its turn.

        An attempt that starts before `deadline` may last until `connect_timeout`.
        """
        loop, reason = asyncio.get_running_loop(), "no time for an attempt to connect"
        while loop.time() < deadline:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._opening_slots.acquire()
            except TimeoutError:
                break
            try:
                return self._pop() or await psycopg.AsyncConnection.connect(autocommit=True, **self._parameters)  # type: ignore[arg-type]
            except psycopg.Error as error:
                reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            finally:
                self._opening_slots.release()
            await asyncio.sleep(min(RETRY_S, max(0.0, deadline - loop.time())))
        raise NoConnection(reason, busy=False)

    def _abandon(self, opening: asyncio.Task[Connection]) -> None:
        """Free the slot when the attempt ends, because its request has given up. Keep a new connection as idle."""
        self._late.add(opening)
        opening.add_done_callback(self._finish_abandoned)

    def _finish_abandoned(self, opening: asyncio.Task[Connection]) -> None:
        self._late.discard(opening)
        if not opening.cancelled() and opening.exception() is None:
            self._idle.append(opening.result())
        self._free_slot()

    async def release(self, connection: Connection) -> None:
        """Return a connection to the pool. Close it if it is broken or in the middle of a transaction."""
        try:
            if connection.closed or connection.info.transaction_status is not TransactionStatus.IDLE:
                await connection.close()
            else:
                self._idle.append(connection)
        finally:
            self._free_slot()

    def _free_slot(self) -> None:
        self.taken -= 1
        self._slots.release()

    async def discard_idle(self) -> None:
        """Close all idle connections. If one was dead, the others lead to the same server and are dead too."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await connection.close()

    async def close(self) -> None:
        """Close idle connections. Connections in use end with the process."""
        for opening in self._late:
            opening.cancel()
        await self.discard_idle()
        if self.taken:
            logging.getLogger(__name__).warning("connections in use at shutdown: %d", self.taken)
