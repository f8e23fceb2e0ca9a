"""The tables of a database, and the lock on all of them under which a snapshot is taken."""

from typing import Any, LiteralString

from psycopg import Connection, sql
from psycopg.pq import TransactionStatus
from psycopg.rows import kwargs_row

from servicedb.plan.backups.relations import Relation

# A hash partition's rows may stand in another one after a restore: `hash_root` is the topmost table divided by hash.
# The rows of an extension's own tables are its own, but for those that pg_dump knows of. Privileges on what was
# dropped since are NULL: the lock will tell.
_RELATIONS: LiteralString = """
WITH RECURSIVE members AS MATERIALIZED (
    SELECT objid FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_extension'::regclass AND deptype = 'e'),
ancestors (oid, root, parent, hash_root) AS (
    SELECT c.oid, c.oid, i.inhparent, CASE p.partstrat WHEN 'h' THEN c.oid END
    FROM pg_class c
    LEFT JOIN pg_partitioned_table p ON p.partrelid = c.oid
    LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND c.relispartition
    WHERE c.relkind IN ('r', 'p')
    UNION ALL
    SELECT a.oid, c.oid, i.inhparent, CASE p.partstrat WHEN 'h' THEN c.oid ELSE a.hash_root END
    FROM ancestors a
    JOIN pg_class c ON c.oid = a.parent
    LEFT JOIN pg_partitioned_table p ON p.partrelid = c.oid
    LEFT JOIN pg_inherits i ON i.inhrelid = c.oid AND c.relispartition)
SELECT c.oid::int8, n.nspname AS schema, c.relname AS name, c.relkind::text AS kind, c.relfilenode::int8 AS file,
       CASE c.relkind WHEN 'p' THEN 0 ELSE coalesce(pg_table_size(c.oid), 0) END AS bytes,
       a.hash_root::int8 AS hash_root,
       ARRAY(SELECT attname::text FROM pg_attribute
             WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated <> 'v'
             ORDER BY attname COLLATE "C") AS columns,
       NOT EXISTS (SELECT FROM pg_attribute a
                   JOIN pg_type t ON t.oid = a.atttypid
                   JOIN pg_type e ON e.oid = CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE t.oid END
                   LEFT JOIN pg_collation l ON l.oid = a.attcollation
                   WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                     AND (e.oid <> ALL (%s::regtype[]) OR NOT coalesce(l.collisdeterministic, true))) AS hashable,
       c.relrowsecurity AND row_security_active(c.oid) AS hidden,
       c.relforcerowsecurity AS forced,
       c.relkind = 'm' OR coalesce(
           has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'), true) AS readable
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN ancestors a ON a.oid = c.oid AND a.parent IS NULL
WHERE c.relkind IN ('r', 'p', 'm') AND c.relpersistence <> 't'
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND c.oid NOT IN (SELECT objid FROM members)
ORDER BY c.oid
"""

HASHABLE = (
    "bool bytea bpchar cidr date float4 float8 inet int2 int4 int8 interval jsonb macaddr "
    "name numeric text time timestamp timestamptz timetz uuid varchar"
).split()
"""Types whose values have the same hash everywhere. An enum's, or a regclass's, is that of an oid; a collation that is
not deterministic goes by its library's version."""

# pg_class as the snapshot has it against the file as it is now. A materialized view's rows are made anew by a restore.
_REWRITTEN: LiteralString = """
SELECT n.nspname || '.' || c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid)
ORDER BY 1
"""

_LOCKED_AT_ONCE = 200


def relations(connection: Connection[Any]) -> tuple[Relation, ...]:
    """All tables but temporary ones and those of extensions."""
    with connection.cursor(row_factory=kwargs_row(_relation)) as cursor:
        return tuple(cursor.execute(_RELATIONS, (HASHABLE,)).fetchall())


def _relation(*, columns: list[str], **values: Any) -> Relation:
    return Relation(columns=tuple(columns), **values)


def begin_locked(connection: Connection[Any], tables: tuple[Relation, ...]) -> str:
    """Begin the transaction in which `tables` stay as they are, and give the name of its snapshot.

    The locks come first: a TRUNCATE between a snapshot and a later lock would leave a table without rows that nobody
    ever deleted. Source: PostgreSQL documentation, "Explicit Locking", and "Snapshot Synchronization Functions".
    """
    assert connection.info.transaction_status == TransactionStatus.IDLE
    connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    locked = [sql.Identifier(one.schema, one.name) for one in tables if one.kind in "rp"]
    for start in range(0, len(locked), _LOCKED_AT_ONCE):
        names = sql.SQL(", ").join(sql.SQL("ONLY {}").format(name) for name in locked[start : start + _LOCKED_AT_ONCE])
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS SHARE MODE").format(names))
    row = connection.execute("SELECT pg_catalog.pg_export_snapshot()").fetchone()
    assert row is not None
    return str(row[0])


def rewritten(connection: Connection[Any]) -> list[str]:
    """The tables whose files are others than at the snapshot: what is read of them now is not what stood there."""
    return [row[0] for row in connection.execute(_REWRITTEN).fetchall()]
