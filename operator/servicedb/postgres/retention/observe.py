"""A table as it is in the catalogue, for the rules of a RetentionPolicy.

Source: PostgreSQL documentation, "System Catalogs".
"""

import re
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

from psycopg import Connection

from servicedb.plan.retention.calendar import Span
from servicedb.plan.retention.partitions import Partition
from servicedb.plan.retention.rule import Name
from servicedb.plan.retention.table import Column, ForeignKey, Table

_TABLE: LiteralString = """
SELECT c.oid::int8, c.relkind, c.relrowsecurity OR c.relforcerowsecurity, c.relispartition,
       greatest(c.reltuples, 0)::int8, pg_total_relation_size(c.oid), p.partstrat,
       CASE WHEN 0 = ANY (p.partattrs::int2[]) THEN NULL ELSE (
           SELECT array_agg(a.attname::text ORDER BY k.n) FROM unnest(p.partattrs::int2[]) WITH ORDINALITY k (attnum, n)
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_partitioned_table p ON p.partrelid = c.oid
WHERE n.nspname = %s AND c.relname = %s
"""
_COLUMNS: LiteralString = """
SELECT attname::text, format_type(atttypid, atttypmod), attnotnull, attgenerated <> ''
FROM pg_attribute WHERE attrelid = %s::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_KEY: LiteralString = """
SELECT a.attname::text FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, n)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = %s::oid AND i.indisprimary AND k.n <= i.indnkeyatts ORDER BY k.n
"""
_INDEXED: LiteralString = """
SELECT EXISTS (
    SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
    WHERE i.indrelid = %s::oid AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree' AND a.attname = %s)
"""
_FOREIGN_KEYS: LiteralString = """
SELECT conname::text, conrelid::regclass::text, confdeltype FROM pg_constraint
WHERE confrelid = %s::oid AND contype = 'f' AND conparentid = 0 ORDER BY 1, 2
"""
_TRIGGERS: LiteralString = """
SELECT tgname::text FROM pg_trigger WHERE tgrelid = %s::oid AND NOT tgisinternal AND tgenabled <> 'D'
AND tgtype & 8 <> 0 ORDER BY 1
"""
_RULES: LiteralString = """
SELECT rulename::text FROM pg_rewrite WHERE ev_class = %s::oid AND ev_type IN ('1', '4') AND ev_enabled <> 'D'
ORDER BY 1
"""
_CHILDREN: LiteralString = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::oid ORDER BY 1"
_PARTITIONS: LiteralString = """
SELECT c.oid::int8, n.nspname::text, c.relname::text, pg_get_expr(c.relpartbound, c.oid), i.inhdetachpending,
       c.relkind = 'r'
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE i.inhparent = %s::oid ORDER BY c.oid
"""
_DIVIDED: Final = "p"
_BOUND: Final = re.compile(r"FOR VALUES FROM \((?P<low>MINVALUE|'[^']*')\) TO \((?P<high>MAXVALUE|'[^']*')\)")


def observe(connection: Connection[Any], name: Name, column: str) -> Table | None:
    """The table `name`; None where there is none that the login could see. `column` is the rule's.

    The session's TimeZone is UTC and its DateStyle ISO: bounds are read as the server writes them.
    """
    row = connection.execute(_TABLE, (name.schema, name.table)).fetchone()
    if row is None:
        return None
    oid, kind, row_security, is_partition, rows, size, strategy, partition_key = row

    def names(query: LiteralString) -> tuple[str, ...]:
        return tuple(one for (one,) in connection.execute(query, (oid,)).fetchall())

    indexed = connection.execute(_INDEXED, (oid, column)).fetchone()
    partitions = _partitions(connection, oid) if kind == _DIVIDED else ()
    return Table(
        oid=oid,
        name=name,
        kind=kind,
        columns=tuple(Column(*one) for one in connection.execute(_COLUMNS, (oid,)).fetchall()),
        key=names(_KEY),
        is_indexed=indexed is not None and indexed[0],
        foreign_keys=tuple(ForeignKey(*one) for one in connection.execute(_FOREIGN_KEYS, (oid,)).fetchall()),
        triggers=names(_TRIGGERS),
        rules=names(_RULES),
        children=() if kind == _DIVIDED else names(_CHILDREN),
        row_security=row_security,
        is_partition=is_partition,
        strategy=strategy,
        partition_key=None if partition_key is None else tuple(partition_key),
        partitions=partitions,
        rows=rows if kind != _DIVIDED else _rows_of_parts(connection, oid),
        bytes=size if kind != _DIVIDED else _bytes_of_parts(connection, oid),
    )


def _partitions(connection: Connection[Any], oid: int) -> tuple[Partition, ...]:
    found = []
    for part, schema, table, bound, pending, whole in connection.execute(_PARTITIONS, (oid,)).fetchall():
        span = span_of(bound)
        found.append(
            Partition(
                oid=part,
                name=Name(schema, table),
                span=span or Span(None, None),
                is_default=bound == "DEFAULT",
                is_pending=pending,
                is_whole=whole,
            )
        )
    return tuple(found)


def span_of(bound: str | None) -> Span | None:
    """What pg_get_expr() gives of relpartbound; None for the default partition and bounds of other kinds."""
    found = _BOUND.fullmatch(bound or "")
    return None if found is None else Span(_time(found["low"]), _time(found["high"]))


def _time(text: str) -> datetime | None:
    """A bound; None where it has none, or lies where no datetime reaches, which is as good as none."""
    if text in {"MINVALUE", "MAXVALUE"}:
        return None
    try:
        at = datetime.fromisoformat(text.strip("'"))
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _rows_of_parts(connection: Connection[Any], oid: int) -> int:
    row = connection.execute(
        "SELECT coalesce(sum(greatest(c.reltuples, 0)), 0)::int8 FROM pg_partition_tree(%s::oid::regclass) t "
        "JOIN pg_class c ON c.oid = t.relid WHERE t.isleaf",
        (oid,),
    ).fetchone()
    return int(row[0]) if row else 0


def _bytes_of_parts(connection: Connection[Any], oid: int) -> int:
    row = connection.execute(
        "SELECT coalesce(sum(pg_total_relation_size(t.relid)), 0)::int8 FROM pg_partition_tree(%s::oid::regclass) t "
        "WHERE t.isleaf",
        (oid,),
    ).fetchone()
    return int(row[0]) if row else 0
