"""A run of migrations in one schema: one step at a time, each seen anew in the history.

Between any two steps the process can be killed: what is done is what the database says.
"""

import random
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from servicedb.errors import Busy, Retryable, Terminal
from servicedb.jobs.migrate.request import Request
from servicedb.jobs.migrate.result import Done, Result, Seeded
from servicedb.naming import HISTORY_SCHEMA
from servicedb.plan.migrations.adoption import Foreign
from servicedb.plan.migrations.checksum import checksum
from servicedb.plan.migrations.down import Revert, plan_down
from servicedb.plan.migrations.failure import AGAIN, Failure, StatementFailed, failure
from servicedb.plan.migrations.history import Applied, History
from servicedb.plan.migrations.script import Script, pieces, script
from servicedb.plan.migrations.source import Source
from servicedb.plan.migrations.up import Apply, Step, TakeChecksum, UpPlan, plan_up
from servicedb.plan.migrations.versions import Version
from servicedb.postgres.migrations.session import REFUSED
from servicedb.postgres.migrations.work import Work

T = TypeVar("T")

_KEY_OF_HISTORY = ("23505", HISTORY_SCHEMA, "history_pkey")
"""What a rival's row violates. A table of the user's may be called history, too: its schema is another."""

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0


class Failed(Exception):
    """The run ends: a statement failed for good, or as often as it may."""

    def __init__(self, failed: Failure) -> None:
        super().__init__(failed.problem.reason)
        self.failure = failed


def planned(request: Request, source: Source, history: History) -> UpPlan:
    """What going up would do. Raises what `plan_up` raises."""
    return plan_up(
        source.migrations,
        history,
        target=request.target,
        allow_out_of_order=request.allow_out_of_order,
        decisions=request.decisions,
    )


class Engine:
    """The steps of one run in one schema, with their second tries. `result` grows with what is done."""

    def __init__(self, request: Request, source: Source, work: Work, result: Result) -> None:
        self._request = request
        self._source = source
        self._work = work
        self._result = result
        self._tries = 0
        self._version: Version | None = None

    def up(self) -> None:
        """To the target. Raises Problem and Failed."""
        if (theirs := self._request.adopt) is not None:
            self._adopt(theirs)
        plan = self._plan_up(first=True, as_new=True)
        migrates = any(isinstance(step, Apply) for step in plan.steps)
        if migrates:
            self._hooks(self._source.before)
        while plan.steps:
            as_new = self._follow(plan.steps)
            plan = self._plan_up(as_new=as_new)
        if migrates:
            self._hooks(self._source.after)
        if self._request.environment is not None:
            self.seed(self._request.environment)
        self._result.reason = "DatabaseAhead" if plan.ahead else "Applied" if self._result.applied else "UpToDate"
        if plan.ahead:
            self._result.message = (
                f"the database is ahead of the source, which was set back: it has {', '.join(plan.ahead)} as well; "
                "nothing is taken back without being asked"
            )

    def seed(self, environment: str) -> None:
        """The seeds of `environment` that are new or were changed. Raises Problem and Failed."""
        if environment not in self._source.seeds:
            raise Terminal("NoSeeds", f"the source holds no seeds/{environment}/*.sql")
        files = self._source.seeds[environment]
        known = self._surely("the history", self._work.applied_seeds)
        for file in sorted(files):
            digest = checksum(files[file])
            if known.get(file) == digest:
                continue
            text = script(pieces(files[file], file=file), file=file)
            one = Applied(f"seed:{file}", file.rpartition("/")[2], file, digest)
            rows = self._surely(file, lambda one=one, text=text: self._work.seed(one, text))  # type: ignore[misc]
            self._result.seeds.append(Seeded(file, rows))
            self._work.tell(f"{file}: {rows} rows")
            self._work.renew()
        self._result.reason = "Seeded"

    def clear_seeds(self) -> None:
        """Take back what seeds inserted. Raises Problem and Failed."""
        rows = self._surely("the seeds", self._work.clear_seeds)
        self._work.tell(f"{rows} rows taken back")
        self._result.reason = "SeedsCleared"

    def _adopt(self, theirs: Foreign) -> None:
        source = self._source
        count = self._surely(theirs.table, lambda: self._work.adopt(theirs, source.migrations, source.digest))
        if count:
            self._work.tell(f"{theirs.table}: {count} migrations taken over")

    def down(self, target: Version) -> None:
        """Back to `target`. Raises Problem and Failed."""
        steps = self._plan_down(target, first=True)
        while steps:
            self._revert(steps[0])
            steps = self._plan_down(target)
        self._result.reason = "Reverted" if self._result.applied else "UpToDate"

    def _plan_up(self, *, first: bool = False, as_new: bool) -> UpPlan:
        history = self._look(first=first, as_new=as_new)
        plan = planned(self._request, self._source, history)
        self._result.pending = [step.migration.key for step in plan.steps if isinstance(step, Apply)]
        return plan

    def _plan_down(self, target: Version, *, first: bool = False) -> tuple[Revert, ...]:
        steps = plan_down(self._look(first=first, as_new=first), target)
        self._result.pending = [step.applied.key for step in steps]
        return steps

    def _look(self, *, first: bool, as_new: bool) -> History:
        """The history, in a session that is `as_new` or in a new one: nothing of the script before is left in it."""
        if not as_new:
            self._work.renew()
        history = self._surely("the history", self._work.history)
        self._at(history.version)
        if first:
            self._result.from_version = self._result.version
        return history

    def _follow(self, steps: Sequence[Step]) -> bool:
        """As many of `steps` as go well one after the other, and nobody else can have come in between. Whether that was
        all of them: the session is as new then."""
        return all(self._step(step) and self._work.refresh() for step in steps)

    def _step(self, step: Step) -> bool:
        """Whether it is done; else it may be tried again."""
        migration = step.migration
        if isinstance(step, TakeChecksum):
            self._surely(migration.file, lambda: self._work.take_checksum(step))
            return True
        again = migration.version is None and step.reason == "changed" and not step.goes_on
        took = self._try(
            migration.file,
            lambda: self._work.apply(
                step, decisions=self._request.decisions, source_digest=self._source.digest, again=again
            ),
            version=migration.key,
        )
        if took is None:
            return False
        self._note(Done(migration.key, migration.name, migration.checksum, took[0]), migration.file)
        self._result.pending.remove(migration.key)
        if migration.version is not None and (self._version is None or migration.version > self._version):
            self._at(migration.version)
        return True

    def _at(self, version: Version | None) -> None:
        self._version, self._result.version = version, _text(version)

    def _revert(self, step: Revert) -> None:
        one = step.applied
        took = self._try(
            step.script.file, lambda: self._work.revert(step, decisions=self._request.decisions), version=one.key
        )
        if took is not None:
            self._note(Done(one.key, one.name, one.checksum, took[0]), f"{one.file}, taken back")

    def _note(self, done: Done, what: str) -> None:
        self._tries = 0
        self._result.applied.append(done)
        self._work.tell(f"{what}: {done.milliseconds} ms")

    def _hooks(self, scripts: tuple[Script, ...]) -> None:
        for hook in scripts:
            self._surely(hook.file, lambda hook=hook: self._work.run_hook(hook))  # type: ignore[misc]

    def _surely(self, file: str, work: Callable[[], T]) -> T:
        """`work`, as often as it may be tried."""
        while (given := self._try(file, work)) is None:
            pass
        return given[0]

    def _try(self, file: str, work: Callable[[], T], *, version: str | None = None) -> tuple[T] | None:
        """What `work` gives; None where it failed and may be tried again, in the new session that there is then."""
        try:
            given = work()
        except StatementFailed as failed:
            if (failed.sqlstate, failed.schema, failed.constraint) == _KEY_OF_HISTORY:
                return None  # a rival was faster: the history says how far it got
            found = failure(failed, version=version, file=file, detail=self._request.detail)
            self._pause_or_raise(found)
            return None
        return (given,)

    def _pause_or_raise(self, found: Failure) -> None:
        ours = [str(blocker) for blocker in self._work.blockers if blocker.is_ours]
        if found.place.sqlstate in AGAIN and ours:
            self._work.tell(f"waiting for {', '.join(ours)}")
        elif isinstance(found.problem, Retryable) and self._tries < self._request.retries:
            self._tries += 1
            others = ", ".join(map(str, self._work.blockers))
            by = f", held up by {others}" if others else ""
            self._work.tell(f"{found.problem.message}{by}; try {self._tries} of {self._request.retries} follows")
        else:
            raise Failed(found)
        while True:
            longest = min(_FIRST_PAUSE_SECONDS * 2**self._tries, _LONGEST_PAUSE_SECONDS)
            time.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - spreads out those who try again, no secret
            try:
                self._work.renew()
            except Busy:
                raise
            except Retryable as away:
                if self._tries >= self._request.retries or away.reason == REFUSED:
                    raise
                self._tries += 1
                self._work.tell(f"{away.message}; try {self._tries} of {self._request.retries} follows")
            else:
                return


def _text(version: Version | None) -> str | None:
    return None if version is None else str(version)
