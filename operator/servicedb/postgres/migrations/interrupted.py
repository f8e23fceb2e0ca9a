"""A statement outside a transaction whose end nobody saw: what the catalogue tells, and what a person has to."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import Any

from psycopg import Connection

from servicedb.errors import NeedsDecision
from servicedb.plan.migrations.history import Choice, Decision
from servicedb.plan.migrations.lexer import Statement
from servicedb.plan.migrations.resume import Noted, question_digest
from servicedb.plan.migrations.statements import Kind, traits
from servicedb.postgres.migrations.history import Scope, bookkeeping, note_decision
from servicedb.postgres.migrations.indexes import drop, pending_detachments, since


class Then(Enum):
    """How it goes on."""

    AGAIN = auto()
    """The statement is run again."""
    NEXT = auto()
    """It was done: with the next one."""
    OVER = auto()
    """The rest is left out."""


_ANSWERS = {Choice.RETRY: Then.AGAIN, Choice.DONE: Then.NEXT, Choice.SKIP: Then.OVER}


def answer(
    connection: Connection[Any], scope: Scope, key: str, noted: Noted, decisions: Sequence[Decision]
) -> Then | None:
    """What a person has decided about the statement that was `noted`, which is noted, too; None where nobody has."""
    digest = question_digest(set_name=scope.set_name, schema=scope.schema, key=key, noted=noted)
    for decision in decisions:
        if (decision.version, decision.digest) == (key, digest) and decision.choice in _ANSWERS:
            with bookkeeping(connection):
                note_decision(connection, scope, key, digest, decision.choice)
            return _ANSWERS[decision.choice]
    return None


def after(
    connection: Connection[Any],
    scope: Scope,
    key: str,
    file: str,
    statement: Statement,
    noted: Noted,
    decisions: Sequence[Decision],
) -> Then:
    """What comes after an interruption. An invalid index that it left is dropped. Raises NeedsDecision."""
    if (given := answer(connection, scope, key, noted, decisions)) is not None:
        return given
    digest = question_digest(set_name=scope.set_name, schema=scope.schema, key=key, noted=noted)
    kind = traits(statement)
    match kind.kind:
        case Kind.TOGETHER | Kind.DROPS_INDEX:
            return Then.AGAIN
        case Kind.REPEATABLE:
            clear(connection, statement, noted.indexes)
            return Then.AGAIN
        case Kind.CREATES_INDEX if kind.relation is not None:
            clear(connection, statement, noted.indexes)
            made = [index for index in since(connection, noted.indexes, kind) if index.valid]
            if not made:
                return Then.AGAIN
            if kind.index is not None:
                return Then.NEXT
            shown = f"since then there is {', '.join(map(str, made))}"
        case Kind.CREATES_INDEX:
            shown = "the catalogue can't tell"
        case Kind.ALONE:
            with bookkeeping(connection):
                detaching = pending_detachments(connection)
            shown = f"not yet detached: {', '.join(detaching)}" if detaching else "the catalogue can't tell"
    raise NeedsDecision(
        "Interrupted",
        f"{file}, line {statement.line}: the run ended while {' '.join(statement.head).upper()} was at work; it may "
        f"have been done or not ({shown}). Look, and decide for version {key}, digest {digest}: Retry runs it again, "
        "Done goes on with the next statement, Skip takes the migration for applied",
    )


def clear(connection: Connection[Any], statement: Statement, before: Sequence[int]) -> None:
    """Drop the invalid indexes that `statement` left, known by their not having been among those `before`."""
    left = [index for index in since(connection, before, traits(statement)) if not index.valid]
    for index in left:
        drop(connection, index)
