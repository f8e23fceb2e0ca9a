"""What CREATE INDEX CONCURRENTLY and its like leave behind, seen in the catalogue and cleared away.

Source: PostgreSQL documentation, CREATE INDEX, "Building Indexes Concurrently".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql

from servicedb.plan.migrations.statements import Kind, Traits
from servicedb.postgres.migrations.history import bookkeeping


@dataclass(frozen=True, slots=True)
class Index:
    """An index that came since a statement began."""

    schema: str
    name: str
    valid: bool

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def all_indexes(connection: Connection[Any]) -> list[int]:
    """The OIDs of all indexes that are not PostgreSQL's own: what comes later is the difference."""
    rows = connection.execute("SELECT indexrelid::bigint FROM pg_index WHERE indexrelid >= 16384 ORDER BY 1").fetchall()
    return [oid for (oid,) in rows]


def since(connection: Connection[Any], before: Sequence[int], traits: Traits) -> list[Index]:
    """The indexes that came since there were only `before`, and that a statement of these `traits` can have made.

    They are of the relation that it names, as the session's search_path finds that: a tenant's index may be called as
    another's. Those that somebody is building just now are another's, and left out.
    """
    if traits.kind is not Kind.CREATES_INDEX and not traits.waits:
        return []
    tables = _tables(connection, traits.relation) if traits.relation is not None else None
    with bookkeeping(connection):
        rows = connection.execute(
            """
            SELECT namespace.nspname::text, class.relname::text, index.indisvalid
            FROM pg_index AS index
            JOIN pg_class AS class ON class.oid = index.indexrelid
            JOIN pg_namespace AS namespace ON namespace.oid = class.relnamespace
            WHERE class.relkind = 'i' AND class.oid >= 16384 AND NOT (class.oid::bigint = ANY (%(before)s))
              AND (%(tables)s::bigint[] IS NULL OR index.indrelid::bigint = ANY (%(tables)s))
              AND pg_has_role(class.relowner, 'USAGE')
              AND NOT EXISTS (
                  SELECT FROM pg_stat_progress_create_index AS progress
                  WHERE progress.datid = (SELECT oid FROM pg_database WHERE datname = current_database())
                    AND progress.index_relid = class.oid
              )
            ORDER BY 1, 2
            """,
            {"before": list(before), "tables": tables},
        ).fetchall()
    found = [Index(schema, name, valid) for schema, name, valid in rows]
    if traits.kind is Kind.CREATES_INDEX:
        return [index for index in found if tables is not None and traits.index in (None, index.name)]
    return [index for index in found if not index.valid and ("_ccnew" in index.name or "_ccold" in index.name)]


def _tables(connection: Connection[Any], relation: str) -> list[int]:
    """The OIDs of the table that `relation` is or is an index of, its partitions, and where their long values are."""
    row = connection.execute("SELECT pg_catalog.to_regclass(%s)::pg_catalog.int8", (relation,)).fetchone()
    with bookkeeping(connection):
        rows = connection.execute(
            """
            WITH relations AS (
                SELECT %(named)s::bigint::oid AS oid
                UNION SELECT relid::oid FROM pg_partition_tree(%(named)s::bigint::oid)
            ), tables AS (
                SELECT coalesce(index.indrelid, relations.oid) AS oid
                FROM relations LEFT JOIN pg_index AS index ON index.indexrelid = relations.oid
            )
            SELECT oid::bigint FROM tables WHERE oid IS NOT NULL
            UNION SELECT class.reltoastrelid::bigint FROM tables JOIN pg_class AS class USING (oid)
            """,
            {"named": row[0] if row else None},
        ).fetchall()
    return [oid for (oid,) in rows]


def drop(connection: Connection[Any], index: Index) -> None:
    """Without a lock that anybody would queue behind. Outside a transaction."""
    connection.execute(sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(index.schema, index.name)))


def pending_detachments(connection: Connection[Any]) -> list[str]:
    """Partitions whose DETACH CONCURRENTLY was begun and not ended."""
    rows = connection.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhdetachpending ORDER BY 1"
    ).fetchall()
    return [name for (name,) in rows]
