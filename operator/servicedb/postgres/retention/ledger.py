"""The ledger of a database's retention: the schema `servicedb_retention`, in which lines are only ever added.

An entry is written in the transaction that it speaks of: what it says has been done, and nothing else has been.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, LiteralString

import psycopg
from psycopg import Connection, sql

from servicedb.errors import Terminal
from servicedb.naming import RETENTION_SCHEMA
from servicedb.plan.retention.ledger import (
    Action,
    Archive,
    Counted,
    Detaching,
    Entry,
    PartitionState,
    Run,
    Summed,
    summed,
)
from servicedb.plan.retention.rule import Name

_LAYOUT = 1
_TABLES: tuple[LiteralString, ...] = (
    "CREATE SCHEMA servicedb_retention",
    "REVOKE ALL ON SCHEMA servicedb_retention FROM PUBLIC",
    "CREATE TABLE servicedb_retention.layout (version integer NOT NULL)",
    "INSERT INTO servicedb_retention.layout VALUES (1)",
    """
    CREATE TABLE servicedb_retention.runs (
        id text PRIMARY KEY,
        began_at timestamptz NOT NULL DEFAULT now(),
        began_by text NOT NULL DEFAULT session_user,
        backup_digest text,
        backup_time timestamptz
    )
    """,
    """
    CREATE TABLE servicedb_retention.entries (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run text NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        by text NOT NULL DEFAULT session_user,
        action text NOT NULL,
        schema_name text NOT NULL,
        table_name text NOT NULL,
        rows bigint NOT NULL,
        key text,
        raw_bytes bigint,
        size_bytes bigint,
        sha256 text,
        raw_sha256 text,
        columns text[],
        types text[],
        key_columns text[],
        time_column text,
        low text,
        high text,
        partition_schema text,
        partition_name text,
        partition_oid oid
    )
    """,
    """
    CREATE TABLE servicedb_retention.partitions (
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        run text NOT NULL,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        by text NOT NULL DEFAULT session_user,
        state text NOT NULL,
        schema_name text NOT NULL,
        table_name text NOT NULL,
        partition_schema text NOT NULL,
        partition_name text NOT NULL,
        partition_oid oid NOT NULL,
        low text,
        high text
    )
    """,
    "CREATE UNIQUE INDEX ON servicedb_retention.entries (key, action) WHERE key IS NOT NULL",
    "CREATE INDEX ON servicedb_retention.entries (run)",
    "CREATE INDEX ON servicedb_retention.entries (schema_name, table_name, action)",
)
_SHUT: LiteralString = """
SELECT format('REVOKE ALL ON %s FROM %s', what, role) FROM (
    SELECT format('SCHEMA %I', n.nspname) AS what, a.grantee FROM pg_namespace n, aclexplode(n.nspacl) a
    WHERE n.nspname = 'servicedb_retention' AND a.grantee <> n.nspowner
    UNION ALL
    SELECT format('TABLE %I.%I', n.nspname, c.relname), a.grantee
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a
    WHERE n.nspname = 'servicedb_retention' AND a.grantee <> c.relowner AND c.relkind IN ('r', 'S')
) AS held, LATERAL (SELECT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS role) r
"""
"""What default privileges have given others."""

_INSERT: LiteralString = """
INSERT INTO servicedb_retention.entries (
    run, action, schema_name, table_name, rows, key, raw_bytes, size_bytes, sha256, raw_sha256, columns, types,
    key_columns, time_column, low, high, partition_schema, partition_name, partition_oid)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_ARCHIVES: LiteralString = """
SELECT e.key, e.rows, e.raw_bytes, e.size_bytes, e.sha256, e.raw_sha256, e.columns, e.types, e.key_columns,
       e.time_column, e.low, e.high
FROM servicedb_retention.entries e
WHERE e.schema_name = %s AND e.table_name = %s AND e.sha256 IS NOT NULL AND NOT EXISTS (
    SELECT FROM servicedb_retention.entries d WHERE d.key = e.key AND d.action = 'ArchiveDropped')
"""


def prepare(connection: Connection[Any], login: str) -> None:
    """Make the ledger where there is none, as its owner, and let `login` add to it. Nobody else gets in.

    Raises Terminal where the ledger is of a newer servicedb.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('servicedb_retention', 0))")
        row = connection.execute("SELECT to_regclass('servicedb_retention.layout') IS NOT NULL").fetchone()
        if row is None or not row[0]:
            for statement in _TABLES:
                connection.execute(statement)
            for (revoke,) in connection.execute(_SHUT).fetchall():
                connection.execute(revoke)
        _check_layout(connection)
        owner = connection.execute("SELECT current_user::text").fetchone()
        if owner is not None and owner[0] != login:
            schema, role = sql.Identifier(RETENTION_SCHEMA), sql.Identifier(login)
            connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role))
            connection.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}").format(schema, role))
            # Not on partitions: what stands there has the owner drop tables.
            connection.execute(
                sql.SQL("GRANT INSERT ON {}, {} TO {}").format(
                    sql.Identifier(RETENTION_SCHEMA, "runs"), sql.Identifier(RETENTION_SCHEMA, "entries"), role
                )
            )


def exists(connection: Connection[Any]) -> bool:
    """Whether there is a ledger that this session may read."""
    row = connection.execute(
        "SELECT coalesce(has_schema_privilege(to_regnamespace('servicedb_retention')::oid, 'USAGE'), false)"
    ).fetchone()
    return row is not None and bool(row[0])


def begin(connection: Connection[Any], run: str, *, backup_digest: str | None, backup_time: datetime | None) -> Run:
    """The run of that id: a new one, or the one of before, with what it has done and the moment that it counts from."""
    with connection.transaction():
        try:
            connection.execute(
                "INSERT INTO servicedb_retention.runs (id, backup_digest, backup_time) VALUES (%s, %s, %s) "
                "ON CONFLICT (id) DO NOTHING",
                (run, backup_digest, backup_time),
            )
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.InsufficientPrivilege):
            raise Terminal(
                "NoLedger",
                f"there is no ledger in schema {RETENTION_SCHEMA} that this login may add to; give the owner's login "
                "with --owner-dsn or --owner-secret, by which it is made",
            ) from None
        row = connection.execute("SELECT began_at FROM servicedb_retention.runs WHERE id = %s", (run,)).fetchone()
    assert row is not None
    return Run(run, row[0], done(connection, run))


def done(connection: Connection[Any], run: str) -> dict[Name, Summed]:
    """What the run has done so far, in all its pods."""
    rows = connection.execute(
        "SELECT schema_name, table_name, action, count(*), sum(rows)::int8, coalesce(sum(size_bytes), 0)::int8, "
        "coalesce(sum(rows) FILTER (WHERE sha256 IS NOT NULL), 0)::int8 "
        "FROM servicedb_retention.entries WHERE run = %s GROUP BY 1, 2, 3",
        (run,),
    ).fetchall()
    found: dict[Name, list[Counted]] = {}
    for schema, table, action, *numbers in rows:
        found.setdefault(Name(schema, table), []).append(Counted(Action(action), *numbers))
    return {name: summed(counts) for name, counts in found.items()}


def add(connection: Connection[Any], entry: Entry) -> None:
    """Write `entry` down, within the transaction that it speaks of."""
    archive, partition = entry.archive, entry.partition
    of_archive: Sequence[Any] = (entry.key, *[None] * 8, entry.low, entry.high)
    if archive is not None:
        of_archive = (
            archive.key, archive.raw_bytes, archive.size_bytes, archive.sha256, archive.raw_sha256,
            [name for name, _ in archive.columns], [type_name for _, type_name in archive.columns],
            list(archive.key_columns), archive.time_column, archive.low, archive.high,
        )  # fmt: skip
    of_partition = (None, None) if partition is None else (partition.schema, partition.table)
    connection.execute(
        _INSERT,
        (
            entry.run, entry.action, entry.name.schema, entry.name.table, entry.rows, *of_archive, *of_partition,
            entry.oid,
        ),
    )  # fmt: skip


def archives(connection: Connection[Any], name: Name) -> list[Archive]:
    """The archives of a table that were not dropped, in the order in which they were made."""
    rows = connection.execute(_ARCHIVES + " ORDER BY e.position", (name.schema, name.table)).fetchall()
    return [_archive(*row) for row in rows]


def windows(connection: Connection[Any], name: Name) -> list[Archive]:
    """The archives whose rows are not known to have left the table, oldest first."""
    unsettled: LiteralString = """
        AND e.action = 'Archived' AND NOT EXISTS (
            SELECT FROM servicedb_retention.entries d WHERE d.key = e.key AND d.action = 'Deleted')
        ORDER BY e.position
    """
    return [_archive(*row) for row in connection.execute(_ARCHIVES + unsettled, (name.schema, name.table)).fetchall()]


def last_window(connection: Connection[Any], name: Name) -> str | None:
    """The youngest time that was archived before its rows went, as text; None where nothing was."""
    row = connection.execute(
        "SELECT high FROM servicedb_retention.entries WHERE schema_name = %s AND table_name = %s "
        "AND action = 'Archived' ORDER BY position DESC LIMIT 1",
        (name.schema, name.table),
    ).fetchone()
    return None if row is None else row[0]


def note_partition(connection: Connection[Any], run: str, name: Name, state: PartitionState, one: Detaching) -> None:
    """What becomes of a partition of table `name`. Only the owner may write that down."""
    connection.execute(
        "INSERT INTO servicedb_retention.partitions (run, state, schema_name, table_name, partition_schema, "
        "partition_name, partition_oid, low, high) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (run, state, name.schema, name.table, one.partition.schema, one.partition.table, one.oid, one.low, one.high),
    )


def detaching(connection: Connection[Any], name: Name) -> list[Detaching]:
    """The partitions of a table that were to be detached, and were neither dropped nor kept since."""
    rows = connection.execute(
        """
        SELECT partition_schema, partition_name, oid, low, high FROM (
            SELECT DISTINCT ON (partition_oid) state, partition_schema, partition_name, partition_oid::int8 AS oid, low,
                   high
            FROM servicedb_retention.partitions
            WHERE schema_name = %s AND table_name = %s ORDER BY partition_oid, position DESC) AS latest
        WHERE state = 'Detaching' ORDER BY oid
        """,
        (name.schema, name.table),
    ).fetchall()
    return [Detaching(Name(schema, table), oid, low, high) for schema, table, oid, low, high in rows]


def _archive(
    key: str,
    rows: int,
    raw_bytes: int,
    size_bytes: int,
    sha256: str,
    raw_sha256: str,
    columns: Sequence[str],
    types: Sequence[str],
    key_columns: Sequence[str],
    time_column: str,
    low: str | None,
    high: str | None,
) -> Archive:
    return Archive(
        key=key,
        rows=rows,
        raw_bytes=raw_bytes,
        size_bytes=size_bytes,
        sha256=sha256,
        raw_sha256=raw_sha256,
        columns=tuple(zip(columns, types, strict=True)),
        key_columns=tuple(key_columns),
        time_column=time_column,
        low=low,
        high=high,
    )


def _check_layout(connection: Connection[Any]) -> None:
    row = connection.execute("SELECT max(version) FROM servicedb_retention.layout").fetchone()
    if row is None or row[0] is None or row[0] > _LAYOUT:
        raise Terminal(
            "NewerLedger", f"the ledger in schema {RETENTION_SCHEMA} is of a newer servicedb; use that, or a newer one"
        )
