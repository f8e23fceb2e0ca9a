"""Partitions made, detached and dropped, as their owner.

Source: PostgreSQL documentation, "Table Partitioning", "Partition Maintenance"; ALTER TABLE.
"""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import Connection, Copy, sql

from servicedb.errors import Retryable, Terminal
from servicedb.plan.retention.ledger import Detaching
from servicedb.plan.retention.partitions import NewPartition, Partition
from servicedb.plan.retention.rule import Name
from servicedb.plan.retention.table import Table
from servicedb.postgres.retention.batch import identifier

_LOCK_TIMEOUT = "3s"


def make(connection: Connection[Any], table: Table, column: str, new: NewPartition) -> None:
    """A partition of `table`, within a transaction. It is made beside the table and attached: writers go on.

    `column` is what the table is divided by.
    """
    type_name = next(one.type_name for one in table.columns if one.name == column)
    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT)))
    for statement in making(table.name, type_name, new):
        connection.execute(statement)


def making(parent: Name, type_name: str, new: NewPartition) -> list[sql.Composed]:
    """The statements that make it. `type_name` is that of the column that `parent` is divided by."""
    low, high = new.span.low, new.span.high
    assert low is not None
    assert high is not None
    return [
        sql.SQL(
            "CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE "
            "INCLUDING COMPRESSION)"
        ).format(identifier(new.name), identifier(parent)),
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            identifier(parent), identifier(new.name), bound(low, type_name), bound(high, type_name)
        ),
    ]


def bound(at: datetime, type_name: str) -> sql.Literal:
    """As a column of that type is compared with."""
    return sql.Literal(_bound(at, type_name))


def _bound(at: datetime, type_name: str) -> str:
    """A time without a zone is one of UTC; a date of a day that begins in UTC."""
    text = at.astimezone(UTC).isoformat(sep=" ")
    if type_name == "date":
        return text[:10]
    return text if "with time zone" in type_name else text.partition("+")[0]


def detach(connection: Connection[Any], table: Table, partition: Partition) -> None:
    """Take `partition` out of `table`. Beside a default partition that takes a short lock that holds up everybody;
    otherwise nobody is held up.

    Raises Retryable where somebody's transaction stands in the way: what was begun is ended by the next run.
    """
    concurrently = not any(one.is_default for one in table.partitions)
    how = sql.SQL("FINALIZE" if partition.is_pending else "CONCURRENTLY" if concurrently else "")
    connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT)))
    try:
        connection.execute(
            sql.SQL("ALTER TABLE {} DETACH PARTITION {} {}").format(
                identifier(table.name), identifier(partition.name), how
            )
        )
    except psycopg.errors.LockNotAvailable:
        raise Retryable(
            "PartitionBusy",
            f"partition {partition.name} can't be detached while an older transaction reads or writes {table.name}; "
            "the next run goes on with it, or end that transaction",
        ) from None
    finally:
        connection.execute("SET lock_timeout = '10s'")


def lock(connection: Connection[Any], name: Name) -> None:
    """From here to the end of the transaction nobody else reaches the table: a detached one still takes rows."""
    connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(identifier(name)))


@contextlib.contextmanager
def all_rows(connection: Connection[Any], name: Name, columns: tuple[str, ...]) -> Iterator[Copy]:
    statement = sql.SQL("COPY (SELECT {} FROM ONLY {}) TO STDOUT").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)), identifier(name)
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        yield copy


def count(connection: Connection[Any], name: Name) -> int:
    row = connection.execute(sql.SQL("SELECT count(*) FROM ONLY {}").format(identifier(name))).fetchone()
    return int(row[0]) if row is not None else 0


def drop(connection: Connection[Any], name: Name) -> None:
    connection.execute(sql.SQL("DROP TABLE {}").format(identifier(name)))


def check_unused(connection: Connection[Any], one: Detaching) -> None:
    """Raises Terminal where views or foreign keys stand on the very partition: it could not be dropped."""
    rows = connection.execute(
        """
        SELECT DISTINCT r.ev_class::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %(oid)s::oid
          AND r.ev_class <> d.refobjid
        UNION
        SELECT conrelid::regclass::text FROM pg_constraint
        WHERE contype = 'f' AND confrelid = %(oid)s::oid AND conparentid = 0 AND conrelid <> confrelid
        """,
        {"oid": one.oid},
    ).fetchall()
    if rows:
        users = ", ".join(sorted(name for (name,) in rows))
        raise Terminal(
            "PartitionUsed",
            f"partition {one.partition} can't be dropped: {users} stands on it; let it use the table whole",
        )


def is_detached(connection: Connection[Any], one: Detaching) -> bool:
    """Whether the very table still stands, under its name and as no partition."""
    row = connection.execute(
        "SELECT NOT c.relispartition FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.oid = %s::oid AND n.nspname = %s AND c.relname = %s AND c.relkind = 'r'",
        (one.oid, one.partition.schema, one.partition.table),
    ).fetchone()
    return row is not None and bool(row[0])
