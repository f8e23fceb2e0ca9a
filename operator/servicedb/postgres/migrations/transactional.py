"""Migrations that run in one transaction: all of it and its row in the history, or nothing."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import Connection, sql

from servicedb.errors import Terminal
from servicedb.plan.migrations.history import Applied
from servicedb.plan.migrations.lexer import Statement
from servicedb.plan.migrations.script import Script
from servicedb.postgres.migrations.history import OURSELVES, Scope, beginning, removing
from servicedb.postgres.migrations.run import failing_at, run
from servicedb.postgres.migrations.session import together

_IDENTITY = sql.SQL("SELECT pg_catalog.pg_current_xact_id()")


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
    before = [removing(scope, one.key)] if again else []
    with _transaction(connection, *before, beginning(scope, one, source_digest=source_digest)) as transaction:
        last = transaction.carry_out(script)
        milliseconds = round((time.monotonic() - begun) * 1000)
        transaction.end(script, last, _took(scope, one.key, milliseconds))
    return milliseconds


def revert(connection: Connection[Any], scope: Scope, key: str, script: Script) -> int:
    """Carry out the way back of `key` and take it out of the history; gives its milliseconds."""
    begun = time.monotonic()
    with _transaction(connection, removing(scope, key)) as transaction:
        transaction.end(script, transaction.carry_out(script))
    return round((time.monotonic() - begun) * 1000)


def run_script(connection: Connection[Any], script: Script) -> None:
    """Carry out a script that no history holds, in one transaction."""
    with _transaction(connection) as transaction:
        transaction.end(script, transaction.carry_out(script))


def carry_out(connection: Connection[Any], script: Script) -> None:
    """The same within a transaction of the caller's."""
    transaction = _Transaction(connection, together(connection, _IDENTITY))
    transaction.end(script, transaction.carry_out(script))


@contextlib.contextmanager
def _transaction(connection: Connection[Any], *first: sql.Composable) -> Iterator["_Transaction"]:
    """One that begins with `first`, which mean the same under any search_path: a script sees what the session sees.

    All is sent at once: in a small migration it is felt how often an answer is waited for.
    """
    with failing_at(None):
        try:
            yield _Transaction(connection, together(connection, sql.SQL("BEGIN"), *first, _IDENTITY))
        except BaseException:
            with contextlib.suppress(psycopg.Error):  # the connection may be lost, which has been said
                connection.rollback()
            raise
        connection.commit()


@dataclass(frozen=True, slots=True)
class _Transaction:
    """One that has begun, and what the server knows it by."""

    connection: Connection[Any]
    identity: str

    def carry_out(self, script: Script) -> Statement | None:
        """Gives the last statement."""
        last: Statement | None = None
        for last in script.statements:
            run(self.connection, last)
        return last

    def end(self, script: Script, last: Statement | None, *note: sql.Composable) -> None:
        """What is left to check, and the `note` of it. A constraint that was put off fails at the last statement."""
        with failing_at(last):
            identity = together(self.connection, sql.SQL("SET CONSTRAINTS ALL IMMEDIATE"), OURSELVES, *note, _IDENTITY)
        if identity != self.identity:
            raise Terminal(
                "TransactionEnded",
                f"{script.file} ended the transaction that it ran in, so what it did can't be taken back as one: "
                "look at what is there, and let it stand outside a transaction (`-- servicedb: no-transaction`)",
            )


def _took(scope: Scope, key: str, milliseconds: int) -> sql.Composed:
    """The row that was written first says the rest already."""
    return sql.SQL(
        "UPDATE servicedb_migrations.history SET milliseconds = {}, applied_at = clock_timestamp() "
        "WHERE set_name = {} AND schema_name = {} AND key = {}"
    ).format(*map(sql.Literal, (milliseconds, scope.set_name, scope.schema, key)))
