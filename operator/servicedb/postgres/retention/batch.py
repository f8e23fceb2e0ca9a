"""One batch: the oldest rows that are over go from the table, and come out on the way.

What is archived is what was deleted: PostgreSQL gives the rows of the DELETE itself, in its own text. COPY's text holds
every value there is, where objects of Python and Parquet know no infinity, nothing before Christ and no 24:00.

Source: PostgreSQL documentation, COPY; SELECT, "The Locking Clause".
"""

import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from psycopg import Connection, Copy, sql

from servicedb.errors import Retryable
from servicedb.plan.retention.rule import Name, Rule
from servicedb.plan.retention.table import Table
from servicedb.postgres.retention.observe import observe


def over(rule: Rule, table: Table, before: datetime, *, where: bool = True) -> sql.Composed:
    """The condition that a row is older than `before`, a moment, and that the rule's `where` holds unless left out.

    A row without a time is never over: it is not known how old it is.
    """
    column = table.column(rule.column)
    assert column is not None
    condition = sql.SQL("{} < {}").format(sql.Identifier(rule.column), moment(before, column.type_name))
    if rule.where is None or not where:
        return condition
    return sql.SQL("{} AND (").format(condition) + sql.SQL(rule.where) + sql.SQL("\n)")


def hold(connection: Connection[Any], rule: Rule, table: Table) -> None:
    """Within a transaction, before anything else: from here to its end `table` stays as it is.

    Raises Retryable where it is no longer as it was observed: a new column would be in no archive, a new foreign key
    might cascade.

    Source: PostgreSQL documentation, "Explicit Locking", "Conflicting Lock Modes".
    """
    connection.execute(sql.SQL("LOCK TABLE ONLY {} IN ROW EXCLUSIVE MODE").format(identifier(table.name)))
    now = observe(connection, rule.name, rule.column)
    if now is None or now.layout != table.layout:
        raise Retryable("TableChanged", f"table {table.name} was changed during the run; the next one looks at it anew")


def moment(at: datetime, type_name: str) -> sql.Composed:
    """`at` as a value that compares with a time of that type: one without a zone is taken for one of UTC."""
    value = sql.SQL("{}::pg_catalog.timestamptz").format(sql.Literal(at.isoformat()))
    if "with time zone" not in type_name:
        value = sql.SQL("({} AT TIME ZONE 'UTC')").format(value)
    return sql.SQL("{}::pg_catalog.date").format(value) if type_name == "date" else value


def archived_columns(table: Table, column: str) -> tuple[str, ...]:
    """The columns in the order of an archive: the time first."""
    return (column, *(name for name in table.stored if name != column))


@contextlib.contextmanager
def deleted_rows(
    connection: Connection[Any], rule: Rule, table: Table, before: datetime, rows: int, since: str | None
) -> Iterator[Copy]:
    """Delete up to `rows` rows that are over and that nobody else has locked, oldest first; gives them as COPY does.

    `since`: none older than this time (as text) is looked for; None: from the beginning.
    """
    columns = sql.SQL(", ").join(sql.Identifier("old", one) for one in archived_columns(table, rule.column))
    statement = sql.SQL("COPY ({} RETURNING {}) TO STDOUT").format(_deletion(rule, table, before, rows, since), columns)
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield copy


def delete_rows(connection: Connection[Any], rule: Rule, table: Table, before: datetime, rows: int) -> int:
    """The same without an archive: how many rows went."""
    return connection.execute(_deletion(rule, table, before, rows, None)).rowcount


def _deletion(rule: Rule, table: Table, before: datetime, rows: int, since: str | None) -> sql.Composed:
    """Which rows go is settled before the first one does: the plan of a join could look for them more than once."""
    column = table.column(rule.column)
    assert column is not None
    condition = over(rule, table, before)
    if since is not None:
        condition += sql.SQL(" AND {} >= {}").format(sql.Identifier(rule.column), of_type(since, column.type_name))
    return sql.SQL(
        "WITH due AS MATERIALIZED (SELECT {key} FROM ONLY {table} WHERE {condition} ORDER BY {time} LIMIT {rows} "
        "FOR UPDATE SKIP LOCKED) DELETE FROM ONLY {table} AS old USING due WHERE {same}"
    ).format(
        key=sql.SQL(", ").join(map(sql.Identifier, table.key)),
        table=identifier(table.name),
        condition=condition,
        time=sql.Identifier(rule.column),
        rows=sql.Literal(rows),
        same=sql.SQL(" AND ").join(sql.SQL("old.{0} = due.{0}").format(sql.Identifier(one)) for one in table.key),
    )


def edges(connection: Connection[Any], type_name: str, times: Sequence[str]) -> tuple[str | None, str | None]:
    """The oldest and the youngest of `times`, as texts; None where there are none."""
    query = sql.SQL("SELECT min(at)::text, max(at)::text FROM unnest(%s::text[]) t, LATERAL (SELECT t::{}) AS x (at)")
    row = connection.execute(query.format(sql.SQL(type_name)), (list(times),)).fetchone()
    return (row[0], row[1]) if row is not None else (None, None)


def identifier(name: Name) -> sql.Identifier:
    return sql.Identifier(name.schema, name.table)


def of_type(text: str, type_name: str) -> sql.Composed:
    """A value as a text that a type reads. `type_name` is as format_type() writes it."""
    return sql.SQL("{}::{}").format(sql.Literal(text), sql.SQL(type_name))
