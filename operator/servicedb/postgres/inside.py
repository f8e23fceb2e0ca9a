"""The objects in a tenant's schemas, read so that ten thousand tables are a few rows: by owner and privileges.

Sources: PostgreSQL documentation, "System Catalogs", and "System Information Functions" (aclexplode).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from servicedb.plan.database import EXTENSION_SCHEMA
from servicedb.plan.observed import PUBLIC, ColumnPrivileges, ObjectGroup, ObjectName, ObjectScan, Privilege

_PRIVILEGES: LiteralString = """(SELECT json_agg(json_build_array(
        CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END, a.privilege_type, a.is_grantable))
    FROM aclexplode({acl}) a WHERE a.grantee <> {owner})"""

SCHEMAS: LiteralString = """
SELECT n.oid FROM pg_namespace n
WHERE (n.nspname = ANY (%(schemas)s) OR n.nspowner IN (SELECT oid FROM pg_roles WHERE rolname = ANY (%(owners)s)))
  AND n.nspname <> %(extensions)s AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
"""

# `linked`: the sequences of serial and identity columns, which can have no owner of their own. The members of an
# extension are its own, and so are the constructors of a range type, which PostgreSQL gives to its first superuser.
# From 17 on a multirange type follows its range type; before, it stays its owner's.
OBJECTS: LiteralString = """
WITH schemas AS MATERIALIZED ({schemas}),
members AS MATERIALIZED (
    SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'),
objects AS (
    SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, c.oid, c.relname AS name,
           c.relnamespace AS schema, c.relowner AS owner, c.relacl AS acl,
           c.relkind = 'S' AND c.oid IN (
               SELECT d.objid FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0
               AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')) AS linked,
           c.relkind IN ('v', 'm') AS view
    FROM pg_class c
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relnamespace IN (SELECT oid FROM schemas)
      AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
    UNION ALL
    SELECT 'ROUTINE', p.oid, p.proname, p.pronamespace, p.proowner, p.proacl, false, false
    FROM pg_proc p
    WHERE p.pronamespace IN (SELECT oid FROM schemas)
      AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
      AND NOT EXISTS (SELECT FROM pg_depend i WHERE i.classid = 'pg_proc'::regclass AND i.objid = p.oid
                      AND i.deptype = 'i')
    UNION ALL
    SELECT 'TYPE', t.oid, t.typname, t.typnamespace, t.typowner, NULL, false, false
    FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE (t.typtype IN ('d', 'e', 'r') OR c.relkind = 'c'
           OR t.typtype = 'm' AND current_setting('server_version_num')::int < 170000)
      AND t.typnamespace IN (SELECT oid FROM schemas)
      AND NOT EXISTS (SELECT FROM members m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
    UNION ALL
    SELECT o.kind, o.oid, o.name, o.schema, o.owner, NULL, false, false
    FROM (SELECT 'pg_collation'::regclass AS class, 'COLLATION' AS kind, oid, collname AS name,
                 collnamespace AS schema, collowner AS owner FROM pg_collation
          UNION ALL SELECT 'pg_conversion'::regclass, 'CONVERSION', oid, conname, connamespace, conowner
          FROM pg_conversion
          UNION ALL SELECT 'pg_operator'::regclass, 'OPERATOR', oid, oprname, oprnamespace, oprowner FROM pg_operator
          WHERE oprcode <> 0
          UNION ALL SELECT 'pg_opclass'::regclass, 'OPERATOR CLASS', oid, opcname, opcnamespace, opcowner
          FROM pg_opclass
          UNION ALL SELECT 'pg_opfamily'::regclass, 'OPERATOR FAMILY', oid, opfname, opfnamespace, opfowner
          FROM pg_opfamily
          UNION ALL SELECT 'pg_statistic_ext'::regclass, 'STATISTICS', oid, stxname, stxnamespace, stxowner
          FROM pg_statistic_ext
          UNION ALL SELECT 'pg_ts_dict'::regclass, 'TEXT SEARCH DICTIONARY', oid, dictname, dictnamespace, dictowner
          FROM pg_ts_dict
          UNION ALL SELECT 'pg_ts_config'::regclass, 'TEXT SEARCH CONFIGURATION', oid, cfgname, cfgnamespace, cfgowner
          FROM pg_ts_config
         ) AS o (class, kind, oid, name, schema, owner)
    WHERE o.schema IN (SELECT oid FROM schemas)
      AND NOT EXISTS (SELECT FROM members m WHERE m.classid = o.class AND m.objid = o.oid)
)
"""

_GROUPS: LiteralString = """
, grouped AS (
    SELECT o.kind, o.schema, o.owner, o.acl, o.linked, o.view, count(*) AS count, min(o.oid) AS sample,
           CASE WHEN o.kind = 'TABLE' AND (s.nspname, o.name) IN (SELECT * FROM unnest(%(singled_schemas)s::text[],
                                                                %(singled_names)s::text[])) THEN o.name END AS single
    FROM objects o JOIN pg_namespace s ON s.oid = o.schema GROUP BY 1, 2, 3, 4, 5, 6, 9
)
SELECT g.kind, n.nspname AS schema, pg_get_userbyid(g.owner) AS owner, g.linked, g.view, g.count,
       g.sample::bigint, g.single,
       pg_has_role(current_user, g.owner, 'USAGE') AS reached,
       EXISTS (SELECT FROM pg_roles r WHERE r.oid = g.owner AND r.rolsuper) AS by_superuser,
       g.acl IS NULL AS untouched, {privileges} AS privileges
FROM grouped g JOIN pg_namespace n ON n.oid = g.schema
LEFT JOIN objects o ON o.oid = g.sample AND o.kind = g.kind
ORDER BY 1, 2, 3, g.single, g.linked, g.view, g.sample
"""

_NAMES: LiteralString = """
SELECT s.sample::bigint, o.kind, n.nspname, o.name,
       CASE o.kind WHEN 'ROUTINE' THEN (
           SELECT json_agg(json_build_array(tn.nspname, t.typname) ORDER BY a.place)
           FROM pg_proc p, unnest(p.proargtypes) WITH ORDINALITY AS a (type, place)
           JOIN pg_type t ON t.oid = a.type JOIN pg_namespace tn ON tn.oid = t.typnamespace
           WHERE p.oid = o.oid)
       WHEN 'OPERATOR' THEN (
           SELECT json_agg(json_build_array(coalesce(tn.nspname, ''), coalesce(t.typname, '')) ORDER BY a.place)
           FROM pg_operator p, unnest(ARRAY[p.oprleft, p.oprright]) WITH ORDINALITY AS a (type, place)
           LEFT JOIN pg_type t ON t.oid = a.type LEFT JOIN pg_namespace tn ON tn.oid = t.typnamespace
           WHERE p.oid = o.oid) END,
       CASE o.kind WHEN 'OPERATOR CLASS' THEN (
           SELECT m.amname FROM pg_opclass c JOIN pg_am m ON m.oid = c.opcmethod WHERE c.oid = o.oid)
       WHEN 'OPERATOR FAMILY' THEN (
           SELECT m.amname FROM pg_opfamily f JOIN pg_am m ON m.oid = f.opfmethod WHERE f.oid = o.oid) END
FROM unnest(%(samples)s::oid[], %(kinds)s::text[]) AS s (sample, kind)
JOIN objects like_it ON like_it.oid = s.sample AND like_it.kind = s.kind
JOIN objects o ON o.kind = like_it.kind AND o.schema = like_it.schema AND o.owner = like_it.owner
              AND o.linked = like_it.linked AND o.view = like_it.view AND o.acl IS NOT DISTINCT FROM like_it.acl
JOIN pg_namespace n ON n.oid = o.schema
WHERE o.kind <> 'TABLE' OR (n.nspname, o.name) NOT IN (
    SELECT * FROM unnest(%(singled_schemas)s::text[], %(singled_names)s::text[]))
ORDER BY 1, 2, 3, 4
"""

_KEYS: LiteralString = """
SELECT n.nspname AS schema, c.relname AS name, a.attname AS key
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
WHERE (n.nspname, c.relname) IN (SELECT * FROM unnest(%(singled_schemas)s::text[], %(singled_names)s::text[]))
"""

_COLUMNS: LiteralString = """
SELECT n.nspname, c.relname, t.attname, {privileges}
FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.attacl IS NOT NULL AND NOT t.attisdropped AND c.relnamespace IN ({schemas})
  AND NOT EXISTS (SELECT FROM pg_depend m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid
                  AND m.refclassid = 'pg_extension'::regclass AND m.deptype = 'e')
ORDER BY 1, 2, 3
"""


async def scan_objects(
    connection: AsyncConnection[Any],
    *,
    owners: Iterable[str],
    schemas: Iterable[str],
    singled_out: Collection[tuple[str, str]] = (),
) -> ObjectScan:
    """The objects in `schemas` and in whatever else the roles `owners` own. Tables `singled_out`, by schema and name,
    are a group each; only those come with their names."""
    parameters = _parameters(owners, schemas, singled_out)
    objects = OBJECTS.replace("{schemas}", SCHEMAS)
    privileges = _PRIVILEGES.replace("{acl}", "o.acl").replace("{owner}", "g.owner")
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(objects + _GROUPS.replace("{privileges}", privileges), parameters)
        groups = tuple([_group(row) async for row in cursor])
        keys = {}
        if parameters["singled_names"]:
            await cursor.execute(_KEYS, parameters)
            keys = {(row["schema"], row["name"]): row["key"] async for row in cursor}
    columns = _COLUMNS.replace("{schemas}", SCHEMAS).replace(
        "{privileges}", _PRIVILEGES.replace("{acl}", "t.attacl").replace("{owner}", "c.relowner")
    )
    found = await connection.execute(columns, parameters)
    return ObjectScan(
        groups,
        tuple(
            [
                ColumnPrivileges(ObjectName("TABLE", schema, table), column, _privileges(acl))
                async for schema, table, column, acl in found
            ]
        ),
        keys,
    )


async def named(
    connection: AsyncConnection[Any],
    seen: ObjectScan,
    samples: Collection[int],
    *,
    owners: Iterable[str],
    schemas: Iterable[str],
    singled_out: Collection[tuple[str, str]] = (),
) -> ObjectScan:
    """`seen` with the names of the objects in those groups whose sample is among `samples`."""
    if not samples:
        return seen
    asked = [group for group in seen.groups if group.sample in samples and not group.names]
    parameters = _parameters(owners, schemas, singled_out)
    parameters |= {"samples": [group.sample for group in asked], "kinds": [group.kind for group in asked]}
    names: dict[tuple[int, str], list[ObjectName]] = {}
    found = await connection.execute(OBJECTS.replace("{schemas}", SCHEMAS) + _NAMES, parameters)
    async for sample, kind, schema, name, arguments, method in found:
        types = tuple((of, type_name) for of, type_name in arguments or ())
        names.setdefault((sample, kind), []).append(ObjectName(kind, schema, name, types, method or ""))
    groups = [
        replace(group, names=group.names or tuple(names.get((group.sample, group.kind), ()))) for group in seen.groups
    ]
    return replace(seen, groups=tuple(groups))


def _parameters(
    owners: Iterable[str], schemas: Iterable[str], singled_out: Collection[tuple[str, str]]
) -> dict[str, Any]:
    return {
        "owners": list(owners),
        "schemas": list(schemas),
        "extensions": EXTENSION_SCHEMA,
        "singled_schemas": [schema for schema, _ in singled_out],
        "singled_names": [name for _, name in singled_out],
    }


def _group(row: Mapping[str, Any]) -> ObjectGroup:
    single = row["single"]
    return ObjectGroup(
        kind=row["kind"],
        schema=row["schema"],
        owner=row["owner"],
        privileges=None if row["untouched"] else _privileges(row["privileges"]),
        count=row["count"],
        sample=row["sample"],
        reached=row["reached"],
        linked=row["linked"],
        view=row["view"],
        by_superuser=row["by_superuser"],
        names=(ObjectName(row["kind"], row["schema"], single),) if single is not None else (),
    )


def _privileges(rows: Iterable[tuple[str | None, str, bool]] | None) -> frozenset[Privilege]:
    return frozenset(Privilege(grantee or PUBLIC, privilege, grantable) for grantee, privilege, grantable in rows or ())
