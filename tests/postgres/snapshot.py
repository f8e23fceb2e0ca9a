"""Everything that decides who may do what in and with a database, as one value that can be compared and kept.

    seen = snapshot(connection, admin="servicedb_admin")    # connected to the database, as anybody

Names and identifiers that differ from run to run are replaced: the database is `orders`, its admin `admin`, the
superuser that initdb made `bootstrap`.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

from psycopg import Connection

Snapshot = dict[str, Any]

RECORD = "SERVICEDB_RECORD_SNAPSHOTS"
"""The environment variable with which a test run writes the snapshots anew instead of comparing with them."""

_FOLDER = Path(__file__).parent / "snapshots"

_DATABASE = """
SELECT pg_get_userbyid(datdba) AS owner, datacl::text[] AS privileges, datallowconn AS open, datistemplate AS template,
       datconnlimit AS connection_limit, pg_encoding_to_char(encoding) AS encoding,
       shobj_description(oid, 'pg_database') AS comment
FROM pg_database WHERE datname = current_database()
"""
_ROLES = """
SELECT rolname AS name, rolcanlogin AS login, rolinherit AS inherit, rolconnlimit AS connection_limit,
       nullif(rolvaliduntil, 'infinity')::text AS valid_until,
       rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls
       AS privileged, shobj_description(oid, 'pg_authid') AS comment
FROM pg_roles WHERE starts_with(rolname, current_database() || '__')
"""
_MEMBERSHIPS = """
SELECT pg_get_userbyid(roleid) AS "group", pg_get_userbyid(member) AS member, {options}
FROM pg_auth_members
WHERE starts_with(pg_get_userbyid(roleid), current_database() || '__')
   OR starts_with(pg_get_userbyid(member), current_database() || '__')
"""
_BEFORE_16 = "admin_option AS admin"
_SINCE_16 = """
    admin_option AS admin, inherit_option AS inherit, set_option AS set, pg_get_userbyid(grantor) AS grantor
"""
_SETTINGS = """
SELECT coalesce(d.datname, '') AS database, coalesce(r.rolname, '') AS role, s.setconfig AS settings
FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole
WHERE d.datname = current_database() OR starts_with(r.rolname, current_database() || '__')
"""
_SCHEMAS = """
SELECT nspname AS name, pg_get_userbyid(nspowner) AS owner, nspacl::text[] AS privileges
FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
"""
_DEFAULTS = """
SELECT pg_get_userbyid(d.defaclrole) AS role, coalesce(n.nspname, '') AS schema, d.defaclobjtype::text AS type,
       d.defaclacl::text[] AS privileges
FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
"""
_EXTENSIONS = """
SELECT e.extname AS name, n.nspname AS schema, pg_get_userbyid(e.extowner) AS owner
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
"""
_RELATIONS = """
SELECT c.oid::regclass::text AS name, c.relkind::text AS kind, pg_get_userbyid(c.relowner) AS owner,
       c.relacl::text[] AS privileges, (SELECT array_agg(attname || ': ' || attacl::text) FROM pg_attribute
                                        WHERE attrelid = c.oid AND attacl IS NOT NULL) AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
"""
_ROUTINES = """
SELECT p.oid::regprocedure::text AS name, pg_get_userbyid(p.proowner) AS owner, p.proacl::text[] AS privileges
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
"""
_TYPES = """
SELECT t.oid::regtype::text AS name, pg_get_userbyid(t.typowner) AS owner, t.typacl::text[] AS privileges
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' AND t.typtype IN ('d', 'e')
"""


def snapshot(connection: Connection[Any], *, admin: str) -> Snapshot:
    """What the catalogues say of the database that `connection` is in, and of its roles."""
    options = _SINCE_16 if connection.info.server_version >= 16_00_00 else _BEFORE_16
    parts = {
        "database": _DATABASE,
        "roles": _ROLES,
        "memberships": _MEMBERSHIPS.replace("{options}", options),
        "settings": _SETTINGS,
        "schemas": _SCHEMAS,
        "default privileges": _DEFAULTS,
        "extensions": _EXTENSIONS,
        "relations": _RELATIONS,
        "routines": _ROUTINES,
        "types": _TYPES,
    }
    found = {part: [_with_kind(row) for row in _rows(connection, query)] for part, query in parts.items()}
    bootstrap = connection.execute("SELECT rolname FROM pg_roles WHERE oid = 10").fetchone()
    assert bootstrap is not None
    database = connection.info.dbname
    text = json.dumps(found).replace(database.replace("_", "-"), "orders")  # its Secrets
    for name, general in ((database, "orders"), (admin, "admin"), (bootstrap[0], "bootstrap")):
        text = re.sub(rf"\b{re.escape(name)}(?=__|\b)", general, text)
    result: Snapshot = json.loads(text)
    return {part: sorted(map(_ordered, rows), key=json.dumps) for part, rows in result.items()}


def recorded(found: Snapshot, *, admin: str, version: int) -> Snapshot:
    """What was recorded for a server of major `version` and this kind of admin: the newest that is not newer.

    With SERVICEDB_RECORD_SNAPSHOTS set, `found` is recorded first, unless an older version's is the same.
    """
    if os.environ.get(RECORD):
        before = _newest(admin, version - 1)
        own = _FOLDER / f"{admin}-{version}.json"
        if before is not None and json.loads(before.read_text()) == found:
            own.unlink(missing_ok=True)
        else:
            own.write_text(_text(found))
    path = _newest(admin, version)
    assert path is not None, f"no snapshot for PostgreSQL {version} or older: run the test with {RECORD}=1"
    result: Snapshot = json.loads(path.read_text())
    return result


def _text(found: Snapshot) -> str:
    """JSON with a line for each row, so that a difference reads well."""
    parts = [f"{json.dumps(part)}: [\n{_lines(rows)}\n]" for part, rows in found.items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _lines(rows: list[Any]) -> str:
    return ",\n".join(f"  {json.dumps(row)}" for row in rows)


def _newest(admin: str, version: int) -> Path | None:
    versions = {int(path.stem.rpartition("-")[2]): path for path in _FOLDER.glob(f"{admin}-*.json")}
    return versions.get(max((known for known in versions if known <= version), default=0))


def _rows(connection: Connection[Any], query: str) -> list[dict[str, Any]]:
    cursor = connection.execute(query.encode())
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def _ordered(row: dict[str, Any]) -> dict[str, Any]:
    return {name: sorted(value) if isinstance(value, list) else value for name, value in row.items()}


def _with_kind(row: dict[str, Any]) -> dict[str, Any]:
    return row if row.get("comment") is None else {**row, "comment": _kind(row["comment"])}


def _kind(comment: str) -> Any:
    """What a comment holds; of a marker the keys only, since its values differ from cluster to cluster."""
    try:
        held = json.loads(comment)
    except ValueError:
        return comment
    if "cluster" in held:
        return {"marker": sorted(held)}
    return held
