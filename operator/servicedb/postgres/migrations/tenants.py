"""The schemas of tenants: which there are, and new ones."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection, sql

from servicedb.plan.migrations.tenants import MOST_TENANTS, checked_names
from servicedb.postgres.migrations.history import bookkeeping
from servicedb.postgres.migrations.run import failing_at
from servicedb.postgres.migrations.session import Connect, Guards, connect


def schemas(
    connect_to: Connect, guards: Guards, *, pattern: str | None, names: Sequence[str], query: str | None
) -> list[str]:
    """Those of `names`, those that are like `pattern`, and those that `query` gives, sorted.

    Raises StatementFailed, and Terminal where the query gives something else.
    """
    found = set(names)
    with connect(connect_to, guards) as connection, failing_at(None):
        if query is not None:
            found |= _asked(connection, query)
        with bookkeeping(connection):
            if pattern is not None:
                rows = connection.execute(
                    "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE %s AND nspname NOT LIKE 'pg\\_%%' "
                    "AND nspname NOT IN ('information_schema', 'extensions', 'servicedb_migrations')",
                    (pattern,),
                ).fetchall()
                found |= {name for (name,) in rows}
    return sorted(found)


def missing(connect_to: Connect, guards: Guards, names: Sequence[str]) -> list[str]:
    """Those of `names` that no schema has. Raises StatementFailed."""
    with connect(connect_to, guards) as connection, failing_at(None), bookkeeping(connection):
        rows = connection.execute(
            "SELECT name FROM unnest(%s::text[]) AS name WHERE NOT EXISTS "
            "(SELECT FROM pg_namespace WHERE nspname = name) ORDER BY 1",
            (list(names),),
        ).fetchall()
    return [name for (name,) in rows]


def create(connect_to: Connect, guards: Guards, names: Sequence[str]) -> None:
    """Make those of `names` that are missing; the owner's default privileges give its other roles their access.

    Raises StatementFailed.
    """
    with connect(connect_to, guards) as connection, failing_at(None):
        for name in names:
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))


def _asked(connection: Connection[Any], query: str) -> set[str]:
    """What `query` gives as the role that migrates. It changes nothing, and is one statement."""
    connection.read_only = True
    try:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(query.encode(), binary=True)  # so sent, the server takes no second statement behind it
            rows = cursor.fetchmany(MOST_TENANTS + 1) if cursor.description is not None else [()]
            return checked_names(rows)
    finally:
        connection.read_only = None
