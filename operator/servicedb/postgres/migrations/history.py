"""The history's rows, read and written, each time within `bookkeeping`."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql

from servicedb.errors import Problem
from servicedb.plan.migrations.history import Applied, History, State
from servicedb.plan.migrations.problems import Place
from servicedb.plan.migrations.resume import Noted

OURSELVES = sql.SQL(
    "SET LOCAL search_path = pg_catalog; SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL role TO DEFAULT"
)
"""From here on in a transaction names mean PostgreSQL's own, and the role is the login's."""


@dataclass(frozen=True, slots=True)
class Scope:
    """One set of migrations in one schema: what has a history of its own. `schema` is empty but for tenants."""

    set_name: str
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the batches of a statement got: up to the key `reached` (as text) in sweep number `sweep`."""

    reached: str | None
    sweep: int
    rows: int


@contextlib.contextmanager
def bookkeeping(connection: Connection[Any]) -> Iterator[None]:
    """A transaction in which names mean PostgreSQL's own and the role is the login's, whatever a script has set."""
    with connection.transaction():
        as_ourselves(connection)
        yield


def as_ourselves(connection: Connection[Any]) -> None:
    """For the rest of this transaction."""
    connection.execute(OURSELVES)


def read(connection: Connection[Any], scope: Scope) -> History:
    """The history of `scope`, and which keys other sets have in the same schema, or in the database as a whole."""
    rows = connection.execute(
        """
        SELECT set_name, key, name, file, checksum, state, down, down_in_transaction, milliseconds
        FROM servicedb_migrations.history
        WHERE (schema_name = %(schema)s OR (schema_name = '' AND set_name <> %(set)s)) AND key NOT LIKE 'seed:%%'
        ORDER BY position
        """,
        {"schema": scope.schema, "set": scope.set_name},
    ).fetchall()
    others: dict[str, set[str]] = {}
    applied = []
    for set_name, key, name, file, checksum, state, down, down_in_transaction, milliseconds in rows:
        if set_name == scope.set_name:
            applied.append(Applied(key, name, file, checksum, State(state), down, down_in_transaction, milliseconds))
        elif state == State.APPLIED:
            others.setdefault(set_name, set()).add(key)
    return History(tuple(applied), {name: frozenset(keys) for name, keys in others.items()})


def begin(
    connection: Connection[Any], scope: Scope, one: Applied, *, source_digest: str | None, again: bool = False
) -> None:
    """The row of a migration, before anything of it is done: a rival that is at the same one fails on its key.

    `again`: a repeatable one, whose row of before is replaced.
    """
    if again:
        remove(connection, scope, one.key)
    connection.execute(beginning(scope, one, source_digest=source_digest))


def beginning(scope: Scope, one: Applied, *, source_digest: str | None) -> sql.Composed:
    """What `begin` sends. It means the same under any search_path."""
    down = None if one.down is None else sql.SQL("pg_catalog.decode({}, 'hex')").format(sql.Literal(one.down.hex()))
    texts = (scope.set_name, scope.schema, one.key, one.name, one.file, one.state.value, one.checksum)
    return sql.SQL(
        """
        INSERT INTO servicedb_migrations.history
            (set_name, schema_name, key, name, file, state, checksum, down, down_in_transaction, source_digest)
        VALUES ({})
        """
    ).format(
        sql.SQL(", ").join(
            [
                *map(sql.Literal, texts),
                down or sql.NULL,
                sql.Literal(one.down_in_transaction),
                sql.Literal(source_digest),
            ]
        )
    )


def end(connection: Connection[Any], scope: Scope, one: Applied, milliseconds: int) -> None:
    """The migration is applied, as the file says it now."""
    connection.execute(
        """
        UPDATE servicedb_migrations.history
        SET state = %s, checksum = %s, name = %s, file = %s, down = %s, down_in_transaction = %s,
            milliseconds = coalesce(milliseconds, 0) + %s, applied_at = clock_timestamp()
        WHERE set_name = %s AND schema_name = %s AND key = %s
        """,
        (
            State.APPLIED, one.checksum, one.name, one.file, one.down, one.down_in_transaction, milliseconds,
            scope.set_name, scope.schema, one.key,
        ),
    )  # fmt: skip
    connection.execute(
        "DELETE FROM servicedb_migrations.statements WHERE set_name = %s AND schema_name = %s AND key = %s",
        (scope.set_name, scope.schema, one.key),
    )


def leave(connection: Connection[Any], scope: Scope, key: str) -> None:
    """The way back of a migration begins."""
    connection.execute(
        """
        UPDATE servicedb_migrations.history SET state = %s
        WHERE set_name = %s AND schema_name = %s AND key = %s
        """,
        (State.LEAVING, scope.set_name, scope.schema, key),
    )


def stay(connection: Connection[Any], scope: Scope, key: str) -> None:
    """The way back of a migration did nothing: it is applied as before."""
    connection.execute(
        """
        UPDATE servicedb_migrations.history SET state = %s
        WHERE set_name = %s AND schema_name = %s AND key = %s
        """,
        (State.APPLIED, scope.set_name, scope.schema, key),
    )
    connection.execute(
        "DELETE FROM servicedb_migrations.statements WHERE set_name = %s AND schema_name = %s AND key = %s",
        (scope.set_name, scope.schema, key),
    )


def remove(connection: Connection[Any], scope: Scope, key: str) -> None:
    connection.execute(removing(scope, key))


def removing(scope: Scope, key: str) -> sql.Composed:
    """What `remove` sends. It means the same under any search_path."""
    return sql.SQL("DELETE FROM servicedb_migrations.history WHERE {}").format(
        sql.SQL(" AND ").join(
            sql.SQL("{} OPERATOR(pg_catalog.=) {}").format(sql.Identifier(column), sql.Literal(value))
            for column, value in (("set_name", scope.set_name), ("schema_name", scope.schema), ("key", key))
        )
    )


def take_checksum(connection: Connection[Any], scope: Scope, key: str, checksum: str) -> None:
    connection.execute(
        """
        UPDATE servicedb_migrations.history SET checksum = %s WHERE set_name = %s AND schema_name = %s AND key = %s
        """,
        (checksum, scope.set_name, scope.schema, key),
    )


def noted(connection: Connection[Any], scope: Scope, key: str) -> list[Noted]:
    rows = connection.execute(
        """
        SELECT number, digest, ended, attempt, indexes::bigint[] FROM servicedb_migrations.statements
        WHERE set_name = %s AND schema_name = %s AND key = %s ORDER BY number
        """,
        (scope.set_name, scope.schema, key),
    ).fetchall()
    return [Noted(number, digest, ended, attempt, tuple(indexes)) for number, digest, ended, attempt, indexes in rows]


def note(
    connection: Connection[Any],
    scope: Scope,
    key: str,
    number: int,
    *,
    digest: str,
    ended: bool | None,
    indexes: Sequence[int] = (),
) -> None:
    """A statement begins (`ended` None), has ended (True), or failed and did nothing (False)."""
    connection.execute(
        """
        INSERT INTO servicedb_migrations.statements AS known
            (set_name, schema_name, key, number, digest, ended, attempt, indexes)
        VALUES (%(set)s, %(schema)s, %(key)s, %(number)s, %(digest)s, %(ended)s, 1, %(indexes)s::bigint[]::oid[])
        ON CONFLICT (set_name, schema_name, key, number) DO UPDATE
        SET digest = excluded.digest, ended = excluded.ended, ended_at = clock_timestamp(),
            indexes = CASE WHEN excluded.ended IS NULL THEN excluded.indexes ELSE known.indexes END,
            attempt = known.attempt + CASE WHEN excluded.ended IS NULL THEN 1 ELSE 0 END
        """,
        {
            "set": scope.set_name,
            "schema": scope.schema,
            "key": key,
            "number": number,
            "digest": digest,
            "ended": ended,
            "indexes": list(indexes),
        },
    )


def progress(connection: Connection[Any], scope: Scope, key: str, number: int) -> Progress:
    row = connection.execute(
        """
        SELECT reached, sweep, rows FROM servicedb_migrations.statements
        WHERE set_name = %s AND schema_name = %s AND key = %s AND number = %s
        """,
        (scope.set_name, scope.schema, key, number),
    ).fetchone()
    return Progress(*row) if row else Progress(None, 1, 0)


def note_progress(connection: Connection[Any], scope: Scope, key: str, number: int, at: Progress) -> None:
    connection.execute(
        """
        UPDATE servicedb_migrations.statements SET reached = %s, sweep = %s, rows = %s
        WHERE set_name = %s AND schema_name = %s AND key = %s AND number = %s
        """,
        (at.reached, at.sweep, at.rows, scope.set_name, scope.schema, key, number),
    )


def note_decision(connection: Connection[Any], scope: Scope, key: str, digest: str, choice: str) -> None:
    """A decision was followed."""
    connection.execute(
        """
        INSERT INTO servicedb_migrations.decisions (digest, set_name, schema_name, key, choice)
        VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
        """,
        (digest, scope.set_name, scope.schema, key, choice),
    )


def note_failure(connection: Connection[Any], scope: Scope, problem: Problem, place: Place) -> None:
    """The last failure: what a pod says of it can be lost."""
    connection.execute(
        """
        INSERT INTO servicedb_migrations.failures
            (set_name, schema_name, reason, message, key, file, line, sqlstate, constraint_name)
        VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)
        ON CONFLICT (set_name, schema_name) DO UPDATE
        SET reason = excluded.reason, message = excluded.message, key = excluded.key, file = excluded.file,
            line = excluded.line, sqlstate = excluded.sqlstate, constraint_name = excluded.constraint_name,
            failed_at = excluded.failed_at
        """,
        (
            scope.set_name, scope.schema, problem.reason, problem.message, place.version, place.file, place.line,
            place.sqlstate, place.constraint,
        ),
    )  # fmt: skip


def forget_failure(connection: Connection[Any], scope: Scope) -> None:
    connection.execute(
        "DELETE FROM servicedb_migrations.failures WHERE set_name = %s AND schema_name = %s",
        (scope.set_name, scope.schema),
    )


def last_action(connection: Connection[Any], set_name: str) -> tuple[str, str | None] | None:
    """The latest action of a set, and who asked for it."""
    row = connection.execute(
        "SELECT action, identity FROM servicedb_migrations.actions WHERE set_name = %s ORDER BY id DESC LIMIT 1",
        (set_name,),
    ).fetchone()
    return (row[0], row[1]) if row else None


def note_action(
    connection: Connection[Any], set_name: str, action: str, identity: str | None, source_digest: str | None
) -> None:
    connection.execute(
        "INSERT INTO servicedb_migrations.actions (set_name, action, identity, source_digest) VALUES (%s, %s, %s, %s)",
        (set_name, action, identity, source_digest),
    )
