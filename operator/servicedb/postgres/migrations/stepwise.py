"""Migrations that run outside a transaction: statement by statement, each noted before and after.

What can run in a transaction is noted in its own, so that only the few statements that can't leave a doubt.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Connection

from servicedb.errors import Terminal
from servicedb.plan.migrations.failure import StatementFailed
from servicedb.plan.migrations.history import Applied, Decision, State
from servicedb.plan.migrations.lexer import Statement
from servicedb.plan.migrations.resume import Noted, question_digest, resume, statement_digest
from servicedb.plan.migrations.script import Script
from servicedb.plan.migrations.statements import Kind, traits
from servicedb.postgres.migrations import history
from servicedb.postgres.migrations.batches import run_batches
from servicedb.postgres.migrations.history import Scope, bookkeeping
from servicedb.postgres.migrations.indexes import all_indexes
from servicedb.postgres.migrations.interrupted import Then, after, answer, clear
from servicedb.postgres.migrations.run import failing_at, run

_WAITS_AT_MOST = "6h"
_UNDEFINED_OBJECT = "42704"


class Stepwise:
    """One migration on its way, up or back, over however many sessions and processes it takes."""

    def __init__(
        self, connection: Connection[Any], scope: Scope, one: Applied, script: Script, decisions: Sequence[Decision]
    ) -> None:
        self._connection = connection
        self._scope = scope
        self._one = one
        self._script = script
        self._decisions = decisions

    def apply(self, *, goes_on: bool, again: bool = False, source_digest: str | None = None) -> int:
        """Carry it out; gives the milliseconds of this time. Raises StatementFailed, NeedsDecision and Terminal."""
        begun = time.monotonic()
        if not goes_on:
            row = Applied(self._one.key, self._one.name, self._one.file, None, State.BEGUN)
            with self._bookkeeping():
                history.begin(self._connection, self._scope, row, source_digest=source_digest, again=again)
        self._carry_out()
        milliseconds = round((time.monotonic() - begun) * 1000)
        with self._bookkeeping():
            history.end(self._connection, self._scope, self._one, milliseconds)
        return milliseconds

    def revert(self, *, goes_on: bool) -> int:
        """Take it back; gives the milliseconds of this time. Raises as `apply` does."""
        begun = time.monotonic()
        if not goes_on:
            with self._bookkeeping():
                history.leave(self._connection, self._scope, self._one.key)
        self._carry_out(leaving=True)
        with self._bookkeeping():
            history.remove(self._connection, self._scope, self._one.key)
        return round((time.monotonic() - begun) * 1000)

    def _carry_out(self, *, leaving: bool = False) -> None:
        with self._bookkeeping():
            noted = history.noted(self._connection, self._scope, self._one.key)
        at = resume(self._script, noted)
        first = at.number
        # What fails on the way up is put right in its file. The way back is kept as it was: nobody can.
        if (last := at.unknown or (at.failed if leaving else None)) is not None:
            match self._after(last, leaving=leaving):
                case Then.OVER:
                    return
                case Then.NEXT:
                    self._note(first, last.digest, ended=True)
                    first += 1
        for number in range(first, len(self._script.statements) + 1):
            statement = self._script.statements[number - 1]
            try:
                self._run(number, statement, interrupted=at.unknown is not None)
            except StatementFailed as failed:
                if leaving and failed.sqlstate is not None and not self._connection.closed:
                    failed.way_out = self._way_out(number, statement)
                raise
            except Terminal as problem:
                if leaving and (way_out := self._way_out(number, statement)):
                    raise Terminal(problem.reason, f"{problem.message}; {way_out}") from None
                raise

    def _after(self, last: Noted, *, leaving: bool) -> Then:
        statement, scope, key = self._script.statements[last.number - 1], self._scope, self._one.key
        with failing_at(statement):
            if last.ended is None and self._script.batches[last.number - 1] is None:
                return after(self._connection, scope, key, self._script.file, statement, last, self._decisions)
            given = answer(self._connection, scope, key, last, self._decisions) if leaving else None
        return given or Then.AGAIN

    def _way_out(self, number: int, statement: Statement) -> str:
        """Of a way back that failed in `number`: where nothing of it was done, the migration is applied as before."""
        key, digest = self._one.key, statement_digest(statement)
        batch = self._script.batches[number - 1]
        with self._bookkeeping():
            if batch is None and traits(statement).kind is Kind.TOGETHER:
                history.note(self._connection, self._scope, key, number, digest=digest, ended=False)
                did_nothing = number == 1
            else:
                at = history.progress(self._connection, self._scope, key, number)
                did_nothing = number == 1 and batch is not None and (at.reached, at.sweep) == (None, 1)
            if did_nothing:
                history.stay(self._connection, self._scope, key)
                return ""
            noted = next(one for one in history.noted(self._connection, self._scope, key) if one.number == number)
        question = question_digest(set_name=self._scope.set_name, schema=self._scope.schema, key=key, noted=noted)
        return (
            f"the way back has begun. Go down again when it can go well, or decide for version {key}, digest "
            f"{question}: Done goes on with the next statement, Skip takes the way back for done"
        )

    def _run(self, number: int, statement: Statement, *, interrupted: bool) -> None:
        digest, batch = statement_digest(statement), self._script.batches[number - 1]
        if batch is not None:
            self._note(number, digest, ended=None)
            with failing_at(statement):
                run_batches(self._connection, self._scope, self._one.key, number, statement, batch)
            self._note(number, digest, ended=True)
        elif traits(statement).kind is Kind.TOGETHER:
            with failing_at(statement), self._connection.transaction():
                run(self._connection, statement)
                with bookkeeping(self._connection):
                    history.note(self._connection, self._scope, self._one.key, number, digest=digest, ended=True)
        else:
            self._run_alone(number, statement, digest, interrupted=interrupted)

    def _run_alone(self, number: int, statement: Statement, digest: str, *, interrupted: bool) -> None:
        kind = traits(statement)
        before: Sequence[int] = ()
        if kind.kind in (Kind.CREATES_INDEX, Kind.REPEATABLE):
            with self._bookkeeping():
                before = all_indexes(self._connection)
        self._note(number, digest, ended=None, indexes=before)
        try:
            with self._waiting() if kind.waits else contextlib.nullcontext():
                run(self._connection, statement)
        except StatementFailed as failed:
            if failed.sqlstate is None or self._connection.closed:
                raise  # whether it was done is not known: the next run looks
            if not (kind.kind is Kind.DROPS_INDEX and interrupted and failed.sqlstate == _UNDEFINED_OBJECT):
                with failing_at(statement):
                    clear(self._connection, statement, before)
                self._note(number, digest, ended=False)
                raise
        self._note(number, digest, ended=True)

    @contextlib.contextmanager
    def _waiting(self) -> Iterator[None]:
        """For statements that wait for old transactions without making anybody queue: a lock timeout would end them
        under any old snapshot, and leave an invalid index."""
        names = ("lock_timeout", "statement_timeout")
        known = [self._setting(name) for name in names]
        self._set("lock_timeout", "0")
        if known[1] == "0":
            self._set("statement_timeout", _WAITS_AT_MOST)
        try:
            yield
        finally:
            if not self._connection.closed:
                for name, value in zip(names, known, strict=True):
                    self._set(name, value)

    def _setting(self, name: str) -> str:
        row = self._connection.execute("SELECT pg_catalog.current_setting(%s)", (name,)).fetchone()
        return str(row[0]) if row else "0"

    def _set(self, name: str, value: str) -> None:
        self._connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", (name, value))

    def _note(self, number: int, digest: str, *, ended: bool | None, indexes: Sequence[int] = ()) -> None:
        with self._bookkeeping():
            history.note(
                self._connection, self._scope, self._one.key, number, digest=digest, ended=ended, indexes=indexes
            )

    @contextlib.contextmanager
    def _bookkeeping(self) -> Iterator[None]:
        with failing_at(None), bookkeeping(self._connection):
            yield
