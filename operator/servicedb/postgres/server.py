"""A server as a whole: what its admin may do there, and the operator's own database on it."""

from typing import Any

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import dict_row

from servicedb.naming import LOCK_DATABASE
from servicedb.plan.server import ServerFacts
from servicedb.postgres.connections import Account, Endpoint, Tls, connect, transaction, words_of

_FACTS = """
SELECT current_setting('server_version_num')::int AS version_number,
       current_setting('server_version') AS version,
       pg_is_in_recovery() AS in_recovery,
       (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
       r.rolname AS admin, r.rolsuper AS superuser, r.rolcreaterole AS createrole, r.rolcreatedb AS createdb,
       ARRAY(SELECT d.datname::text FROM pg_database d
             WHERE d.datallowconn AND EXISTS (
                 SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                 WHERE a.grantee = 0 AND a.privilege_type = 'CONNECT')
             ORDER BY 1) AS public_databases,
       pg_get_userbyid(l.datdba) AS lock_database_owner,
       coalesce(l.datallowconn, false) AS lock_database_open,
       coalesce(pg_has_role(r.oid, l.datdba, 'USAGE'), false) AS admin_may_own_lock_database,
       r.rolcreaterole AND (current_setting('server_version_num')::int < 160000
            OR pg_has_role(r.oid, 'pg_read_all_data', 'MEMBER WITH ADMIN OPTION')) AS may_grant_read_all_data,
       r.rolcreaterole AND r.rolbypassrls AND current_setting('server_version_num')::int >= 160000
            AS may_grant_bypassrls,
       has_parameter_privilege(r.oid, 'lo_compat_privileges', 'SET') AS may_set_lo_compat_privileges
FROM pg_roles r LEFT JOIN pg_database l ON l.datname = %s
WHERE r.rolname = current_user
"""


async def look(connection: AsyncConnection[Any]) -> ServerFacts:
    """What the server is and what its admin may do there."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(_FACTS, (LOCK_DATABASE,))
        row = await cursor.fetchone()
    assert row is not None  # whoever is connected has a role
    return ServerFacts(**row)


async def make_lock_database(connection: AsyncConnection[Any], facts: ServerFacts) -> None:
    """Make the operator's own database, or go on where that was cut off: closed until nobody else may connect."""
    if facts.lock_database_open:
        return
    name = sql.Identifier(LOCK_DATABASE)
    if facts.lock_database_owner is None:
        await connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ALLOW_CONNECTIONS false").format(name))
    async with transaction(connection):
        await connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
        await connection.execute(sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true").format(name))


async def refuses_plaintext(endpoint: Endpoint, account: Account, database: str) -> bool | str:
    """Whether a login without TLS is turned down; why it could not be told, where it failed for another reason.

    The password is safe: SCRAM never sends it.
    """
    plain = Endpoint(endpoint.name, endpoint.host, endpoint.port, Tls("Disable"))
    try:
        connection = await connect(plain, account, database)
    except psycopg.OperationalError as error:
        words = words_of(error)
        return True if "pg_hba.conf" in words else words
    await connection.close()
    return False


def server_sql(admin: str) -> str:
    """What a DBA runs once, as a superuser, so that `admin` can serve as adminSecretRef."""
    role = sql.Identifier(admin).as_string(None)
    return _SERVER_SQL.replace("{admin}", role)


_SERVER_SQL = """\
-- Run once as a superuser (psql). Then set the password with \\password, so that it stands in no log:
--   \\password {admin}

CREATE ROLE {admin} LOGIN CREATEROLE CREATEDB NOSUPERUSER;

-- Recommended: nobody connects to the maintenance databases without need.
-- The admin keeps CONNECT on its adminDatabase.
GRANT CONNECT ON DATABASE postgres TO {admin};
REVOKE CONNECT, TEMPORARY ON DATABASE postgres FROM PUBLIC;
REVOKE CONNECT, TEMPORARY ON DATABASE template1 FROM PUBLIC;

-- For backups that read every table, also those under row-level security, and every large object.
GRANT pg_read_all_data TO {admin} WITH ADMIN OPTION;
ALTER ROLE {admin} BYPASSRLS;
GRANT SET ON PARAMETER lo_compat_privileges TO {admin};

-- In pg_hba.conf: logins by TLS and SCRAM alone, for example
--   hostssl all all 0.0.0.0/0 scram-sha-256
"""
