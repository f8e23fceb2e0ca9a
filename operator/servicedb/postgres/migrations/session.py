"""Sessions that migrate: guarded against being left behind, and alone at their set and schema.

The lock is held by the session that does the work: one held by another could be free while the work still goes on.
"""

import contextlib
import hashlib
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.pq import TransactionStatus

from servicedb.errors import Busy, Problem, Retryable, Terminal

Connect = Callable[[], str]
"""Gives a connection string: asked before each connect, since a password may have changed."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """Such a `read` of a mounted Secret. Kubelet brings a password that was changed a minute or two later: `patience`
    is how many seconds a session waits for it."""

    read: Connect
    patience: float = 120.0

    def __call__(self) -> str:
        return self.read()


Tell = Callable[[str], None]
"""Takes a line for the person who watches."""

APPLICATION = "servicedb-migrate"
REFUSED = "LoginRefused"
"""The reason of a refused login. Where it is Retryable, a mounted Secret was given its time to change already."""

_LOOK_AT_SECRET_SECONDS = 0.5
_GUARDS = {
    "tcp_keepalives_idle": "15",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
    "idle_session_timeout": "0",
    "standard_conforming_strings": "on",
    "default_transaction_read_only": "off",
    "default_transaction_isolation": "read committed",
}
"""With these the server ends the work of a killed client within seconds. What a database may set for everybody is
brought back to what a script is read by."""

_MAY_BE_REFUSED = {"client_connection_check_interval": "2s", "lc_messages": "C"}
"""Not to be had on every system, and by every login."""

_FIRST_POLL_SECONDS = 0.01
_LONGEST_POLL_SECONDS = 1.0
_TELL_SECONDS = 10.0
_FIRST_TELL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Guards:
    """How long a statement may wait and run, in milliseconds; 0 is without a limit."""

    lock_timeout: int = 3000
    statement_timeout: int = 0


def key_of(*parts: str) -> int:
    """The key of an advisory lock. Source: PostgreSQL documentation, "Advisory Locks"."""
    return int.from_bytes(hashlib.sha256("\0".join(("servicedb", *parts)).encode()).digest()[:8], "big", signed=True)


DATABASE_KEY = key_of("database")
"""Held shared by all that migrate, and exclusively by a backup or retention of the same database."""


def connect(connect: Connect, guards: Guards, *, application: str = APPLICATION) -> Connection[Any]:
    """An autocommit connection with `guards`. Raises Terminal, or Retryable where the server is away.

    A password of a mounted Secret that is refused is Retryable, too: the one that is right may be on its way.
    """
    try:
        connection = psycopg.connect(
            connect(),
            autocommit=True,
            application_name=application,
            client_encoding="utf8",
            connect_timeout=10,
            prepare_threshold=None,
        )
    except psycopg.OperationalError as error:
        raise _refused(error, mounted=isinstance(connect, Mounted)) from error
    except psycopg.ProgrammingError as error:
        raise Terminal(
            "BadConnection", "the connection string can't be read; is it a URI or key=value pairs?"
        ) from error
    try:
        _check_direct(connection)
        limits = {"lock_timeout": str(guards.lock_timeout), "statement_timeout": str(guards.statement_timeout)}
        connection.execute(setting(_GUARDS | limits))
        for name, value in _MAY_BE_REFUSED.items():
            with contextlib.suppress(psycopg.Error):
                connection.execute(setting({name: value}))
    except BaseException:
        connection.close()
        raise
    return connection


def setting(settings: Mapping[str, str]) -> sql.Composed:
    """What sets them for the session."""
    each = sql.SQL("pg_catalog.set_config({}, {}, false)")
    calls = [each.format(sql.Literal(name), sql.Literal(value)) for name, value in settings.items()]
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls))


def together(connection: Connection[Any], *statements: sql.Composable) -> Any:
    """Send all at once; gives the value of the last. The first that fails is the last that is done."""
    return _together(connection, sql.SQL("; ").join(statements).as_bytes(connection))


def _together(connection: Connection[Any], query: bytes) -> Any:
    cursor = connection.execute(query)
    while cursor.nextset():
        pass
    row = cursor.fetchone()
    return row[0] if row else None


def _connect_patiently(connect_to: Connect, guards: Guards, tell: Tell) -> Connection[Any]:
    """`connect`, tried again when the Secret that was refused changes. Raises as it does."""
    if not isinstance(connect_to, Mounted):
        return connect(connect_to, guards)
    until = time.monotonic() + connect_to.patience
    while True:
        given = connect_to()
        try:
            return connect(connect_to, guards)
        except Retryable as problem:
            if problem.reason != REFUSED:
                raise
            tell(f"{problem.message}; waiting for the mounted Secret to change")
            while connect_to() == given:
                if time.monotonic() >= until:
                    raise
                time.sleep(_LOOK_AT_SECRET_SECONDS)


def _refused(error: psycopg.OperationalError, *, mounted: bool) -> Problem:
    text = str(error)  # libpq's words: host, port and role, never the password
    if mounted and "password authentication" in text:
        return Retryable(REFUSED, f"the server refuses the password in the mounted Secret: {_last_line(text)}")
    if any(words in text for words in ("password authentication", "no pg_hba.conf entry", "does not exist")):
        return Terminal(REFUSED, f"the server refuses the login: {_last_line(text)}")
    return Retryable("ServerUnreachable", f"the server can't be reached: {_last_line(text)}")


def _last_line(text: str) -> str:
    return " ".join(text.split())


def _check_direct(connection: Connection[Any]) -> None:
    """A pooler gives a backend of its own choosing to each transaction: a lock would be held by none in particular."""
    row = connection.execute("SELECT pg_catalog.pg_backend_pid()").fetchone()
    if row is not None and row[0] != connection.info.backend_pid:
        raise Terminal(
            "PoolerInBetween",
            "the connection goes through a pooler (such as PgBouncer), where the lock of a migration would not hold; "
            "connect to the server itself",
        )


_AS_NEW = sql.SQL(
    "SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; CLOSE ALL; UNLISTEN *; DEALLOCATE ALL; DISCARD PLANS; "
    "DISCARD SEQUENCES; DISCARD TEMP"
)
"""DISCARD ALL, but for the advisory locks. Source: PostgreSQL documentation, DISCARD."""

_LOCKS = sql.SQL(
    """
    SELECT pg_catalog.array_agg(pg_catalog.concat_ws(' ', classid, objid)) FROM pg_catalog.pg_locks
    WHERE pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid()
      AND locktype OPERATOR(pg_catalog.=) 'advisory'
    """
)


@dataclass(slots=True)
class Held:
    """A session that alone works on one set in one schema. `settings` are those that it was given when it was new."""

    connection: Connection[Any]
    keys: frozenset[int]
    settings: Mapping[str, str]
    _as_new: bytes | None = None

    def reset(self) -> bool:
        """Whether the session is as a new one, and has held its locks all the while, and no other. A script may have
        given them back, or taken others, which only a new session is rid of."""
        if self.connection.info.transaction_status != TransactionStatus.IDLE:
            return False
        if self._as_new is None:
            self._as_new = sql.SQL("; ").join([_AS_NEW, setting(self.settings), _LOCKS]).as_bytes(self.connection)
        try:
            keys = _together(self.connection, self._as_new)
        except psycopg.Error:
            return False
        return sorted(keys or ()) == sorted(f"{high} {low}" for high, low in map(_halves, self.keys))

    def see(self, search_path: str) -> None:
        """From now on the session looks there for what has no schema, also when it is as new."""
        self.settings, self._as_new = {**self.settings, "search_path": search_path}, None
        self.connection.execute(setting({"search_path": search_path}))

    def close(self) -> None:
        """The lock goes at once; with the connection alone it would go when the server has noticed."""
        with contextlib.suppress(psycopg.Error):
            if self.connection.info.transaction_status == TransactionStatus.IDLE:
                self.connection.execute("SELECT pg_catalog.pg_advisory_unlock_all()")
        self.connection.close()


def held(
    connect_to: Connect,
    guards: Guards,
    key: int,
    *,
    before: Held | None = None,
    tell: Tell = lambda _: None,
    wait: float | None = None,
    patiently: bool = True,
) -> Held:
    """A session with the database's key, shared, and `key`, alone. It connects before the session `before` ends.

    Waits for both, up to `wait` seconds (None: as long as it takes), and tells who holds them. Raises Busy, and as
    `connect` does.
    """
    connection = _connect_patiently(connect_to, guards, tell) if patiently else connect(connect_to, guards)
    try:
        until = None if wait is None else time.monotonic() + wait
        settings = dict(
            connection.execute(
                "SELECT name, setting FROM pg_catalog.pg_settings WHERE source OPERATOR(pg_catalog.=) 'session'"
            ).fetchall()
        )
        take(connection, "pg_try_advisory_lock_shared", DATABASE_KEY, until, tell)
        if before is not None:
            before.close()
        take(connection, "pg_try_advisory_lock", key, until, tell)
    except psycopg.OperationalError as error:
        connection.close()
        raise Retryable("ConnectionLost", "the connection was lost while waiting for the lock") from error
    except BaseException:
        connection.close()
        raise
    return Held(connection, frozenset((DATABASE_KEY, key)), settings)


def take(connection: Connection[Any], function: str, key: int, until: float | None, tell: Tell) -> None:
    """Take an advisory lock by `function`, until time.monotonic() is `until`, and tell who holds it. Raises Busy.

    Polled: a session that waited for a lock would be an old transaction that CREATE INDEX CONCURRENTLY waits for.
    """
    query = sql.SQL("SELECT pg_catalog.{}(%s::pg_catalog.int8)").format(sql.Identifier(function))
    pause = _FIRST_POLL_SECONDS
    told = time.monotonic() - _TELL_SECONDS + _FIRST_TELL_SECONDS
    while True:
        row = connection.execute(query, (key,)).fetchone()
        if row is not None and row[0]:
            return
        if until is not None and time.monotonic() >= until:
            raise Busy("LockBusy", f"{_holder(connection, key)}; tried again later")
        if time.monotonic() - told >= _TELL_SECONDS:
            told = time.monotonic()
            tell(f"waiting: {_holder(connection, key)}")
        time.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - spreads out those who wait, no secret
        pause = min(pause * 2, _LONGEST_POLL_SECONDS)


def _halves(key: int) -> tuple[int, int]:
    """As pg_locks shows the key of an advisory lock: classid and objid."""
    return divmod(key % (1 << 64), 1 << 32)


def _holder(connection: Connection[Any], key: int) -> str:
    with connection.transaction():
        # The login sees where its other sessions come from, the owner does not.
        connection.execute("SET LOCAL ROLE NONE; SET LOCAL search_path = pg_catalog")
        row = connection.execute(
            """
            SELECT activity.pid, activity.application_name, pg_catalog.host(activity.client_addr)
            FROM pg_catalog.pg_locks AS lock
            LEFT JOIN pg_catalog.pg_stat_activity AS activity USING (pid)
            WHERE lock.locktype = 'advisory' AND lock.granted AND lock.objsubid = 1
              AND lock.classid = %s::pg_catalog.oid AND lock.objid = %s::pg_catalog.oid
              AND lock.database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
              AND lock.pid <> pg_catalog.pg_backend_pid()
            ORDER BY lock.mode LIMIT 1
            """,
            tuple(map(str, _halves(key))),
        ).fetchone()
    if row is None:
        return "the lock was held by a session that has just ended"
    client = f" from {row[2]}" if row[2] else ""
    return f"session {row[0]} ({row[1] or 'without a name'}{client}) works on this database"
