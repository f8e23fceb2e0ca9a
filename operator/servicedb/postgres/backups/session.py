"""Sessions that read a database for a backup, and the lock by which one has it for itself."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection, sql

from servicedb.errors import Problem, Retryable, Terminal
from servicedb.postgres.migrations.session import DATABASE_KEY, Connect, Guards, Tell, connect, take

APPLICATION = "servicedb-backup"

_LOCK_TIMEOUT_MILLISECONDS = 10_000

_SETTINGS = {
    "search_path": "pg_catalog",
    "row_security": "off",
    "idle_in_transaction_session_timeout": "0",
    "extra_float_digits": "1",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "bytea_output": "hex",
    "xmloption": "content",
    "lc_monetary": "C",
    "synchronize_seqscans": "off",
}
"""Row security that would hide rows is an error instead. With the rest the text of a value is the same everywhere."""

_SINCE_17 = {"transaction_timeout": "0"}


@dataclass(frozen=True, slots=True)
class Way:
    """To a database: `as_role` is the role to act as, `read_only` forbids to write by it."""

    connect_to: Connect
    as_role: str | None = None
    read_only: bool = False

    def open(self, *, application: str = APPLICATION) -> Connection[Any]:
        """A session in autocommit mode. Raises Terminal, or Retryable where the server is away."""
        connection = connect(self.connect_to, Guards(_LOCK_TIMEOUT_MILLISECONDS, 0), application=application)
        try:
            with translated():
                self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self, connection: Connection[Any]) -> None:
        since_17 = _SINCE_17 if connection.info.server_version >= 17_00_00 else {}
        for name, value in (_SETTINGS | since_17).items():
            connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))
        if self.as_role is not None:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(self.as_role)))
        if self.read_only:
            connection.execute("SET default_transaction_read_only = on")


def hold_database(connection: Connection[Any], *, wait: float | None, tell: Tell) -> None:
    """Have the database for this session alone, among all that migrate it, back it up and delete from it.

    Waits up to `wait` seconds (None: as long as it takes). Raises Busy.
    """
    until = None if wait is None else time.monotonic() + wait
    take(connection, "pg_try_advisory_lock", DATABASE_KEY, until, tell)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Errors of the server become Problems: Retryable are lost connections, timeouts and what was dropped meanwhile."""
    try:
        yield
    except psycopg.Error as error:
        raise problem_of(error) from None  # psycopg's text holds DETAIL, which may hold values of rows


def problem_of(error: psycopg.Error) -> Problem:
    """What the server says, in its own first line."""
    words = error.diag.message_primary
    if words is None or isinstance(error, psycopg.errors.AdminShutdown | psycopg.errors.CrashShutdown):
        return Retryable("ConnectionLost", f"the connection to the server was lost{f': {words}' if words else ''}")
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return Retryable("LockTimeout", f"a table could not be locked for reading: {words}; tried again later")
    if (
        isinstance(error, psycopg.OperationalError) or error.sqlstate == "XX000"
    ):  # "cache lookup failed": it was dropped
        return Retryable("ServerBusy", f"the server says: {words} (SQLSTATE {error.sqlstate})")
    return Terminal("ServerRefused", f"the server says: {words} (SQLSTATE {error.sqlstate})")
