"""Migrations that run outside a transaction: statement by statement, each noted before and after.

What can run in a transaction is noted in its own, so that only the few statements that can't leave a doubt.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

from psycopg import Connection

from servicedb.plan.migrations.failure import StatementFailed
from servicedb.plan.migrations.history import Applied, Decision, State
from servicedb.plan.migrations.lexer import Statement
from servicedb.plan.migrations.resume import Noted, resume, statement_digest
from servicedb.plan.migrations.script import Script
from servicedb.plan.migrations.statements import Kind, traits
from servicedb.postgres.migrations import history
from servicedb.postgres.migrations.batches import run_batches
from servicedb.postgres.migrations.history import Scope, bookkeeping
from servicedb.postgres.migrations.indexes import all_indexes
from servicedb.postgres.migrations.interrupted import Then, after, clear
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
        self._carry_out()
        with self._bookkeeping():
            history.remove(self._connection, self._scope, self._one.key)
        return round((time.monotonic() - begun) * 1000)

    def _carry_out(self) -> None:
        with self._bookkeeping():
            noted = history.noted(self._connection, self._scope, self._one.key)
        at = resume(self._script, noted)
        first = at.number
        if at.unknown is not None and self._script.batches[first - 1] is None:
            match self._after(at.unknown):
                case Then.OVER:
                    return
                case Then.NEXT:
                    self._note(first, at.unknown.digest, ended=True)
                    first += 1
        for number in range(first, len(self._script.statements) + 1):
            self._run(number, self._script.statements[number - 1], interrupted=at.unknown is not None)

    def _after(self, unknown: Noted) -> Then:
        statement = self._script.statements[unknown.number - 1]
        with failing_at(statement):
            return after(
                self._connection, self._scope, self._one.key, self._script.file, statement, unknown, self._decisions
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
