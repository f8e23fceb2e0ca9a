"""What the analytics login of a service reads and can't do: tried on every table and every function that there is."""

from psycopg.errors import InsufficientPrivilege

from tests.postgres.examples.database import Database

_TABLES = "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
_CALLS = """
    SELECT format('SELECT * FROM %s(%s)', oid::regproc,
        (SELECT string_agg(format('NULL::%s', type::regtype), ', ') FROM unnest(proargtypes) AS type))
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prorettype <> 'trigger'::regtype
"""


def tables(database: Database) -> set[str]:
    """The tables that the migrations made."""
    return {table for (table,) in database.execute(_TABLES)}


def may_analytics(database: Database) -> dict[str, bool]:
    """Statements, and whether the login `analytics` may run them."""
    reads = [f"SELECT FROM {table}" for table in tables(database)]
    writes = [f"{word} {table}" for table in tables(database) for word in ("DELETE FROM", "TRUNCATE")]
    calls = [call for (call,) in database.execute(_CALLS)]
    assert reads
    assert calls
    return {statement: _may(database, statement) for statement in (*reads, *writes, *calls, "CREATE TABLE mine ()")}


def _may(database: Database, statement: str) -> bool:
    with database.login("analytics") as connection, connection.transaction(force_rollback=True):
        try:
            connection.execute(statement.encode())
        except InsufficientPrivilege:
            return False
    return True
