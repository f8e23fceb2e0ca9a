"""Extensions made in a database that a backup is restored into, with the schemas that they stand in."""

from collections.abc import Sequence

import psycopg
from psycopg import Connection, sql

from servicedb.plan.backups.manifest import Extension


def make_missing(
    connection: Connection[object], wanted: Sequence[Extension], *, owner: str | None = None
) -> tuple[Extension, str] | None:
    """Make those of `wanted` that are not there, their schemas as `owner`'s (None: of who makes them).

    They are tried again while one more was made, since one may need another. Gives one that can't be made, with the
    server's words for it. Raises OperationalError.
    """
    here = {row[0] for row in connection.execute("SELECT extname FROM pg_catalog.pg_extension").fetchall()}  # type: ignore[index]
    missing = [one for one in wanted if one.name not in here]
    while missing:
        failed = [(one, words) for one in missing if (words := _make(connection, one, owner)) is not None]
        if len(failed) == len(missing):
            return failed[0]
        missing = [one for one, _ in failed]
    return None


def _make(connection: Connection[object], one: Extension, owner: str | None) -> str | None:
    """None where it was made; what the server says where not."""
    schema = sql.Identifier(one.schema_)
    try:
        with connection.transaction():
            if not _is_there(connection, one.schema_):
                whose = sql.SQL("") if owner is None else sql.SQL(" AUTHORIZATION {}").format(sql.Identifier(owner))
                connection.execute(sql.SQL("CREATE SCHEMA {}{}").format(schema, whose))
            connection.execute(sql.SQL("CREATE EXTENSION {} SCHEMA {}").format(sql.Identifier(one.name), schema))
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        return error.diag.message_primary or type(error).__name__
    return None


def _is_there(connection: Connection[object], schema: str) -> bool:
    """Who may not make schemas need not, then; and PostgreSQL's own nobody may make."""
    query = "SELECT FROM pg_catalog.pg_namespace WHERE nspname = %s"
    return schema.startswith("pg_") or connection.execute(query, (schema,)).fetchone() is not None
