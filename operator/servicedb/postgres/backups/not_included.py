"""What a backup does not bring back, each with the reason: for who has to bring it back by other ways.

Source: PostgreSQL documentation, "Extension Configuration Tables" for the rows that users have in extensions' tables.
"""

from typing import Any, LiteralString

import psycopg
from psycopg import Connection, sql

# Settings of the database's own roles come from the spec of their object.
_NOT_INCLUDED: LiteralString = """
SELECT format('rows of foreign table %I.%I: they stand on another server', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'f'
UNION ALL
SELECT format('user mappings of foreign server %I: their passwords are readable to nobody', s.srvname)
FROM pg_foreign_server s WHERE EXISTS (SELECT FROM pg_user_mappings m WHERE m.srvid = s.oid)
UNION ALL
SELECT format('subscription %I: it would take changes twice', s.subname)
FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()
UNION ALL
SELECT format('event trigger %I: only a superuser may make it', evtname) FROM pg_event_trigger
WHERE NOT EXISTS (SELECT FROM pg_depend
                  WHERE classid = 'pg_event_trigger'::regclass AND objid = pg_event_trigger.oid AND deptype = 'e')
UNION ALL
SELECT format('setting %s of the database (ALTER DATABASE ... SET)', split_part(setting, '=', 1))
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) AS setting
WHERE d.datname = current_database() AND s.setrole = 0
UNION ALL
SELECT format('setting %s of role %I in the database (ALTER ROLE ... IN DATABASE ... SET)',
              split_part(setting, '=', 1), pg_get_userbyid(s.setrole))
FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) AS setting
WHERE d.datname = current_database() AND s.setrole <> 0
  AND NOT starts_with(pg_get_userbyid(s.setrole), d.datname || '__')
UNION ALL
SELECT format('publication %I: it is FOR ALL TABLES, and only a superuser may make such a one', pubname)
FROM pg_publication WHERE puballtables
UNION ALL
SELECT format('schema %I in publication %I: only a superuser may publish TABLES IN SCHEMA', n.nspname, p.pubname)
FROM pg_publication_namespace s
JOIN pg_publication p ON p.oid = s.pnpubid JOIN pg_namespace n ON n.oid = s.pnnspid
UNION ALL
SELECT format('%s security labels of %s (SECURITY LABEL): it may have no provider where it is restored',
              count(*), provider)
FROM pg_seclabel GROUP BY provider
ORDER BY 1
"""

# An extension's own condition says which rows are users'.
_CONFIGURATION: LiteralString = """
SELECT e.extname, n.nspname, c.relname, u.condition
FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS u (oid, condition)
JOIN pg_class c ON c.oid = u.oid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p')
ORDER BY 1, 2, 3
"""


def not_included(connection: Connection[Any]) -> tuple[str, ...]:
    """A sentence for each."""
    said = [row[0] for row in connection.execute(_NOT_INCLUDED).fetchall()]
    for extension, schema, table, condition in connection.execute(_CONFIGURATION).fetchall():
        if _has_rows(connection, sql.Identifier(schema, table), condition or ""):
            said.append(
                f"rows in table {schema}.{table} of extension {extension}: only the extension's owner may insert"
            )
    return tuple(said)


def _has_rows(connection: Connection[Any], table: sql.Identifier, condition: str) -> bool:
    """Whether there are any, as far as can be seen: who may not look is told that there may be some.

    The condition is the extension's, which a superuser has installed; pg_dump runs it, too.
    """
    query = sql.SQL("SELECT EXISTS (SELECT FROM ONLY {} {})").format(table, sql.SQL(condition))
    try:
        with connection.transaction():
            row = connection.execute(query).fetchone()
    except psycopg.errors.InsufficientPrivilege:
        return True
    return bool(row and row[0])
