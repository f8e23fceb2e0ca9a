"""Rows that are archived while they still stand in their table: windows of time, and whether one is as it was.

Source: PostgreSQL documentation, SELECT, "LIMIT Clause" (WITH TIES); "Transaction Isolation".
"""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
from psycopg import Connection, Copy, IsolationLevel, sql

from servicedb.plan.retention.ledger import Archive
from servicedb.plan.retention.rule import Rule
from servicedb.plan.retention.table import Table
from servicedb.postgres.retention.batch import archived_columns, identifier, of_type, over


@contextlib.contextmanager
def next_rows(
    connection: Connection[Any], rule: Rule, table: Table, before: datetime, rows: int, after: str | None
) -> Iterator[Copy]:
    """The next rows that are over, younger than `after` (a time as text; None: from the beginning), as COPY gives them.

    They are about `rows`: all of the last one's time are among them, so that no time lies in two windows.
    """
    condition = over(rule, table, before)
    if after is not None:
        condition += sql.SQL(" AND {} > {}").format(sql.Identifier(rule.column), _time(rule, table, after))
    statement = sql.SQL(
        "COPY (SELECT {columns} FROM (SELECT * FROM ONLY {table} WHERE {condition} ORDER BY {time} "
        "FETCH FIRST {rows} ROWS WITH TIES) AS due ORDER BY {order}) TO STDOUT"
    ).format(
        columns=_columns(rule, table),
        table=identifier(table.name),
        condition=condition,
        time=sql.Identifier(rule.column),
        rows=sql.Literal(rows),
        order=_order(rule, table),
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield copy


@contextlib.contextmanager
def frozen(connection: Connection[Any]) -> Iterator[None]:
    """A transaction that sees one moment, and fails where it would change what others have changed since."""
    before = connection.isolation_level
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with connection.transaction():
            yield
    finally:
        with contextlib.suppress(psycopg.Error):
            connection.isolation_level = before


@contextlib.contextmanager
def window_rows(connection: Connection[Any], rule: Rule, table: Table, archive: Archive) -> Iterator[Copy]:
    """The rows that stand now where those of `archive` stood, in the same order."""
    statement = sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE {} ORDER BY {}) TO STDOUT").format(
        _columns(rule, table), identifier(table.name), _window(rule, table, archive), _order(rule, table)
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield copy


def delete_window(connection: Connection[Any], rule: Rule, table: Table, archive: Archive) -> int:
    """Delete those rows; how many they were."""
    statement = sql.SQL("DELETE FROM ONLY {} WHERE {}")
    return connection.execute(statement.format(identifier(table.name), _window(rule, table, archive))).rowcount


def is_over(connection: Connection[Any], rule: Rule, table: Table, archive: Archive, before: datetime) -> bool:
    """Whether every time in the window is before `before`, as the server compares them."""
    column = table.column(rule.column)
    assert column is not None
    assert archive.high is not None
    query = sql.SQL("SELECT {} FROM (SELECT {} AS {}) AS edge").format(
        over(rule, table, before, where=False),
        of_type(archive.high, column.type_name),
        sql.Identifier(rule.column),
    )
    row = connection.execute(query).fetchone()
    return row is not None and bool(row[0])


def _window(rule: Rule, table: Table, archive: Archive) -> sql.Composed:
    assert archive.low is not None
    assert archive.high is not None
    condition = sql.SQL("{} BETWEEN {} AND {}").format(
        sql.Identifier(rule.column), _time(rule, table, archive.low), _time(rule, table, archive.high)
    )
    if rule.where is None:
        return condition
    return condition + sql.SQL(" AND (") + sql.SQL(rule.where) + sql.SQL("\n)")


def _time(rule: Rule, table: Table, text: str) -> sql.Composed:
    column = table.column(rule.column)
    assert column is not None
    return of_type(text, column.type_name)


def _columns(rule: Rule, table: Table) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, archived_columns(table, rule.column)))


def _order(rule: Rule, table: Table) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, dict.fromkeys((rule.column, *table.key))))
