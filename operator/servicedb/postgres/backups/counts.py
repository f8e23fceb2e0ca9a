"""How many rows a table has, and a fingerprint of them: the same wherever, and in whatever order, they stand.

Source: PostgreSQL documentation, "Hash Functions" of record types; src/backend/utils/adt/rowtypes.c.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from psycopg import Connection, Cursor, sql

from servicedb.plan.backups.manifest import Table
from servicedb.plan.backups.relations import Counted

HASHED = "hash:"
TEXT = "text:"
"""What a fingerprint begins with: how it was made, and so how it is made again."""

_MOST_HASHED_BYTES = 256 << 30
_MOST_TEXT_BYTES = 8 << 30
"""Above these sizes a table's rows are counted only: the text of a row takes as long to make as to dump."""

_SMALL_BYTES = 1 << 20
_MOST_TOGETHER = 100


@contextlib.contextmanager
def in_snapshot(connection: Connection[Any], snapshot: str | None) -> Iterator[None]:
    """A transaction that reads `snapshot`."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if snapshot is not None:
            connection.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        yield


def count(
    connection: Connection[Any],
    tables: Sequence[Counted],
    snapshot: str | None = None,
    *,
    like: Mapping[tuple[str, str], str | None] | None = None,
    over: Callable[[], bool] = lambda: False,
) -> Iterator[Table]:
    """The rows of each of `tables` at `snapshot` (None: now), until `over` says that nobody wants to know any more.

    The fingerprints are made as those that there are were made, which `like` gives by schema and name; None: from
    hashes where those of all columns are the same everywhere, from text where not, and not at all where that takes too
    long.
    """
    ways = [_way(one) if like is None else _made(like[one.relation.schema, one.relation.name]) for one in tables]
    for some in _sent_together(list(zip(tables, ways, strict=True))):
        if over():
            return
        queries = [sql.SQL("; ").join(_transaction(_counting(table, way), snapshot)) for table, way in some]
        results = _rows(connection.execute(sql.SQL("; ").join(queries)))
        for (table, way), (rows, total) in zip(some, results, strict=True):
            yield Table(
                schema_=table.relation.schema,
                name=table.relation.name,
                rows=rows,
                fingerprint=None if way is None else f"{way}{total or 0}",
            )


def _sent_together(tables: Sequence[tuple[Counted, str | None]]) -> Iterator[Sequence[tuple[Counted, str | None]]]:
    """A large table by itself, and many that are small: of those each question would take longer than its answer."""
    some: list[tuple[Counted, str | None]] = []
    for one in tables:
        some.append(one)
        if len(some) == _MOST_TOGETHER or one[0].bytes > _SMALL_BYTES:
            yield some
            some = []
    if some:
        yield some


def _transaction(query: sql.Composable, snapshot: str | None) -> list[sql.Composable]:
    """One that reads `snapshot`. One for each table: the locks on its indexes end with it."""
    read = [] if snapshot is None else [sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot))]
    return [sql.SQL("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"), *read, query, sql.SQL("COMMIT")]


def _rows(cursor: Cursor[Any]) -> Iterator[tuple[int, str | None]]:
    """The row of each statement that has one."""
    while True:
        if cursor.description is not None:
            found = cursor.fetchone()
            assert found is not None
            yield int(found[0]), found[1]
        if not cursor.nextset():
            return


def _made(fingerprint: str | None) -> str | None:
    return None if fingerprint is None else f"{fingerprint.partition(':')[0]}:"


def _way(table: Counted) -> str | None:
    if table.relation.hashable and table.bytes <= _MOST_HASHED_BYTES:
        return HASHED
    return TEXT if table.bytes <= _MOST_TEXT_BYTES else None


def _counting(table: Counted, way: str | None) -> sql.Composed:
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
    return sql.SQL("SELECT count(*), {} FROM {} {} AS t").format(
        fingerprint,
        sql.SQL("" if table.whole else "ONLY"),
        sql.Identifier(table.relation.schema, table.relation.name),
    )
