"""Every object of a database, with its owner, its privileges and a digest of its definition.

Sources: PostgreSQL documentation, "System Catalogs", and "Object Information and Addressing Functions".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import kwargs_row

from servicedb.plan.backups.objects import DefaultPrivileges, Object, Objects, Policy, Privilege

_OF_USERS: LiteralString = "!~ '^pg_' AND nspname <> 'information_schema'"

_ACL: LiteralString = """(SELECT json_agg(json_build_array(
    CASE a.grantee WHEN 0 THEN '' ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable)
    ORDER BY a.grantee, a.privilege_type) FROM aclexplode({acl}) a)"""

# Objects of extensions come with these. A digest is of what the server says in words; columns in the order of their
# names, since those of a child may stand otherwise after a restore. NOT NULL is a constraint of its own since 18. What
# a partition has by its parent's foreign key gets a new name with each restore. A dump turns casts and parentheses of
# an expression about (as in status IN ('a', 'b') of a varchar), so they are no part of it.
_OBJECTS: LiteralString = """
WITH schemas AS MATERIALIZED (SELECT oid FROM pg_namespace WHERE nspname {users}),
members AS MATERIALIZED (
    SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'),
tables AS MATERIALIZED (
    SELECT c.* FROM pg_class c
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
      AND c.relnamespace IN (SELECT oid FROM schemas)
      AND c.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_class'::regclass)),
columns AS MATERIALIZED (
    SELECT a.attrelid, string_agg(concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid), a.attcollation::regcollation),
               ', ' ORDER BY a.attname COLLATE "C") AS text
    FROM pg_attribute a
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid >= 16384
    GROUP BY a.attrelid),
objects AS (
    SELECT 'pg_namespace'::regclass AS class, n.oid, 0 AS part, n.oid AS schema, n.nspowner AS owner, n.nspacl AS acl,
           'n' AS acl_kind, 'SCHEMA' AS word, NULL::text AS text
    FROM pg_namespace n WHERE n.nspname {users}
      AND n.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_namespace'::regclass)
    UNION ALL
    SELECT 'pg_class'::regclass, c.oid, 0, c.relnamespace, c.relowner, c.relacl,
           CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
           CASE WHEN c.relkind IN ('v', 'm') THEN concat_ws(' ', c.reloptions, pg_get_viewdef(c.oid))
           WHEN c.relkind = 'S' THEN (SELECT concat_ws(' ', s.seqstart, s.seqincrement, s.seqmax,
                                             s.seqmin, s.seqcache, s.seqcycle)
                                      FROM pg_sequence s WHERE s.seqrelid = c.oid)
           ELSE concat_ws(' ', c.relpersistence, c.reloptions, c.relrowsecurity, c.relforcerowsecurity, c.relreplident,
                          pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid),
                          (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
                           FROM pg_inherits i WHERE i.inhrelid = c.oid), columns.text) END
    FROM tables c LEFT JOIN columns ON columns.attrelid = c.oid
    UNION ALL
    SELECT 'pg_class'::regclass, a.attrelid, a.attnum, c.relnamespace, c.relowner, a.attacl,
           'c', 'TABLE', NULL
    FROM pg_attribute a JOIN tables c ON c.oid = a.attrelid
    WHERE a.attnum > 0 AND NOT a.attisdropped
      AND (a.attacl IS NOT NULL OR cardinality(%(columns)s::text[]) > 0 AND
           (pg_identify_object('pg_class'::regclass, a.attrelid, a.attnum)).identity = ANY (%(columns)s))
    UNION ALL
    SELECT 'pg_class'::regclass, i.indexrelid, 0, c.relnamespace, NULL, NULL, NULL, NULL,
           pg_get_indexdef(i.indexrelid)
    FROM pg_index i JOIN tables c ON c.oid = i.indrelid
    WHERE i.indisvalid
    UNION ALL
    SELECT 'pg_constraint'::regclass, k.oid, 0, k.connamespace, NULL, NULL, NULL, NULL,
           concat_ws(' ', pg_get_constraintdef(k.oid), k.convalidated)
    FROM pg_constraint k
    WHERE k.contype <> 'n' AND k.conparentid = 0 AND (k.conrelid IN (SELECT oid FROM tables) OR k.contypid >= 16384
      AND k.connamespace IN (SELECT oid FROM schemas)
      AND k.contypid NOT IN (SELECT objid FROM members WHERE classid = 'pg_type'::regclass))
    UNION ALL
    SELECT 'pg_trigger'::regclass, t.oid, 0, c.relnamespace, NULL, NULL, NULL, NULL,
           concat_ws(' ', t.tgenabled, pg_get_triggerdef(t.oid))
    FROM pg_trigger t JOIN tables c ON c.oid = t.tgrelid WHERE NOT t.tgisinternal
    UNION ALL
    SELECT 'pg_rewrite'::regclass, r.oid, 0, c.relnamespace, NULL, NULL, NULL, NULL,
           concat_ws(' ', r.ev_enabled, pg_get_ruledef(r.oid))
    FROM pg_rewrite r JOIN tables c ON c.oid = r.ev_class WHERE r.rulename <> '_RETURN'
    UNION ALL
    SELECT 'pg_policy'::regclass, p.oid, 0, c.relnamespace, NULL, NULL, NULL, NULL,
           concat_ws(' ', p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid),
                     pg_get_expr(p.polwithcheck, p.polrelid))
    FROM pg_policy p JOIN tables c ON c.oid = p.polrelid
    UNION ALL
    SELECT 'pg_proc'::regclass, p.oid, 0, p.pronamespace, p.proowner, p.proacl, 'f', 'ROUTINE',
           CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END
    FROM pg_proc p
    WHERE p.pronamespace IN (SELECT oid FROM schemas)
      AND p.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_proc'::regclass)
      AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass AND i.objid = p.oid
                      AND i.deptype = 'i')
    UNION ALL
    SELECT 'pg_type'::regclass, t.oid, 0, t.typnamespace, t.typowner, t.typacl, 'T', 'TYPE',
           CASE t.typtype
           WHEN 'd' THEN concat_ws(' ', format_type(t.typbasetype, t.typtypmod), t.typnotnull, t.typdefault)
           WHEN 'e' THEN (SELECT string_agg(e.enumlabel, ', ' ORDER BY e.enumsortorder) FROM pg_enum e
                          WHERE e.enumtypid = t.oid)
           WHEN 'r' THEN (SELECT format_type(r.rngsubtype, NULL) FROM pg_range r WHERE r.rngtypid = t.oid)
           ELSE columns.text END
    FROM pg_type t
    LEFT JOIN pg_class c ON c.oid = t.typrelid
    LEFT JOIN columns ON columns.attrelid = c.oid
    WHERE (t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c') AND t.typnamespace IN (SELECT oid FROM schemas)
      AND t.oid NOT IN (SELECT objid FROM members WHERE classid = 'pg_type'::regclass)
    UNION ALL
    SELECT 'pg_statistic_ext'::regclass, s.oid, 0, s.stxnamespace, s.stxowner, NULL, NULL, NULL,
           pg_get_statisticsobjdef(s.oid)
    FROM pg_statistic_ext s WHERE s.stxnamespace IN (SELECT oid FROM schemas)
    UNION ALL
    SELECT o.class, o.oid, 0, NULL, o.owner, NULL, NULL, NULL, NULL
    FROM (SELECT 'pg_collation'::regclass AS class, oid, collowner AS owner FROM pg_collation
          UNION ALL SELECT 'pg_conversion'::regclass, oid, conowner FROM pg_conversion
          UNION ALL SELECT 'pg_operator'::regclass, oid, oprowner FROM pg_operator
          UNION ALL SELECT 'pg_opclass'::regclass, oid, opcowner FROM pg_opclass
          UNION ALL SELECT 'pg_opfamily'::regclass, oid, opfowner FROM pg_opfamily
          UNION ALL SELECT 'pg_ts_config'::regclass, oid, cfgowner FROM pg_ts_config
          UNION ALL SELECT 'pg_ts_dict'::regclass, oid, dictowner FROM pg_ts_dict
          UNION ALL SELECT 'pg_cast'::regclass, oid, NULL FROM pg_cast
          UNION ALL SELECT 'pg_publication'::regclass, oid, pubowner FROM pg_publication
          WHERE NOT puballtables -- it is not brought back
          ) o
    WHERE o.oid >= 16384 AND NOT EXISTS (SELECT FROM members m WHERE m.classid = o.class AND m.objid = o.oid)
    UNION ALL
    SELECT 'pg_largeobject'::regclass, l.oid, 0, NULL, l.lomowner, l.lomacl, 'L', 'LARGE OBJECT', NULL
    FROM pg_largeobject_metadata l WHERE l.lomacl IS NOT NULL OR l.oid = ANY (%(large_objects)s::oid[]))
SELECT o.class::oid::int8 AS catalog, o.oid::int8, i.type AS kind, i.identity,
       (SELECT nspname::text FROM pg_namespace WHERE oid = o.schema) AS schema,
       CASE WHEN o.owner IS NOT NULL THEN pg_get_userbyid(o.owner) END AS owner,
       CASE WHEN o.acl IS NOT NULL THEN {acl} END AS acl,
       left(encode(sha256(convert_to(CASE WHEN o.class = 'pg_proc'::regclass THEN o.text ELSE {bare} END, 'UTF8')),
                   'hex'), 16) AS definition,
       {current} AS current,
       CASE WHEN o.class = 'pg_class'::regclass THEN (SELECT indrelid::int8 FROM pg_index WHERE indexrelid = o.oid)
            WHEN o.class = 'pg_constraint'::regclass
            THEN (SELECT nullif(conrelid, 0)::int8 FROM pg_constraint WHERE oid = o.oid) END AS table,
       CASE WHEN o.word IS NULL THEN NULL
            WHEN o.part > 0 THEN o.word || ' ' || (pg_identify_object(o.class, o.oid, 0)).identity
            ELSE o.word || ' ' || i.identity END AS address,
       (SELECT attname::text FROM pg_attribute WHERE o.part > 0 AND attrelid = o.oid AND attnum = o.part) AS column,
       coalesce(pg_has_role(o.owner, 'USAGE'), false) AS ours
FROM objects o, pg_identify_object(o.class, o.oid, o.part) i
WHERE i.identity IS NOT NULL -- dropped meanwhile
ORDER BY 1, 2, o.part
"""

_BARE: LiteralString = r"regexp_replace(o.text, '::[a-z_ .\"]+(\([0-9,]+\))?(\[\])*|[()\s]', '', 'g')"

_CURRENT: LiteralString = 'coalesce(o.acl, acldefault(o.acl_kind::"char", o.owner))'

_POLICIES: LiteralString = """
SELECT p.oid::int8, n.nspname AS schema_, c.relname AS table, p.polname AS name, p.polpermissive AS permissive,
       p.polcmd::text AS command, pg_get_expr(p.polqual, p.polrelid) AS using,
       pg_get_expr(p.polwithcheck, p.polrelid) AS check, obj_description(p.oid, 'pg_policy') AS comment,
       ARRAY(SELECT CASE role WHEN 0 THEN '' ELSE pg_get_userbyid(role) END FROM unnest(p.polroles) role) AS roles
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname {users}
ORDER BY 1
"""

_WRAPPERS: LiteralString = """
SELECT DISTINCT f.fdwname
FROM pg_foreign_server s JOIN pg_foreign_data_wrapper f ON f.oid = s.srvfdw
WHERE NOT EXISTS (SELECT FROM pg_depend
                  WHERE classid = 'pg_foreign_server'::regclass AND objid = s.oid AND deptype = 'e')
ORDER BY 1
"""

_DEFAULTS: LiteralString = """
SELECT pg_get_userbyid(d.defaclrole) AS role, n.nspname AS schema_, d.defaclobjtype::text AS kind, {acl} AS acl
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
ORDER BY 1, 2, 3
"""


@dataclass(frozen=True, slots=True)
class Found:
    """An object that is here: besides, its privileges with the default filled in, and how GRANT calls it.

    `address` is the server's own quoting, `column` the one that the privileges are of. `ours` says that the role that
    looks may act as the owner.
    """

    object: Object
    current: tuple[Privilege, ...]
    address: LiteralString | None
    column: str | None
    ours: bool


def found(connection: Connection[Any], kept: Iterable[Object] = ()) -> tuple[Found, ...]:
    """Every object of the database that is no part of an extension.

    Columns and large objects are among them where they have privileges of their own, or had by what is `kept`.
    """
    had = {"columns": [one.identity for one in kept if one.kind == "table column"]}
    had["large_objects"] = [one.identity for one in kept if one.kind == "large object"]
    query = _OBJECTS.replace("{users}", _OF_USERS).replace("{acl}", _ACL.replace("{acl}", "o.acl"))
    query = query.replace("{bare}", _BARE).replace("{current}", _ACL.replace("{acl}", _CURRENT))
    with connection.cursor(row_factory=kwargs_row(_found)) as cursor:
        return tuple(cursor.execute(query.encode(), had).fetchall())


def _found(
    *, current: Any, address: LiteralString | None, column: str | None, ours: bool, schema: Any, acl: Any, **values: Any
) -> Found:
    one = Object(schema_=schema, acl=None if acl is None else _privileges(acl), **values)
    return Found(one, _privileges(current), address, column, ours)


def objects(connection: Connection[Any]) -> Objects:
    """What there is, as the backup keeps it."""
    with connection.cursor(row_factory=kwargs_row(_policy)) as cursor:
        policies = cursor.execute(_POLICIES.replace("{users}", _OF_USERS).encode()).fetchall()
    count = connection.execute("SELECT count(*) FROM pg_catalog.pg_largeobject_metadata").fetchone()
    return Objects(
        objects=tuple(one.object for one in found(connection)),
        policies=tuple(policies),
        default_privileges=default_privileges(connection),
        large_objects=count[0] if count else 0,
        wrappers=tuple(row[0] for row in connection.execute(_WRAPPERS).fetchall()),
    )


def default_privileges(connection: Connection[Any]) -> tuple[DefaultPrivileges, ...]:
    """What ALTER DEFAULT PRIVILEGES has set."""
    with connection.cursor(row_factory=kwargs_row(_defaults)) as cursor:
        query = _DEFAULTS.replace("{acl}", _ACL.replace("{acl}", "d.defaclacl"))
        return tuple(cursor.execute(query.encode()).fetchall())


def built_in_privileges(connection: Connection[Any], kind: str, role: str) -> tuple[Privilege, ...]:
    """What `role` and others get on an object that it makes, where nothing is set; `kind` as in DefaultPrivileges."""
    query = "SELECT " + _ACL.replace("{acl}", 'acldefault(%s::"char", quote_ident(%s)::regrole)')
    row = connection.execute(query.encode(), ("s" if kind == "S" else kind, role)).fetchone()
    return _privileges(row[0]) if row else ()


def _policy(*, roles: list[str], **values: Any) -> Policy:
    return Policy(roles=tuple(roles), **values)


def _defaults(*, acl: Any, **values: Any) -> DefaultPrivileges:
    return DefaultPrivileges(acl=_privileges(acl), **values)


def _privileges(rows: Any) -> tuple[Privilege, ...]:
    return tuple(
        Privilege(grantee=grantee, privilege=privilege, grantable=grantable)
        for grantee, privilege, grantable in rows or ()
    )
