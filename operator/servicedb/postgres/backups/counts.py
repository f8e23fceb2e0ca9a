"""How many rows a table has, and a fingerprint of them: the same wherever, and in whatever order, they stand.

Source: PostgreSQL documentation, "Hash Functions" of record types; src/backend/utils/adt/rowtypes.c.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from psycopg import Connection, sql

from servicedb.plan.backups.manifest import Table
from servicedb.plan.backups.relations import Counted

HASHED = "hash:"
TEXT = "text:"
"""What a fingerprint begins with: how it was made, and so how it is made again."""

_MOST_HASHED_BYTES = 256 << 30
_MOST_TEXT_BYTES = 8 << 30
"""Above these sizes a table's rows are counted only: the text of a row takes as long to make as to dump."""


@contextlib.contextmanager
def in_snapshot(connection: Connection[Any], snapshot: str | None) -> Iterator[None]:
    """A transaction that reads `snapshot`. One for each table: the locks on its indexes end with it."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if snapshot is not None:
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        yield


def count(connection: Connection[Any], table: Counted, snapshot: str | None, *, like: str | None = None) -> Table:
    """The rows of `table` at `snapshot` (None: now).

    The fingerprint is made as `like`, one that there is, was made; None: from hashes where those of all columns are the
    same everywhere, from text where not, and not at all where that takes too long.
    """
    way = _way(table) if like is None else f"{like.partition(':')[0]}:"
    with in_snapshot(connection, snapshot):
        rows, total = _counted(connection, table, way)
    return Table(
        schema_=table.relation.schema,
        name=table.relation.name,
        rows=rows,
        fingerprint=None if way is None else f"{way}{total or 0}",
    )


def _way(table: Counted) -> str | None:
    if table.relation.hashable and table.bytes <= _MOST_HASHED_BYTES:
        return HASHED
    return TEXT if table.bytes <= _MOST_TEXT_BYTES else None


def _counted(connection: Connection[Any], table: Counted, way: str | None) -> tuple[int, str | None]:
    """Columns by name, since their order may differ after a restore. A row becomes text by PostgreSQL's own function
    for rows: a cast could be the tenant's own."""
    columns = sql.SQL(", ").join(sql.Identifier("t", name) for name in table.relation.columns)
    row = sql.SQL("ROW({})").format(columns)
    fingerprint = {
        None: sql.SQL("NULL"),
        HASHED: sql.SQL("sum(pg_catalog.hash_record_extended({}, 0))::text").format(row),
        TEXT: sql.SQL("sum(pg_catalog.hashtextextended(pg_catalog.textin(pg_catalog.record_out({})), 0))::text").format(
            row
        ),
    }[way]
    query = sql.SQL("SELECT count(*), {} FROM {} {} AS t").format(
        fingerprint,
        sql.SQL("" if table.whole else "ONLY"),
        sql.Identifier(table.relation.schema, table.relation.name),
    )
    found = connection.execute(query).fetchone()
    assert found is not None
    return int(found[0]), found[1]
