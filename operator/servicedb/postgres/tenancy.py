"""What keeps the rows of tenants apart, read so that a thousand schemas of the same form are a few rows.

Sources: PostgreSQL documentation, "System Catalogs" (pg_policy, pg_depend, pg_rewrite), and CREATE VIEW on
security_invoker.
"""

from collections.abc import Iterable
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncConnection

from servicedb.naming import HISTORY_SCHEMA
from servicedb.plan.database import EXTENSION_SCHEMA
from servicedb.plan.tenancy import LISTED_TABLES, Kind, Policy, TenantTables
from servicedb.plan.wanted import Tenancy
from servicedb.postgres.inside import SCHEMAS

_KINDS = {
    "r": Kind.TABLE,
    "p": Kind.TABLE,
    "f": Kind.FOREIGN_TABLE,
    "v": Kind.VIEW,
    "m": Kind.MATERIALIZED_VIEW,
}

_BOOLEANS = ("true", "on", "yes", "1")
"""What stands in reloptions for true is what was written there."""

# A view asks for the privileges of its owner, and so does what it reads through other views, unless each says
# security_invoker. An owner of a table is passed over by its row-level security, unless that is forced.
_QUERY: LiteralString = """
WITH RECURSIVE tables AS MATERIALIZED (
    SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind, c.relowner AS owner,
           c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced, c.reloptions AS options,
           EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = %(column)s AND a.attnum > 0
                   AND NOT a.attisdropped) AS has_column
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND n.oid IN ({schemas}) AND n.nspname <> %(history)s
      AND (%(pattern)s::text IS NULL OR n.nspname LIKE %(pattern)s)
      AND NOT EXISTS (SELECT FROM unnest(%(exempt_schemas)s::text[], %(exempt_names)s::text[]) AS e (schema, name)
                      WHERE e.name = c.relname AND coalesce(e.schema, n.nspname) = n.nspname)
      AND NOT EXISTS (SELECT FROM pg_depend m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid
                      AND m.refclassid = 'pg_extension'::regclass AND m.deptype = 'e')
), reads (view, owner, relation) AS (
    SELECT v.oid, v.owner, d.refobjid FROM tables v JOIN pg_rewrite r ON r.ev_class = v.oid
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    WHERE v.kind = 'v' AND d.refobjid <> v.oid
      AND NOT EXISTS (SELECT FROM unnest(v.options) AS o WHERE split_part(o, '=', 1) = 'security_invoker'
                      AND lower(split_part(o, '=', 2)) = ANY (%(booleans)s))
    UNION
    SELECT v.view, v.owner, d.refobjid FROM reads v JOIN pg_rewrite r ON r.ev_class = v.relation
    JOIN pg_class c ON c.oid = v.relation AND c.relkind = 'v'
    JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
    WHERE d.refobjid <> v.relation
), described AS (
    SELECT t.schema, t.name, t.kind, t.has_column, t.enabled, t.forced,
           EXISTS (SELECT FROM reads v JOIN tables b ON b.oid = v.relation
                   WHERE v.view = t.oid AND b.enabled AND NOT b.forced
                     AND pg_has_role(v.owner, b.owner, 'USAGE')) AS passed_over,
           (SELECT jsonb_agg(jsonb_build_array(
                p.polname, p.polcmd, p.polpermissive,
                (SELECT jsonb_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r) END ORDER BY r)
                 FROM unnest(p.polroles) AS r),
                pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid),
                (SELECT string_agg(coalesce(pg_get_function_sqlbody(f.oid), f.prosrc), ' ' ORDER BY f.oid)
                 FROM pg_depend d JOIN pg_proc f ON f.oid = d.refobjid
                 WHERE d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_proc'::regclass)
            ) ORDER BY p.polname) FROM pg_policy p WHERE p.polrelid = t.oid) AS policies
    FROM tables t
)
SELECT kind, has_column, enabled, forced, passed_over, policies, count(*),
       to_json((array_agg(ARRAY[schema, name]::text[] ORDER BY schema, name))[1:%(listed)s])
FROM described GROUP BY kind, has_column, enabled, forced, passed_over, policies ORDER BY min(schema), min(name)
"""

_COMMANDS = {"*": "ALL", "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}


async def scan_tenancy(
    connection: AsyncConnection[Any], tenancy: Tenancy, *, owners: Iterable[str], schemas: Iterable[str]
) -> tuple[TenantTables, ...] | None:
    """The tables and views in which rows of tenants are looked for: in `schemas` and in what else `owners` own.

    None where a table can't be looked at now, since a migration is at it: its policies can be read only with a lock.
    """
    exempt = sorted(tenancy.exempt, key=lambda entry: (entry[0] or "", entry[1]))
    parameters = {
        "owners": list(owners),
        "schemas": list(schemas),
        "extensions": EXTENSION_SCHEMA,
        "history": HISTORY_SCHEMA,
        "pattern": tenancy.schema_pattern,
        "column": tenancy.column,
        "exempt_schemas": [schema for schema, _ in exempt],
        "exempt_names": [name for _, name in exempt],
        "booleans": list(_BOOLEANS),
        "listed": LISTED_TABLES,
    }
    try:
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '500ms'")
            found = await connection.execute(_QUERY.replace("{schemas}", SCHEMAS), parameters)
            return tuple([_tables(*row) async for row in found])
    except psycopg.errors.LockNotAvailable:
        return None


def _tables(
    kind: str,
    has_column: bool,
    enabled: bool,
    forced: bool,
    passed_over: bool,
    policies: list[list[Any]] | None,
    count: int,
    names: list[list[str]],
) -> TenantTables:
    return TenantTables(
        kind=_KINDS[kind],
        has_column=has_column,
        enabled=enabled,
        forced=forced,
        policies=tuple(_policy(*policy) for policy in policies or ()),
        names=tuple((schema, name) for schema, name in names),
        count=count,
        passed_over=passed_over,
    )


def _policy(
    name: str,
    command: str,
    permissive: bool,
    roles: list[str],
    using: str | None,
    check: str | None,
    called: str | None,
) -> Policy:
    return Policy(name, _COMMANDS[command], permissive, frozenset(roles), using, check, called or "")
