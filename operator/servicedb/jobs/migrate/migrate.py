"""The entry: a request, the source's files and a way to the database come in, a result goes out."""

from collections.abc import Mapping
from dataclasses import replace

from servicedb.errors import Problem, Retryable
from servicedb.jobs.migrate.engine import planned
from servicedb.jobs.migrate.request import Action, Request
from servicedb.jobs.migrate.result import Result, Row
from servicedb.jobs.migrate.run import Way, run
from servicedb.jobs.migrate.tenants import run_tenants
from servicedb.plan.migrations.archive import unpacked
from servicedb.plan.migrations.failure import StatementFailed, failure
from servicedb.plan.migrations.history import History, State
from servicedb.plan.migrations.source import Source, digest, read_source
from servicedb.plan.migrations.up import Apply, UpPlan
from servicedb.postgres.migrations.history import Scope
from servicedb.postgres.migrations.session import Connect, Guards, Tell
from servicedb.postgres.migrations.work import look


def migrate(request: Request, files: Mapping[str, bytes], connect_to: Connect, tell: Tell = lambda _: None) -> Result:
    """Do what is asked. Never raises a Problem: the result holds it, and the database the last one of a run.

    `files` are the source's paths and contents, `connect_to` gives a connection string before each connect, `tell`
    takes a line a migration.
    """
    result = Result(request.action, request.set_name)
    scope = Scope(request.set_name)
    guards = Guards(request.lock_timeout, request.statement_timeout)
    try:
        source = _source(request, files)
        result.source_digest = source.digest
        if request.action in (Action.STATUS, Action.PLAN, Action.VERIFY):
            seen = look(connect_to, scope, guards, request.adopt, source.migrations)
            _look(request, source, seen, result)
        elif request.tenants is not None:
            run_tenants(request, request.tenants, source, Way(connect_to, guards, tell), result)
        else:
            run(request, source, scope, Way(connect_to, guards, tell), result)
    except StatementFailed as failed:
        found = failure(failed, version=None, file="the history", detail=request.detail)
        result.failed_with(found.problem, found.place)
    except Problem as problem:
        result.failed_with(problem)
    return result


def _source(request: Request, files: Mapping[str, bytes]) -> Source:
    if request.action in (Action.DOWN, Action.CLEAR_SEEDS):
        files = {}  # the way back is in the history: a source that can't be read does not stand in it
        return Source((), (), (), {}, "")
    seen = digest(files)
    if request.source_digest not in (None, seen):
        raise Retryable(
            "SourceChanged",
            f"the source is {seen}, not {request.source_digest}, which was asked for; it changed meanwhile",
        )
    if request.archives:
        files = unpacked(files)
    source = read_source(files, format=request.format, before=request.before, after=request.after)
    return replace(source, digest=seen)


def _look(request: Request, source: Source, history: History, result: Result) -> None:
    """What status, plan and verify have in common: nothing is done, and what is wrong is said."""
    result.from_version = result.version = _version(history)
    result.reason = {"Status": "Status", "Plan": "Planned", "Verify": "Verified"}[request.action]
    plan, problem = UpPlan(()), None
    try:
        plan = planned(request, source, history)
    except Problem as found:
        problem = found
    result.pending = [step.migration.key for step in plan.steps if isinstance(step, Apply)]
    shown = rows(source, history)
    result.rows = [row for row in shown if row.state != "applied"] if request.action is Action.PLAN else shown
    if problem is not None:
        result.failed_with(problem)
    elif plan.ahead:
        result.reason = "DatabaseAhead"


def rows(source: Source, history: History) -> list[Row]:
    """Every migration of either, in order, and where it stands."""
    found = []
    for migration in source.migrations:
        applied = history.find(migration.key)
        if applied is None:
            state = "pending"
        elif applied.state is not State.APPLIED:
            state = str(applied.state)
        else:
            state = "applied" if applied.checksum in (None, migration.checksum) else "changed"
        found.append(Row(migration.key, migration.name, state, applied.milliseconds if applied else None))
    known = {migration.key for migration in source.migrations}
    found += [
        Row(one.key, one.name, "missing" if one.state is State.APPLIED else str(one.state), one.milliseconds)
        for one in history.applied
        if one.key not in known
    ]
    return found


def _version(history: History) -> str | None:
    return None if history.version is None else str(history.version)
