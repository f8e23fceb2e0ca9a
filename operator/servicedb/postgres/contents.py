"""Whether a database holds anything that somebody may want to keep.

Source: PostgreSQL documentation, pg_class (relkind), pg_depend (deptype e: a part of an extension).
"""

from servicedb.postgres.session import Session

_A_TABLE = b"""
SELECT n.nspname || '.' || c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f', 'm') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
ORDER BY 1 LIMIT 1
"""


async def a_table(inside: Session) -> str | None:
    """Schema and name of some table (partitioned, foreign, materialized view) on a connection inside the database; None
    where it holds none. Those of extensions don't count."""
    row = await (await inside.execute(_A_TABLE)).fetchone()
    return str(row[0]) if row is not None else None


async def size_of_databases(connection: Session, prefix: str, *, but: str) -> int:
    """What the databases take, in bytes, whose names begin with `prefix`, one of them left out."""
    row = await (
        await connection.execute(
            b"SELECT coalesce(sum(pg_database_size(oid)), 0)::bigint FROM pg_database"
            b" WHERE starts_with(datname, %s) AND datname <> %s AND pg_has_role(datdba, 'USAGE')",
            (prefix, but),
        )
    ).fetchone()
    return int(row[0]) if row is not None else 0
