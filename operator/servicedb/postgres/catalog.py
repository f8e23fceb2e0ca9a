"""What is true on a server, read from its catalogues: one query for the shared ones, one inside a database.

Sources: PostgreSQL documentation, "System Catalogs" and "System Information Functions" (aclexplode, acldefault).
"""

from collections.abc import Iterable, Mapping
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.rows import dict_row

from servicedb.plan.inside import AT_BIRTH
from servicedb.plan.observed import (
    PUBLIC,
    AvailableExtension,
    Database,
    Extension,
    InsideScan,
    Membership,
    Privilege,
    Role,
    Schema,
    ServerScan,
)

_SHARED: LiteralString = """
SELECT current_user AS admin,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS admin_superuser,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       (SELECT json_agg(json_build_object(
            'name', rolname, 'login', rolcanlogin, 'inherit', rolinherit, 'superuser', rolsuper,
            'createdb', rolcreatedb, 'createrole', rolcreaterole, 'replication', rolreplication,
            'bypassrls', rolbypassrls, 'connection_limit', rolconnlimit,
            'valid_until', nullif(rolvaliduntil, 'infinity')::text,
            'comment', shobj_description(oid, 'pg_authid'))) FROM {roles} r) AS roles,
       (SELECT json_agg(json_build_object(
            'name', b.datname, 'oid', b.oid::bigint, 'owner', pg_get_userbyid(b.datdba),
            'allow_connections', b.datallowconn, 'valid', b.datconnlimit <> -2,
            'comment', shobj_description(b.oid, 'pg_database'),
            'privileges', (SELECT json_agg(json_build_array(
                    CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END,
                    a.privilege_type, a.is_grantable))
                FROM aclexplode(coalesce(b.datacl, acldefault('d', b.datdba))) a WHERE a.grantee <> b.datdba),
            'owner_reached', pg_has_role(current_user, b.datdba, 'USAGE'),
            'enterable', b.datallowconn AND has_database_privilege(current_user, b.oid, 'CONNECT'),
            'reset', pg_stat_get_db_stat_reset_time(b.oid),
            'changed', pg_stat_get_db_tuples_inserted(b.oid) + pg_stat_get_db_tuples_updated(b.oid)
                + pg_stat_get_db_tuples_deleted(b.oid)))
        FROM {databases} b) AS databases,
       (SELECT json_agg(json_build_array(grp, member, inherit, set_role, grantable)) FROM (
            SELECT g.rolname AS grp, u.rolname AS member, bool_or({inherit}) AS inherit, bool_or({set}) AS set_role,
                   bool_or(m.admin_option) AS grantable
            FROM {members} m JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles u ON u.oid = m.member
            WHERE u.rolname <> current_user AND NOT ({of_earlier_admin})
            GROUP BY 1, 2) AS grouped) AS memberships,
       (SELECT json_agg(json_build_array(coalesce(b.datname, ''),
                CASE s.setrole WHEN 0 THEN '' ELSE pg_get_userbyid(s.setrole) END, s.setconfig))
        FROM {settings} s LEFT JOIN {databases} b ON b.oid = s.setdatabase
        WHERE b.oid IS NOT NULL OR s.setdatabase = 0 AND s.setrole <> 0) AS settings
"""

_CATALOGUES: Mapping[LiteralString, LiteralString] = {
    "{roles}": "pg_roles",
    "{databases}": "pg_database",
    "{members}": "pg_auth_members",
    "{settings}": "pg_db_role_setting",
}
"""Where the scan of a whole server reads; that of one database reads its part of each."""

# The roles by name, those between %(first)s and %(after)s (an index serves a range, not a prefix), and what is a member
# of them. Each part is found by an index: with a thousand databases the catalogues are long. Of pg_roles all columns
# are named but rolconfig, for which it would join the settings of all roles.
_PARTS: LiteralString = """
WITH named AS MATERIALIZED (
    SELECT oid FROM pg_roles WHERE rolname = ANY (%(roles)s)
    UNION SELECT oid FROM pg_roles WHERE rolname >= %(first)s AND rolname < %(after)s
), members AS MATERIALIZED (
    SELECT * FROM pg_auth_members WHERE roleid = ANY (ARRAY(SELECT oid FROM named))
    UNION ALL SELECT * FROM pg_auth_members WHERE member = ANY (ARRAY(SELECT oid FROM named))
), roles AS MATERIALIZED (
    SELECT oid, rolname, rolcanlogin, rolinherit, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls,
           rolconnlimit, rolvaliduntil
    FROM pg_roles WHERE oid = ANY (ARRAY(
        SELECT oid FROM named UNION SELECT member FROM members WHERE roleid IN (SELECT oid FROM named)
        UNION SELECT oid FROM pg_roles WHERE rolname = ANY (%(others)s)))
), databases AS MATERIALIZED (
    SELECT * FROM pg_database WHERE datname = %(database)s OR oid = ANY (%(oids)s)
), settings AS MATERIALIZED (
    SELECT * FROM pg_db_role_setting WHERE setdatabase = ANY (ARRAY(SELECT oid FROM databases))
    UNION ALL
    SELECT * FROM pg_db_role_setting WHERE setdatabase = 0 AND setrole = ANY (ARRAY(SELECT oid FROM roles))
)
"""

_OF_EARLIER_ADMIN: LiteralString = """
m.admin_option AND NOT m.inherit_option AND NOT m.set_option AND pg_has_role(u.oid, 'USAGE')
AND NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
"""


def of_earlier_admin(version: int) -> LiteralString:
    """SQL that says whether `m` of pg_auth_members, whose member is `u` of pg_roles, is what PostgreSQL 16 gave the
    admin that made a role, and does not take back: nothing but ADMIN. The admin of now, which is a member of the one
    of before, makes use of it. `version` is the server's."""
    return _OF_EARLIER_ADMIN if version >= 16_00_00 else "false"


_INSIDE: LiteralString = """
SELECT o.oid IS NOT NULL AS owner_is_there,
       (SELECT json_agg(json_build_object('name', n.nspname, 'owner', pg_get_userbyid(n.nspowner),
            'privileges', (SELECT json_agg(json_build_array(
                    CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END,
                    a.privilege_type, a.is_grantable))
                FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a WHERE a.grantee <> n.nspowner),
            'reached', pg_has_role(current_user, n.nspowner, 'USAGE'),
            'of_role_maker', (SELECT r.rolcreaterole FROM pg_roles r WHERE r.oid = n.nspowner),
            'of_extension', EXISTS (SELECT FROM pg_depend m WHERE m.classid = 'pg_namespace'::regclass
                AND m.objid = n.oid AND m.refclassid = 'pg_extension'::regclass AND m.deptype = 'e')))
        FROM pg_namespace n WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema') AS schemas,
       (SELECT json_object_agg(kind.name, (SELECT json_agg(json_build_array(
                    CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END,
                    a.privilege_type, a.is_grantable))
                FROM aclexplode(coalesce(d.defaclacl, acldefault(kind.type, o.oid))) a WHERE a.grantee <> o.oid))
        FROM (VALUES ('TABLES', 'r'::"char", 'r'::"char"), ('SEQUENCES', 's', 'S'), ('ROUTINES', 'f', 'f'),
                     ('TYPES', 'T', 'T'), ('SCHEMAS', 'n', 'n')) AS kind (name, type, stored)
        LEFT JOIN pg_default_acl d ON d.defaclrole = o.oid AND d.defaclnamespace = 0 AND d.defaclobjtype = kind.stored
       ) AS default_privileges,
       (SELECT json_agg(json_build_array(e.extname, e.extversion, n.nspname))
        FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace) AS extensions
FROM (SELECT) AS one LEFT JOIN pg_roles o ON o.rolname = %(owner)s
"""

# Reads the control files of all extensions, so it is asked only where some are wanted.
_AVAILABLE: LiteralString = """
SELECT a.name, a.default_version, v.versions
FROM pg_available_extensions a
JOIN (SELECT name, json_object_agg(version, trusted) AS versions
      FROM pg_available_extension_versions WHERE name = ANY (%(names)s) GROUP BY name) v USING (name)
"""


async def scan_server(connection: AsyncConnection[Any]) -> ServerScan:
    """The shared catalogues as a whole."""
    query = _SHARED
    for part, catalogue in _CATALOGUES.items():
        query = query.replace(part, catalogue)
    return await _scan(connection, query, {})


async def scan_database(
    connection: AsyncConnection[Any],
    database: str,
    *,
    roles: Iterable[str],
    oids: Iterable[int] = (),
    others: Iterable[str] = (),
) -> ServerScan:
    """The shared catalogues as far as they concern one database: it by name, or by the OID that it once had, the
    roles named, and whatever else is a member of its roles. Of the roles of `others` only they themselves."""
    query = _PARTS + _SHARED
    for part in _CATALOGUES:
        query = query.replace(part, part.strip("{}"))
    parameters = {
        "database": database,
        "roles": list(roles),
        "oids": list(oids),
        "others": list(others),
        "first": f"{database}__",
        "after": f"{database}_`",  # "`" follows "_"
    }
    return await _scan(connection, query, parameters)


async def _scan(connection: AsyncConnection[Any], query: LiteralString, parameters: Mapping[str, object]) -> ServerScan:
    options = connection.info.server_version >= 16_00_00
    query = query.replace("{inherit}", "m.inherit_option" if options else "u.rolinherit").replace(
        "{set}", "m.set_option" if options else "true"
    )
    query = query.replace("{of_earlier_admin}", of_earlier_admin(connection.info.server_version))
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query, parameters)
        row = await cursor.fetchone()
    assert row is not None  # a query of constants and sub-selects gives one row
    return ServerScan(
        version=connection.info.server_version,
        admin=row["admin"],
        admin_superuser=row["admin_superuser"],
        system_identifier=row["system_identifier"],
        roles={role["name"]: Role(**role) for role in row["roles"] or ()},
        databases={base["name"]: _database(base) for base in row["databases"] or ()},
        memberships=frozenset(Membership(*membership) for membership in row["memberships"] or ()),
        settings={
            (base, role): dict(setting.split("=", 1) for setting in config)
            for base, role, config in row["settings"] or ()
        },
    )


async def scan_inside(connection: AsyncConnection[Any], *, owner: str, extensions: Iterable[str]) -> InsideScan:
    """The inside of the database that `connection` is connected to, as far as it concerns the role `owner`."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_INSIDE, {"owner": owner})
        row = await cursor.fetchone()
    assert row is not None  # one row, joined from the left
    return InsideScan(
        schemas={
            schema["name"]: Schema(**{**schema, "privileges": _privileges(schema["privileges"])})
            for schema in row["schemas"] or ()
        },
        default_privileges=(
            {kind: _privileges(acl) for kind, acl in row["default_privileges"].items()}
            if row["owner_is_there"]
            else AT_BIRTH.default_privileges
        ),
        extensions={name: Extension(name, version, schema) for name, version, schema in row["extensions"] or ()},
        available=await available_extensions(connection, extensions),
    )


async def available_extensions(connection: AsyncConnection[Any], names: Iterable[str]) -> dict[str, AvailableExtension]:
    """What the server could install of `names`, whichever database `connection` is in."""
    wanted = list(names)
    if not wanted:
        return {}
    cursor = await connection.execute(_AVAILABLE, {"names": wanted})
    return {name: AvailableExtension(default, versions) async for name, default, versions in cursor}


def _database(base: Mapping[str, Any]) -> Database:
    return Database(
        name=base["name"],
        oid=base["oid"],
        owner=base["owner"],
        allow_connections=base["allow_connections"],
        privileges=_privileges(base["privileges"]),
        comment=base["comment"],
        changes=(base["reset"] or "", base["changed"] or 0),
        valid=base["valid"],
        owner_reached=base["owner_reached"],
        enterable=base["enterable"],
    )


def _privileges(rows: Iterable[tuple[str | None, str, bool]] | None) -> frozenset[Privilege]:
    return frozenset(Privilege(grantee or PUBLIC, privilege, grantable) for grantee, privilege, grantable in rows or ())
