"""What a rule would take, and what it leaves: counted for plans, limits and results."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection, sql

from servicedb.plan.retention.rule import Name, Rule
from servicedb.plan.retention.table import Table
from servicedb.postgres.retention.batch import identifier, over


def due(connection: Connection[Any], rule: Rule, table: Table, before: datetime, most: int | None = None) -> int:
    """How many rows are over; no more than `most` are counted."""
    limit = sql.SQL("") if most is None else sql.SQL(" LIMIT {}").format(sql.Literal(most))
    return _number(
        connection,
        sql.SQL("SELECT count(*) FROM (SELECT FROM {} WHERE {}{}) AS due").format(
            identifier(table.name), over(rule, table, before), limit
        ),
    )


def rows_in(connection: Connection[Any], names: Sequence[Name]) -> int:
    """How many rows these tables hold together."""
    query = sql.SQL("SELECT count(*) FROM ONLY {}")
    return sum(_number(connection, query.format(identifier(name))) for name in names)


def oldest(connection: Connection[Any], rule: Rule, table: Table) -> str | None:
    """The oldest time in the table, as text."""
    query = sql.SQL("SELECT min({})::text FROM {}").format(sql.Identifier(rule.column), identifier(table.name))
    row = connection.execute(query).fetchone()
    return row[0] if row is not None else None


def null_times(connection: Connection[Any], rule: Rule, table: Table) -> int:
    """How many rows have no time: they are kept."""
    column = table.column(rule.column)
    if column is None or column.not_null:
        return 0
    return _number(
        connection,
        sql.SQL("SELECT count(*) FROM {} WHERE {} IS NULL").format(identifier(table.name), sql.Identifier(rule.column)),
    )


def now(connection: Connection[Any]) -> datetime:
    """The database's time."""
    row = connection.execute("SELECT now()").fetchone()
    assert row is not None
    at: datetime = row[0]
    return at


def _number(connection: Connection[Any], query: sql.Composed) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])
