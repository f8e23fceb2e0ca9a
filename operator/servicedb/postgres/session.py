"""An administrator's sessions on one server: on the operator's own database, inside others, and the locks."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from servicedb.errors import Busy
from servicedb.naming import LOCK_DATABASE
from servicedb.postgres.connections import Account, Endpoint, connect, translated

Session = AsyncConnection[Any]
"""A connection of the administrator's."""

_IDLE_SECONDS = 60.0
_ANSWERS_WITHIN = 10.0


class AdminServer:
    """Sessions on one server. At most `connections` are open at once: one on the operator's own database, and with
    it at most one other (inside a database, or a login that is tried).

    Kept small instead of using psycopg_pool: its users get a PoolTimeout, ours the server's own words.
    """

    def __init__(self, endpoint: Endpoint, account: Account, *, connections: int) -> None:
        self.endpoint = endpoint
        self.account = account
        self._permits = asyncio.Semaphore(max(1, connections // 2))
        self._idle: list[tuple[float, AsyncConnection[Any]]] = []
        self._closed = False

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection to the operator's own database. Raises a Problem where there is none to be had."""
        async with self._permits:
            with translated(self.endpoint):
                connection = await self._take()
                try:
                    yield connection
                finally:
                    await self._give_back(connection)

    @contextlib.asynccontextmanager
    async def locked(self, database: str) -> AsyncIterator[AsyncConnection[Any]]:
        """A session that alone works on `database`, among all operators of all clusters.

        The lock stands in a database where no tenant can connect, and goes with the session when that is cut.
        Source: PostgreSQL documentation, "Advisory Locks".
        """
        async with self.session() as connection:
            taken = await _value(connection, "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", database)
            if not taken:
                raise Busy(
                    "LockBusy",
                    f'another operator works on database "{database}" on {self.endpoint}; tried again in a moment',
                )
            try:
                yield connection
            finally:
                if connection.pgconn.transaction_status == TransactionStatus.IDLE:
                    await _value(connection, "SELECT pg_advisory_unlock(hashtextextended(%s, 0))", database)
                else:
                    await connection.close()

    @contextlib.asynccontextmanager
    async def inside(self, database: str) -> AsyncIterator[AsyncConnection[Any]]:
        """A connection inside `database`, as the administrator. Only within a session, whose permit covers it."""
        with translated(self.endpoint):
            connection = await connect(self.endpoint, self.account, database)
            try:
                yield connection
            finally:
                await connection.close()

    async def answers(self) -> bool:
        """Whether the server answers within some seconds: asked on an idle session, where there is one.

        Where all sessions are at work that is not asked: they would notice.
        """
        if self._permits.locked():
            return True
        async with self._permits:
            try:
                connection = self._idle.pop()[1] if self._idle else await self._new()
            except psycopg.Error:
                return False
            asking = asyncio.create_task(_alive(connection))
            try:
                await asyncio.wait({asking}, timeout=_ANSWERS_WITHIN)
            finally:
                if not asking.done():
                    _cut(connection)
            if await asking:
                await self._give_back(connection)
                return True
            await connection.close()
            return False

    async def close(self) -> None:
        """End all idle sessions, and each other one as it comes back."""
        self._closed = True
        await self._close_idle(0)

    async def _take(self) -> AsyncConnection[Any]:
        while self._idle:
            _, connection = self._idle.pop()
            if await _alive(connection):
                return connection
            await connection.close()
        return await self._new()

    async def _new(self) -> AsyncConnection[Any]:
        connection = await connect(self.endpoint, self.account, LOCK_DATABASE)
        if connection.info.server_version >= 16_00_00:
            await connection.execute("SET createrole_self_grant = ''")
        return connection

    async def _give_back(self, connection: AsyncConnection[Any]) -> None:
        if self._closed or connection.closed or connection.pgconn.transaction_status != TransactionStatus.IDLE:
            await connection.close()
            return
        self._idle.append((time.monotonic(), connection))
        loop = asyncio.get_running_loop()
        loop.call_later(_IDLE_SECONDS, lambda: loop.create_task(self._close_idle(_IDLE_SECONDS)))

    async def _close_idle(self, seconds: float) -> None:
        old = [entry for entry in self._idle if time.monotonic() - entry[0] >= seconds]
        self._idle = [entry for entry in self._idle if entry not in old]
        for _, connection in old:
            await connection.close()


async def _value(connection: AsyncConnection[Any], query: str, parameter: str) -> Any:
    row = await (await connection.execute(query.encode(), (parameter,))).fetchone()
    return row[0] if row else None


async def _alive(connection: AsyncConnection[Any]) -> bool:
    """Whether the server still answers: it may have been restarted since this session was last used."""
    try:
        await connection.execute(b"")
    except Exception:  # noqa: BLE001 - whatever it was, a new connection will say it better
        return False
    return not connection.closed


def _cut(connection: AsyncConnection[Any]) -> None:
    """End the socket under a session, so that a statement ends that waits for an answer. A statement that is cancelled
    waits on: for the server's word that it was."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as handle:
        handle.shutdown(socket.SHUT_RDWR)
