"""Migrations that run in one transaction: all of it and its row in the history, or nothing."""

import time
from typing import Any

from psycopg import Connection

from servicedb.errors import Terminal
from servicedb.plan.migrations.history import Applied
from servicedb.plan.migrations.lexer import Statement
from servicedb.plan.migrations.script import Script
from servicedb.postgres.migrations.history import Scope, as_ourselves, begin, end, remove
from servicedb.postgres.migrations.run import failing_at, run


def apply(
    connection: Connection[Any],
    scope: Scope,
    one: Applied,
    script: Script,
    *,
    source_digest: str | None = None,
    again: bool = False,
) -> int:
    """Carry out `script` as the migration `one`; gives its milliseconds. Raises StatementFailed: nothing was done then.

    The history's row is first: a rival waits for it, and then fails on its key.
    """
    begun = time.monotonic()
    with failing_at(None), connection.transaction():
        transaction = _Transaction(connection)
        begin(connection, scope, one, source_digest=source_digest, again=again)
        transaction.carry_out(script)
        milliseconds = round((time.monotonic() - begun) * 1000)
        end(connection, scope, one, milliseconds)
    return milliseconds


def revert(connection: Connection[Any], scope: Scope, key: str, script: Script) -> int:
    """Carry out the way back of `key` and take it out of the history; gives its milliseconds."""
    begun = time.monotonic()
    with failing_at(None), connection.transaction():
        transaction = _Transaction(connection)
        remove(connection, scope, key)
        transaction.carry_out(script)
    return round((time.monotonic() - begun) * 1000)


def run_script(connection: Connection[Any], script: Script) -> None:
    """Carry out a script that no history holds, in one transaction."""
    with failing_at(None), connection.transaction():
        carry_out(connection, script)


def carry_out(connection: Connection[Any], script: Script) -> None:
    """The same within a transaction of the caller's."""
    _Transaction(connection).carry_out(script)


class _Transaction:
    """One that has begun: our own statements see PostgreSQL's names alone, the script's what the session sees."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection
        self._path = self._value("SELECT pg_catalog.current_setting('search_path')")
        connection.execute("SET LOCAL search_path = pg_catalog")

    def carry_out(self, script: Script) -> None:
        identity = self._value("SELECT pg_current_xact_id()::text")
        self._connection.execute("SELECT pg_catalog.set_config('search_path', %s, true)", (self._path,))
        last: Statement | None = None
        for last in script.statements:
            run(self._connection, last)
        with failing_at(last):
            self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        as_ourselves(self._connection)
        if self._value("SELECT pg_current_xact_id()::text") != identity:
            raise Terminal(
                "TransactionEnded",
                f"{script.file} ended the transaction that it ran in, so what it did can't be taken back as one: "
                "look at what is there, and let it stand outside a transaction (`-- servicedb: no-transaction`)",
            )

    def _value(self, query: str) -> Any:
        row = self._connection.execute(query.encode()).fetchone()
        return row[0] if row else None
