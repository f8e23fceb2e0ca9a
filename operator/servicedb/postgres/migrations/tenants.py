"""The schemas of tenants: which there are, and new ones."""

from collections.abc import Sequence

from psycopg import sql

from servicedb.postgres.migrations.history import bookkeeping
from servicedb.postgres.migrations.run import failing_at
from servicedb.postgres.migrations.session import Connect, Guards, connect


def schemas(
    connect_to: Connect, guards: Guards, *, pattern: str | None, names: Sequence[str], query: str | None
) -> list[str]:
    """Those of `names`, those that are like `pattern`, and those that `query` gives in its first column, sorted.

    Raises StatementFailed.
    """
    found = set(names)
    with connect(connect_to, guards) as connection, failing_at(None):
        if query is not None:
            found |= {str(row[0]) for row in connection.execute(query.encode()).fetchall()}
        with bookkeeping(connection):
            if pattern is not None:
                rows = connection.execute(
                    "SELECT nspname::text FROM pg_namespace WHERE nspname LIKE %s AND nspname NOT LIKE 'pg\\_%%' "
                    "AND nspname NOT IN ('information_schema', 'servicedb_migrations')",
                    (pattern,),
                ).fetchall()
                found |= {name for (name,) in rows}
    return sorted(found)


def create(connect_to: Connect, guards: Guards, names: Sequence[str]) -> None:
    """Those of `names` that are missing; the owner's default privileges give its other roles their access.

    Raises StatementFailed.
    """
    with connect(connect_to, guards) as connection, failing_at(None):
        for name in names:
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))
