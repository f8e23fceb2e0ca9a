"""Looking: one consistent look at the server, and the slower ones for when everything has come to rest."""

import time
from typing import Any, Final, LiteralString

import psycopg

from tests.cluster.objects import condition
from tests.cluster.soak.invariants import OWN_DATABASES, AtRest, Look, SeenDatabase, SeenRole
from tests.cluster.soak.model import APP, Model, secret_name
from tests.cluster.tenant import Tenant
from tests.postgres.server import Server

BYSTANDER: Final = "bystander"

_LOOK: LiteralString = """
SELECT (SELECT json_agg(json_build_object(
            'name', r.rolname, 'login', r.rolcanlogin, 'comment', shobj_description(r.oid, 'pg_authid'),
            'attributes', array_remove(ARRAY[
                CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END,
                CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END,
                CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END], NULL),
            'member_of_admin', EXISTS (
                SELECT FROM pg_auth_members m JOIN pg_roles a ON a.oid = m.member
                WHERE m.roleid = r.oid AND a.rolname = %(admin)s AND (m.inherit_option OR m.set_option)),
            'sessions', (SELECT count(*) FROM pg_stat_activity s WHERE s.usesysid = r.oid)))
        FROM pg_roles r WHERE r.rolname LIKE '%%\\_\\_%%') AS roles,
       (SELECT json_agg(json_build_object(
            'name', d.datname, 'oid', d.oid::bigint, 'open', d.datallowconn,
            'public', EXISTS (SELECT FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a
                              WHERE a.grantee = 0)))
        FROM pg_database d WHERE d.datname <> ALL (%(own)s)) AS databases,
       (SELECT md5(json_build_array(
            (SELECT json_agg(json_build_array(d.oid, d.datdba, d.datacl, d.datallowconn, d.datconnlimit))
             FROM pg_database d WHERE d.datname = %(bystander)s),
            (SELECT json_agg(to_jsonb(a) ORDER BY a.oid) FROM pg_authid a WHERE a.rolname LIKE 'bystander%%'),
            (SELECT json_agg(to_jsonb(m) ORDER BY m.oid) FROM pg_auth_members m JOIN pg_roles b ON b.oid = m.member
             WHERE b.rolname LIKE 'bystander%%'),
            (SELECT json_agg(to_jsonb(s)) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase
             WHERE d.datname = %(bystander)s))::text)) AS bystander
"""
_LOCKS: LiteralString = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


def make_bystander(server: Server) -> None:
    """Somebody else's database, with roles, a setting and a row."""
    with server.connect() as connection:
        connection.execute("CREATE ROLE bystander_owner LOGIN PASSWORD 'SCRAM-SHA-256$not-usable'")
        connection.execute("CREATE ROLE bystander_reader NOLOGIN")
        connection.execute("GRANT bystander_reader TO bystander_owner")
        connection.execute("CREATE DATABASE bystander OWNER bystander_owner")
        connection.execute("ALTER DATABASE bystander SET work_mem TO '5MB'")
    with server.connect(dbname=BYSTANDER) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('still here')")


def look(server: Server) -> Look:
    """Everything in one statement, so that it is of one moment. Raises psycopg.Error where the server is away."""
    own = [*OWN_DATABASES, BYSTANDER]
    with server.connect(connect_timeout=5) as connection:
        now = time.time()
        row = connection.execute(_LOOK, {"admin": server.admin.name, "own": own, "bystander": BYSTANDER}).fetchone()
    assert row is not None
    roles, databases, bystander = row
    return Look(
        now,
        {role["name"]: _role(role) for role in roles or ()},
        {database["name"]: SeenDatabase(**database) for database in databases or ()},
        bystander,
    )


def at_rest(tenant: Tenant, server: Server, model: Model, seen: Look) -> AtRest:
    """The objects, their Secrets, a login with each, and what stands in the databases."""
    ready = {
        one["metadata"]["name"]: (condition(one) or {}).get("status") == "True"
        and (condition(one) or {}).get("observedGeneration") == one["metadata"]["generation"]
        for one in tenant.objects.listed("ServiceDatabase", tenant.name)
    }
    secrets = {name for name, values in tenant.secrets().items() if values}
    with server.connect(dbname="servicedb") as connection:
        locks = connection.execute(_LOCKS).fetchone()
    assert locks is not None
    logins = {secret: _works_as(tenant, secret) for secret in sorted(secrets)}
    rows = {
        asked.name: _rows(server, asked.database) for asked in model.asked.values() if asked.database in seen.databases
    }
    return AtRest(ready, frozenset(secrets), logins, rows, locks[0])


def written_table(tenant: Tenant, name: str, word: str) -> None:
    """Write `word` as the application; the migrator makes the table where there is none. Raises psycopg.Error."""
    with tenant.log_in(secret_name(name, "migrator")) as session:
        session.execute("CREATE TABLE IF NOT EXISTS kept (word text PRIMARY KEY)")
    with tenant.log_in(secret_name(name, APP)) as session:
        session.execute("INSERT INTO kept VALUES (%s)", (word,))


def _works_as(tenant: Tenant, secret: str) -> str:
    try:
        return tenant.works_as(secret)
    except (psycopg.Error, KeyError, AssertionError) as error:
        return f"{type(error).__name__}: {error}".replace("\n", " ")[:200]


def _rows(server: Server, database: str) -> frozenset[str]:
    with server.connect(dbname=database) as connection:
        there = connection.execute("SELECT to_regclass('public.kept') IS NOT NULL").fetchone()
        if there is None or not there[0]:
            return frozenset()
        return frozenset(row[0] for row in connection.execute("SELECT word FROM public.kept").fetchall())


def _role(role: dict[str, Any]) -> SeenRole:
    return SeenRole(**{**role, "attributes": frozenset(role["attributes"])})
