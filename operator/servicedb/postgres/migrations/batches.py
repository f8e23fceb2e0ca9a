"""Backfills in pieces: each piece is a transaction with the key that it got to, so a kill costs one piece."""

from typing import Any

from psycopg import Connection, sql

from servicedb.errors import Terminal
from servicedb.plan.migrations.batch import Batch, bounded
from servicedb.plan.migrations.lexer import Statement
from servicedb.postgres.migrations.history import Progress, Scope, bookkeeping, note_progress, progress


def run_batches(
    connection: Connection[Any], scope: Scope, key: str, number: int, statement: Statement, batch: Batch
) -> None:
    """Carry out `statement` piece by piece from where it got to, until nothing remains.

    Raises Terminal where the key is no good, and where a sweep over all rows left as much over as the one before.
    """
    with connection.transaction():
        table, data_type = _key(connection, batch)
    with bookkeeping(connection):
        at = progress(connection, scope, key, number)
    left: int | None = None
    while True:
        while (reached := _piece(connection, scope, key, number, statement, batch, table, data_type, at)) is not None:
            at = reached
        if batch.remaining is None:
            return
        remaining = _remaining(connection, batch)
        if remaining == 0:
            return
        if left is not None and remaining >= left:
            raise Terminal(
                "BatchRemains",
                f"line {statement.line}: {remaining} rows remain after sweep {at.sweep}, no fewer than after the one "
                "before: the statement and `-- servicedb: remaining` don't speak of the same rows",
            )
        left, at = remaining, Progress(None, at.sweep + 1, at.rows)
        with bookkeeping(connection):
            note_progress(connection, scope, key, number, at)


def _piece(
    connection: Connection[Any],
    scope: Scope,
    key: str,
    number: int,
    statement: Statement,
    batch: Batch,
    table: sql.Identifier,
    data_type: sql.Composable,
    at: Progress,
) -> Progress | None:
    """One transaction: the next rows by key, and how far that is. None where there are no more."""
    column = sql.Identifier(batch.key)
    after = sql.Composed([])
    if at.reached is not None:
        after = sql.SQL("WHERE {} > {}").format(column, _bound(at.reached, data_type))
    query = sql.SQL(
        "SELECT (pg_catalog.array_agg(piece ORDER BY piece))[1]::text, "
        "(pg_catalog.array_agg(piece ORDER BY piece DESC))[1]::text "
        "FROM (SELECT {column} AS piece FROM {table} {after} ORDER BY {column} LIMIT {size}) AS next"
    ).format(column=column, table=table, after=after, size=sql.Literal(batch.size))
    with connection.transaction():
        row = connection.execute(query).fetchone()
        if row is None or row[0] is None:
            return None
        first, last = (_bound(value, data_type).as_string(connection) for value in row)
        cursor = connection.execute(bounded(statement.text, first, last).encode())
        reached = Progress(row[1], at.sweep, at.rows + max(cursor.rowcount, 0))
        with bookkeeping(connection):
            note_progress(connection, scope, key, number, reached)
    return reached


def _bound(value: str, data_type: sql.Composable) -> sql.Composed:
    return sql.SQL("{}::{}").format(sql.Literal(value), data_type)


def _key(connection: Connection[Any], batch: Batch) -> tuple[sql.Identifier, sql.Composable]:
    """The table, and the type of its key. Raises Terminal where the key can miss rows or meet them twice."""
    parts = (batch.table,) if batch.schema is None else (batch.schema, batch.table)
    table = sql.Identifier(*parts)
    row = connection.execute(
        """
        SELECT pg_catalog.format_type(attribute.atttypid, NULL), attribute.attnotnull AND EXISTS (
            SELECT FROM pg_catalog.pg_index AS index
            WHERE index.indrelid = attribute.attrelid AND index.indisunique AND index.indisvalid
              AND index.indpred IS NULL AND index.indnkeyatts = 1 AND index.indkey[0] = attribute.attnum
        )
        FROM pg_catalog.pg_attribute AS attribute
        WHERE attribute.attrelid = pg_catalog.to_regclass(%s) AND attribute.attname = %s
          AND attribute.attnum > 0 AND NOT attribute.attisdropped
        """,
        (table.as_string(connection), batch.key),
    ).fetchone()
    if row is None:
        raise Terminal("BadBatch", f'there is no column "{batch.key}" in table {".".join(parts)}')
    if not row[1]:
        raise Terminal(
            "BadBatch",
            f'the key "{batch.key}" of table {".".join(parts)} has to be NOT NULL with a unique index of its own: '
            "else rows could be left out or be met twice",
        )
    return table, sql.Composed([sql.SQL(row[0])])


def _remaining(connection: Connection[Any], batch: Batch) -> int:
    row = connection.execute((batch.remaining or "").encode()).fetchone()
    if row is None or not isinstance(row[0], int):
        raise Terminal("BadBatch", "`-- servicedb: remaining` has to be a query that gives one number")
    return row[0]
