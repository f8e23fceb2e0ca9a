"""One statement of a script on the server, and what it says when it fails."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import Connection

from servicedb.plan.migrations.failure import StatementFailed
from servicedb.plan.migrations.lexer import Statement

_CHUNK = 1 << 18
_LINE_OF_DATA = re.compile(r"COPY .*, line (\d+)")


def run(connection: Connection[Any], statement: Statement) -> None:
    """Carry out `statement`. Raises StatementFailed with the line of the file."""
    with failing_at(statement):
        if statement.data is None:
            connection.execute(statement.text)
        else:
            with connection.cursor() as cursor, cursor.copy(statement.text) as feed:
                for start in range(0, len(statement.data), _CHUNK):
                    feed.write(statement.data[start : start + _CHUNK])


@contextlib.contextmanager
def failing_at(statement: Statement | None) -> Iterator[None]:
    """Errors of the server become StatementFailed; without a statement, as at a commit, they have no line."""
    try:
        yield
    except psycopg.Error as error:
        raise _failed(error, statement) from None  # psycopg's text holds DETAIL, which may hold values of rows


def _failed(error: psycopg.Error, statement: Statement | None) -> StatementFailed:
    says = error.diag
    return StatementFailed(
        says.message_primary or "the connection was lost",
        sqlstate=error.sqlstate,
        name=type(error).__name__,
        schema=says.schema_name,
        constraint=says.constraint_name,
        detail=says.message_detail,
        line=_line(statement, says.statement_position, says.context) if statement is not None else None,
    )


def _line(statement: Statement, position: str | None, context: str | None) -> int:
    """Where in the file: by the position in the statement (in characters), by the line of COPY data, or its begin."""
    if statement.data is not None and context and (found := _LINE_OF_DATA.search(context)):
        return statement.line + statement.text.count(b"\n") + int(found.group(1))
    if position and position.isdigit():
        text = statement.text.decode("utf-8", "replace")
        return statement.line + text.count("\n", 0, int(position) - 1)
    return statement.line
