"""One set of migrations in one schema at work: what a run asks of the database, each time in a session of its own."""

import contextlib
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from psycopg import Connection, sql

from servicedb.errors import Problem
from servicedb.plan.migrations.adoption import Foreign
from servicedb.plan.migrations.down import Revert
from servicedb.plan.migrations.failure import StatementFailed
from servicedb.plan.migrations.formats import Migration
from servicedb.plan.migrations.history import Applied, Decision, History
from servicedb.plan.migrations.problems import Place
from servicedb.plan.migrations.script import Script
from servicedb.plan.migrations.up import Apply, TakeChecksum
from servicedb.postgres.migrations import history, seeds, transactional
from servicedb.postgres.migrations.adopt import adopt, of_others, table_of
from servicedb.postgres.migrations.blockers import Blocker, Watch
from servicedb.postgres.migrations.history import Scope, bookkeeping
from servicedb.postgres.migrations.run import failing_at
from servicedb.postgres.migrations.session import Connect, Guards, Held, Tell, connect, held, key_of, setting
from servicedb.postgres.migrations.stepwise import Stepwise
from servicedb.postgres.migrations.tables import exists, prepare

T = TypeVar("T")


def look(
    connect_to: Connect, scope: Scope, guards: Guards, theirs: Foreign | None = None, source: Sequence[Migration] = ()
) -> History:
    """The history as it is, without a lock and without making one where there is none.

    Where it is empty, what would be taken over of `theirs`, another tool's. Raises what taking it over would.
    """
    with connect(connect_to, guards) as connection, failing_at(None):
        if scope.schema:
            connection.execute(setting({"search_path": _path(scope)}))
        table = table_of(connection, theirs) if theirs is not None else None
        with bookkeeping(connection):
            found = history.read(connection, scope) if exists(connection) else History()
            if theirs is None or found.applied:
                return found
            return replace(found, applied=tuple(of_others(connection, table, theirs, source)))


def _path(scope: Scope) -> str:
    """A tenant's session sees its schema, and what all share."""
    return sql.SQL("{}, extensions").format(sql.Identifier(scope.schema)).as_string()


@dataclass(slots=True)
class Work:
    """Alone at `scope`, from `renew` to `close`.

    Every method but `renew` raises StatementFailed where the server says no.
    """

    connect_to: Connect
    scope: Scope
    guards: Guards
    tell: Tell
    wait: float | None = None
    _held: Held | None = None
    _watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self._watch = Watch(self.connect_to, max(self.guards.lock_timeout / 3000, 0.2))

    @property
    def blockers(self) -> tuple[Blocker, ...]:
        """Those whom the last step waited for in the end."""
        return self._watch.blockers

    def renew(self, *, patiently: bool = True) -> None:
        """A new session with the lock: a script's settings, role and temporary tables end with the one before.

        Raises a Problem where there is none to be had. `patiently`: a mounted Secret is given its time to change.
        """
        before, self._held = self._held, None
        key = key_of("migrations", self.scope.set_name, self.scope.schema)
        try:
            self._held = held(
                self.connect_to, self.guards, key, before=before, tell=self.tell, wait=self.wait, patiently=patiently
            )
        except BaseException:
            if before is not None:
                before.close()
            raise
        with failing_at(None):
            if before is None:
                prepare(self._connection)
            if self.scope.schema:
                self._held.see(_path(self.scope))

    def refresh(self) -> bool:
        """The session as if it were new, with the lock all the while: nobody else has come to the history. False where
        that can't be had: there is a new session then. Raises as `renew` does."""
        if self._held is None or not self._held.reset():
            self.renew()
            return False
        return True

    def close(self) -> None:
        self._watch.close()
        if self._held is not None:
            self._held.close()
            self._held = None

    def history(self) -> History:
        return self._noted(lambda connection: history.read(connection, self.scope))

    def apply(self, step: Apply, *, decisions: Sequence[Decision], source_digest: str | None, again: bool) -> int:
        """Carry out a migration; gives its milliseconds. Raises NeedsDecision and Terminal, too."""
        migration, script = step.migration, step.script
        down = migration.down
        one = Applied(
            migration.key,
            migration.name,
            migration.file,
            migration.checksum,
            down=down.text if down else None,
            down_in_transaction=down.in_transaction if down else True,
        )
        with self._watched():
            if script.in_transaction:
                return transactional.apply(
                    self._connection, self.scope, one, script, source_digest=source_digest, again=again
                )
            stepwise = Stepwise(self._connection, self.scope, one, script, decisions)
            return stepwise.apply(goes_on=step.goes_on, again=again, source_digest=source_digest)

    def revert(self, step: Revert, *, decisions: Sequence[Decision]) -> int:
        """Take a migration back; gives its milliseconds. Raises NeedsDecision and Terminal, too."""
        with self._watched():
            if step.script.in_transaction:
                return transactional.revert(self._connection, self.scope, step.applied.key, step.script)
            stepwise = Stepwise(self._connection, self.scope, step.applied, step.script, decisions)
            return stepwise.revert(goes_on=step.goes_on)

    def run_hook(self, script: Script) -> None:
        """Carry out a script that no history holds."""
        with self._watched():
            transactional.run_script(self._connection, script)

    def adopt(self, foreign: Foreign, source: Sequence[Migration], source_digest: str | None) -> int:
        """Take over the history of another tool, where there is none of ours; gives how many. Raises Terminal, too."""
        with failing_at(None):
            return adopt(self._connection, self.scope, foreign, source, source_digest)

    def applied_seeds(self) -> dict[str, str]:
        """Files and checksums of the seeds that were run."""
        return seeds.applied_seeds(self._connection, self.scope)

    def seed(self, one: Applied, script: Script) -> int:
        """Run one file of seeds; gives how many rows it inserted."""
        with self._watched():
            return seeds.seed(self._connection, lambda: connect(self.connect_to, self.guards), self.scope, one, script)

    def clear_seeds(self) -> int:
        """Take back what seeds inserted; gives how many rows that were."""
        with self._watched():
            return seeds.clear(self._connection, self.scope)

    def take_checksum(self, step: TakeChecksum) -> None:
        key = step.migration.key
        self._noted(lambda connection: history.take_checksum(connection, self.scope, key, step.checksum))

    def keep_failure(self, problem: Problem, place: Place) -> None:
        """Also in the database, where there is still a way to it: what a pod says can be lost."""
        with contextlib.suppress(Problem, StatementFailed):
            self.renew(patiently=False)
            self._noted(lambda connection: history.note_failure(connection, self.scope, problem, place))

    def forget_failure(self) -> None:
        self._noted(lambda connection: history.forget_failure(connection, self.scope))

    def last_action(self) -> tuple[str, str | None] | None:
        """The set's latest action and who asked for it."""
        return self._noted(lambda connection: history.last_action(connection, self.scope.set_name))

    def note_action(self, action: str, identity: str | None, source_digest: str | None) -> None:
        name = self.scope.set_name
        self._noted(lambda connection: history.note_action(connection, name, action, identity, source_digest))

    @property
    def _connection(self) -> Connection[Any]:
        if self._held is None:
            raise RuntimeError("no session: renew first")
        return self._held.connection

    def _noted(self, work: Callable[[Connection[Any]], T]) -> T:
        with failing_at(None), bookkeeping(self._connection):
            return work(self._connection)

    def _watched(self) -> AbstractContextManager[None]:
        return self._watch.step(self._connection)
