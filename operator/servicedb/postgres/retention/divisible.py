"""A plain table as it is in the catalogue, for who divides it by time.

Source: PostgreSQL documentation, "System Catalogs".
"""

from datetime import datetime
from typing import Any, LiteralString

from psycopg import Connection, sql

from servicedb.plan.retention.divisible import Constraint, Divisible, Index, Right, Sequence, Trigger
from servicedb.plan.retention.rule import Name
from servicedb.plan.retention.table import Table
from servicedb.postgres.retention.batch import identifier

_TABLE: LiteralString = """
SELECT c.relkind, pg_get_userbyid(c.relowner)::text, pg_get_userbyid(c.relowner) = current_user,
       obj_description(c.oid, 'pg_class'),
       array_remove(ARRAY[
           CASE WHEN c.relpersistence <> 'p' THEN 'is not kept in the log' END,
           CASE WHEN c.reloftype <> 0 THEN 'is made of a type' END,
           CASE WHEN c.relispartition THEN 'is a partition' END,
           CASE WHEN c.relrowsecurity OR c.relforcerowsecurity THEN 'has row-level security' END,
           CASE WHEN NOT c.relispartition AND EXISTS (
               SELECT FROM pg_inherits WHERE inhrelid = c.oid) THEN 'inherits from another' END,
           CASE WHEN EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid) THEN 'is inherited from' END,
           CASE WHEN c.relreplident NOT IN ('d', 'n') THEN 'has a replica identity of its own' END,
           CASE WHEN EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid
               AND deptype = 'e') THEN 'belongs to an extension' END,
           CASE WHEN EXISTS (SELECT FROM pg_seclabel WHERE classoid = 'pg_class'::regclass AND objoid = c.oid)
               THEN 'has a security label' END
       ], NULL)
FROM pg_class c WHERE c.oid = %s::oid
"""
_INDEXES: LiteralString = """
SELECT c.relname::text, coalesce(pg_get_constraintdef(k.oid), pg_get_indexdef(i.indexrelid)),
       ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY u (attnum, n)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.attnum WHERE u.n <= i.indnkeyatts),
       i.indisunique, i.indisvalid AND i.indisready, k.oid IS NOT NULL
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid AND k.contype IN ('p', 'u')
WHERE i.indrelid = %s::oid
  AND NOT EXISTS (SELECT FROM pg_constraint x WHERE x.conindid = i.indexrelid AND x.contype = 'x')
ORDER BY 1
"""
_CONSTRAINTS: LiteralString = """
SELECT conname::text, contype, pg_get_constraintdef(oid),
       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey)), convalidated,
       connoinherit AND contype IN ('c', 'n')
FROM pg_constraint WHERE conrelid = %s::oid AND contype IN ('c', 'f', 'n', 'x') ORDER BY 1
"""
_TRIGGERS: LiteralString = """
SELECT tgname::text, pg_get_triggerdef(oid),
       tgenabled = 'O' AND NOT (tgtype & 1 = 1 AND (tgoldtable IS NOT NULL OR tgnewtable IS NOT NULL))
FROM pg_trigger WHERE tgrelid = %s::oid AND NOT tgisinternal ORDER BY 1
"""
_SEQUENCES: LiteralString = """
SELECT n.nspname::text, c.relname::text, a.attname::text, a.attidentity = 'a',
       CASE WHEN d.deptype = 'i' THEN format(
           'INCREMENT BY %%s MINVALUE %%s MAXVALUE %%s START WITH %%s CACHE %%s %%sCYCLE', s.seqincrement, s.seqmin,
           s.seqmax, s.seqstart, s.seqcache, CASE WHEN s.seqcycle THEN '' ELSE 'NO ' END) END
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S' JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_sequence s ON s.seqrelid = c.oid JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %s::oid
  AND d.deptype IN ('a', 'i') ORDER BY 1, 2
"""
_RIGHTS: LiteralString = """
SELECT x.schema, x.name, x.col, CASE WHEN e.grantee <> 0 THEN pg_get_userbyid(e.grantee)::text END, e.privilege_type,
       e.is_grantable
FROM (
    SELECT NULL::text AS schema, NULL::text AS name, NULL::text AS col,
           coalesce(relacl, acldefault('r', relowner)) AS acl
    FROM pg_class WHERE oid = %(oid)s::oid
    UNION ALL SELECT NULL, NULL, attname::text, attacl FROM pg_attribute
    WHERE attrelid = %(oid)s::oid AND attnum > 0 AND NOT attisdropped AND attacl IS NOT NULL
    UNION ALL SELECT n.nspname::text, c.relname::text, NULL, coalesce(c.relacl, acldefault('s', c.relowner))
    FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S'
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = %(oid)s::oid
      AND d.deptype = 'i'
) x CROSS JOIN aclexplode(x.acl) e ORDER BY 1, 2, 3, 4, 5
"""
_GRANTED_AT_BIRTH: LiteralString = """
SELECT DISTINCT pg_get_userbyid(e.grantee)::text FROM pg_default_acl d CROSS JOIN aclexplode(d.defaclacl) e
WHERE pg_get_userbyid(d.defaclrole) = current_user AND d.defaclobjtype IN ('r', 'S') AND e.grantee <> 0 ORDER BY 1
"""
_REFERRING: LiteralString = """
SELECT format('%%s of %%s', conname, conrelid::regclass) FROM pg_constraint
WHERE confrelid = %s::oid AND contype = 'f' ORDER BY 1
"""
_USERS: LiteralString = """
SELECT DISTINCT CASE WHEN r.oid IS NULL THEN pg_describe_object(d.classid, d.objid, d.objsubid)
       ELSE pg_describe_object('pg_class'::regclass, r.ev_class, 0) END
FROM pg_class c
JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
    OR d.refclassid = 'pg_type'::regclass
       AND d.refobjid IN (c.reltype, (SELECT t.typarray FROM pg_type t WHERE t.oid = c.reltype))
LEFT JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
WHERE c.oid = %s::oid AND coalesce(r.ev_class <> c.oid, d.deptype = 'n')
  AND d.classid NOT IN ('pg_constraint'::regclass, 'pg_attrdef'::regclass, 'pg_trigger'::regclass,
                        'pg_policy'::regclass, 'pg_statistic_ext'::regclass)
  AND NOT (d.classid = 'pg_class'::regclass AND d.objid = c.oid)
ORDER BY 1
"""
_RULES: LiteralString = "SELECT rulename::text FROM pg_rewrite WHERE ev_class = %s::oid ORDER BY 1"
_POLICIES: LiteralString = "SELECT polname::text FROM pg_policy WHERE polrelid = %s::oid ORDER BY 1"
_PUBLICATIONS: LiteralString = """
SELECT DISTINCT pubname::text FROM pg_publication_tables p JOIN pg_class c ON c.relname = p.tablename
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = p.schemaname WHERE c.oid = %s::oid ORDER BY 1
"""


def divisible(connection: Connection[Any], table: Table) -> Divisible:
    """What `table`, which is there, is made of. The session's search_path is pg_catalog: definitions name schemas."""
    oid = table.oid

    def rows(query: LiteralString) -> list[Any]:
        return connection.execute(query, (oid,)).fetchall()

    def names(query: LiteralString) -> tuple[str, ...]:
        return tuple(one for (one,) in rows(query))

    ((kind, owner, acts_as_owner, comment, oddities),) = rows(_TABLE)
    return Divisible(
        oid=oid,
        name=table.name,
        kind=kind,
        owner=owner,
        acts_as_owner=acts_as_owner,
        columns=table.columns,
        comment=comment,
        indexes=tuple(
            Index(name, definition, tuple(columns), *flags) for name, definition, columns, *flags in rows(_INDEXES)
        ),
        constraints=tuple(
            Constraint(name, kind, definition, tuple(columns), *flags)
            for name, kind, definition, columns, *flags in rows(_CONSTRAINTS)
        ),
        triggers=tuple(Trigger(*one) for one in rows(_TRIGGERS)),
        sequences=tuple(Sequence(Name(schema, name), *rest) for schema, name, *rest in rows(_SEQUENCES)),
        rights=tuple(
            Right(None if name is None else Name(schema, name), *rest)
            for schema, name, *rest in connection.execute(_RIGHTS, {"oid": oid}).fetchall()
        ),
        granted_at_birth=tuple(one for (one,) in connection.execute(_GRANTED_AT_BIRTH).fetchall()),
        referring=names(_REFERRING),
        users=names(_USERS),
        rules=names(_RULES),
        policies=names(_POLICIES),
        publications=names(_PUBLICATIONS),
        oddities=tuple(oddities),
    )


def youngest(connection: Connection[Any], name: Name, column: str) -> datetime | None:
    """The time of the youngest row, and no earlier than now; None where that is beyond any calendar."""
    row = connection.execute(
        sql.SQL(
            "SELECT CASE WHEN m IS NULL OR m < '9000-01-01' THEN greatest(now(), m) END "
            "FROM (SELECT max({})::timestamptz AS m FROM ONLY {}) t"
        ).format(sql.Identifier(column), identifier(name))
    ).fetchone()
    at: datetime | None = row[0] if row is not None else None
    return at


def taken(connection: Connection[Any], names: list[Name]) -> list[Name]:
    """Which of `names` are in use."""
    return [
        name
        for name in names
        if connection.execute(
            "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE n.nspname = %s AND c.relname = %s",
            (name.schema, name.table),
        ).fetchone()
    ]
