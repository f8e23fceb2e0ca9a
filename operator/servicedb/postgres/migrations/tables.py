"""Where a database keeps its history: the schema `servicedb_migrations`, which nobody but its owner can reach.

Whoever could write there could have stored SQL run as the owner.
"""

from typing import Any

from psycopg import Connection, sql

from servicedb.errors import Terminal
from servicedb.naming import HISTORY_SCHEMA

_LAYOUT = 1
_CREATION_KEY = 7_305_808_869_229_538_361
"""Of an advisory lock that is held while the tables are made: `CREATE SCHEMA IF NOT EXISTS` can fail beside another."""

_TABLES = (
    "CREATE TABLE servicedb_migrations.layout (version integer NOT NULL)",
    """
    CREATE TABLE servicedb_migrations.history (
        set_name text NOT NULL,
        schema_name text NOT NULL,
        key text NOT NULL,
        name text NOT NULL,
        file text NOT NULL,
        state text NOT NULL,
        checksum text,
        down bytea,
        down_in_transaction boolean NOT NULL DEFAULT true,
        source_digest text,
        applied_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        milliseconds bigint,
        applied_by text NOT NULL DEFAULT session_user,
        position bigint GENERATED ALWAYS AS IDENTITY,
        PRIMARY KEY (set_name, schema_name, key)
    )
    """,
    """
    CREATE TABLE servicedb_migrations.statements (
        set_name text NOT NULL,
        schema_name text NOT NULL,
        key text NOT NULL,
        number integer NOT NULL,
        digest text NOT NULL,
        ended boolean,
        attempt integer NOT NULL,
        indexes oid[] NOT NULL DEFAULT '{}',
        reached text,
        sweep integer NOT NULL DEFAULT 1,
        rows bigint NOT NULL DEFAULT 0,
        begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        ended_at timestamptz,
        PRIMARY KEY (set_name, schema_name, key, number),
        FOREIGN KEY (set_name, schema_name, key) REFERENCES servicedb_migrations.history ON DELETE CASCADE
    )
    """,
    """
    CREATE TABLE servicedb_migrations.decisions (
        digest text PRIMARY KEY,
        set_name text NOT NULL,
        schema_name text NOT NULL,
        key text NOT NULL,
        choice text NOT NULL,
        decided_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE TABLE servicedb_migrations.failures (
        set_name text NOT NULL,
        schema_name text NOT NULL,
        reason text NOT NULL,
        message text NOT NULL,
        key text,
        file text,
        line integer,
        sqlstate text,
        constraint_name text,
        failed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (set_name, schema_name)
    )
    """,
    """
    CREATE TABLE servicedb_migrations.actions (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        set_name text NOT NULL,
        action text NOT NULL,
        identity text,
        source_digest text,
        ended_at timestamptz NOT NULL DEFAULT clock_timestamp()
    )
    """,
    """
    CREATE TABLE servicedb_migrations.seed_rows (
        set_name text NOT NULL,
        schema_name text NOT NULL,
        key text NOT NULL,
        table_name text NOT NULL,
        identity jsonb NOT NULL,
        position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY
    )
    """,
)


def exists(connection: Connection[Any]) -> bool:
    """Whether this database has a history. With search_path = pg_catalog. Raises Terminal where it is another's."""
    row = connection.execute(
        "SELECT pg_get_userbyid(nspowner) = current_user, pg_get_userbyid(nspowner)::text, current_user::text "
        "FROM pg_namespace WHERE nspname = %s",
        (HISTORY_SCHEMA,),
    ).fetchone()
    if row is None:
        return False
    if not row[0]:
        raise Terminal(
            "ForeignHistory",
            f'the schema "{HISTORY_SCHEMA}" belongs to "{row[1]}", not to "{row[2]}", which migrates: nothing in it '
            "can be trusted. Have an admin look at it, and drop it or change its owner",
        )
    return True


def prepare(connection: Connection[Any]) -> None:
    """Make the tables where they are missing, and shut everybody else out, in one transaction.

    Raises Terminal where the schema belongs to somebody else, or is of a later servicedb.
    """
    with connection.transaction():
        connection.execute("SET LOCAL search_path = pg_catalog")
        if not exists(connection):
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_CREATION_KEY,))
            if not exists(connection):
                _create(connection)
        _shut(connection)
        row = connection.execute("SELECT version FROM servicedb_migrations.layout").fetchone()
        if row is None or row[0] != _LAYOUT:
            raise Terminal(
                "NewerHistory", "the history in the database is of another version of servicedb; migrate with that one"
            )


def _create(connection: Connection[Any]) -> None:
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(HISTORY_SCHEMA)))
    connection.execute(";".join(_TABLES).encode())
    connection.execute("INSERT INTO servicedb_migrations.layout VALUES (%s)", (_LAYOUT,))


def _shut(connection: Connection[Any]) -> None:
    """Default privileges of the owner give its other roles access to all that it makes: not to this."""
    held = connection.execute(
        """
        SELECT DISTINCT kind, name, CASE acl.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(acl.grantee)::text END
        FROM (
            SELECT 'SCHEMA' AS kind, NULL::text AS name, nspacl AS acls, nspowner AS owner
            FROM pg_namespace WHERE nspname = %(schema)s
            UNION ALL
            SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, relname, relacl, relowner
            FROM pg_class WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind IN ('r', 'S')
        ) AS object, aclexplode(acls) AS acl
        WHERE acl.grantee <> owner
        """,
        {"schema": HISTORY_SCHEMA},
    ).fetchall()
    revokes = [
        sql.SQL("REVOKE ALL ON {} {} FROM {} CASCADE").format(
            sql.SQL(kind),
            sql.Identifier(HISTORY_SCHEMA) if name is None else sql.Identifier(HISTORY_SCHEMA, name),
            sql.SQL("PUBLIC") if grantee is None else sql.Identifier(grantee),
        )
        for kind, name, grantee in held
    ]
    if revokes:
        connection.execute(sql.SQL("; ").join(revokes))
