"""Whether a database holds anything that somebody may want to keep.

Source: PostgreSQL documentation, pg_class (relkind), pg_depend (deptype e: a part of an extension).
"""

from servicedb.postgres.session import Session

_AN_OBJECT = b"""
SELECT n.nspname || '.' || o.name
FROM (SELECT 'pg_class'::regclass, oid, relnamespace, relname FROM pg_class WHERE relkind NOT IN ('i', 'I', 't', 'c')
      UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace, proname FROM pg_proc
      UNION ALL SELECT 'pg_type'::regclass, oid, typnamespace, typname FROM pg_type WHERE typtype IN ('d', 'e', 'r')
     ) AS o (class, oid, schema, name) JOIN pg_namespace n ON n.oid = o.schema
WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = o.class AND d.objid = o.oid
                  AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
ORDER BY o.class <> 'pg_class'::regclass, 1 LIMIT 1
"""


async def an_object(inside: Session) -> str | None:
    """Schema and name of some table, routine or the like, on a connection inside the database; None where it holds none
    but those of extensions."""
    row = await (await inside.execute(_AN_OBJECT)).fetchone()
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
