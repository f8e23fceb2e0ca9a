"""Who owns a database that servicedb never made, and what stands in its schemas.

Sources: PostgreSQL documentation, "System Catalogs", and "System Information Functions" (pg_has_role).
"""

from collections.abc import Iterable
from typing import Any, LiteralString

from psycopg import AsyncConnection

from servicedb.plan.database import EXTENSION_SCHEMA
from servicedb.plan.observed import OwnerInside, Role
from servicedb.postgres.inside import OBJECTS

# Schemas that the spec names, and those of anybody but a superuser: one of a superuser's own, such as that of a
# pooler's lookup function, is no part of what is adopted.
_SCHEMAS: LiteralString = """
SELECT n.oid FROM pg_namespace n JOIN pg_roles r ON r.oid = n.nspowner
WHERE (n.nspname = ANY (%(schemas)s) OR NOT r.rolsuper AND r.rolname !~ '^pg_')
  AND n.nspname <> %(extensions)s AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = n.oid
                  AND m.refclassid = 'pg_extension'::regclass AND m.deptype = 'e')
"""

_OWNERS: LiteralString = """
, owned (owner, example, place) AS (
    SELECT datdba, 'the database', 1 FROM pg_database WHERE datname = current_database()
    UNION ALL SELECT nspowner, 'schema ' || nspname, 2 FROM pg_namespace WHERE oid IN (SELECT oid FROM schemas)
    UNION ALL SELECT o.owner, lower(o.kind) || ' ' || n.nspname || '.' || o.name, 3
    FROM objects o JOIN pg_namespace n ON n.oid = o.schema
)
SELECT DISTINCT ON (r.rolname) r.rolname, r.rolcanlogin, r.rolinherit, r.rolsuper,
       shobj_description(r.oid, 'pg_authid'), o.example, pg_has_role(current_user, r.oid, 'USAGE') OR {may_grant}
FROM owned o JOIN pg_roles r ON r.oid = o.owner
WHERE r.rolname <> current_user AND r.rolname !~ '^pg_'
ORDER BY r.rolname, o.place, o.example
"""

_UP_TO_15: LiteralString = "NOT r.rolsuper AND (SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user)"
_SINCE_16: LiteralString = "pg_has_role(current_user, r.oid, 'MEMBER WITH ADMIN OPTION')"


async def owners_inside(connection: AsyncConnection[Any], *, schemas: Iterable[str]) -> tuple[OwnerInside, ...]:
    """The owners of the database that `connection` is in, and of what stands in it: in `schemas` and in those that
    belong to no superuser. The admin itself and PostgreSQL's own roles are left out."""
    may_grant = _SINCE_16 if connection.info.server_version >= 16_00_00 else _UP_TO_15
    query = OBJECTS.replace("{schemas}", _SCHEMAS) + _OWNERS.replace("{may_grant}", may_grant)
    found = await connection.execute(query, {"schemas": list(schemas), "extensions": EXTENSION_SCHEMA})
    return tuple(
        [
            OwnerInside(Role(name, login, inherit, superuser=superuser, comment=comment), example, reached)
            async for name, login, inherit, superuser, comment, example, reached in found
        ]
    )
