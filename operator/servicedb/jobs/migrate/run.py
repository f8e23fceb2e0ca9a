"""One run in one schema, from the lock to the note of what came of it."""

from dataclasses import dataclass

from servicedb.errors import Problem, Terminal
from servicedb.jobs.migrate.engine import Engine, Failed
from servicedb.jobs.migrate.request import Action, Request
from servicedb.jobs.migrate.result import Result
from servicedb.plan.migrations.failure import StatementFailed, failure
from servicedb.plan.migrations.problems import Place
from servicedb.plan.migrations.source import Source
from servicedb.postgres.migrations.history import Scope
from servicedb.postgres.migrations.session import Connect, Guards, Tell
from servicedb.postgres.migrations.work import Work


@dataclass(frozen=True, slots=True)
class Way:
    """To the database, and to the person who watches."""

    connect_to: Connect
    guards: Guards
    tell: Tell


def run(request: Request, source: Source, scope: Scope, way: Way, result: Result) -> None:
    """What is asked, in `scope`. Raises nothing: `result` holds what is wrong, and so does the database."""
    work = Work(way.connect_to, scope, way.guards, way.tell, request.wait)
    try:
        _run(request, source, work, result)
    except Failed as failed:
        result.failed_with(failed.failure.problem, failed.failure.place)
    except StatementFailed as failed:
        found = failure(failed, version=None, file="the history", detail=request.detail)
        result.failed_with(found.problem, found.place)
    except Problem as problem:
        result.failed_with(problem)
    finally:
        work.close()


def _run(request: Request, source: Source, work: Work, result: Result) -> None:
    work.renew()
    if request.identity is not None and work.last_action() == (request.action, request.identity):
        result.reason = "AlreadyDone"
        history = work.history()
        result.version = result.from_version = None if history.version is None else str(history.version)
        return
    engine = Engine(request, source, work, result)
    try:
        if request.action is Action.UP:
            engine.up()
        elif request.action is Action.SEED:
            engine.seed(request.environment or "")
        elif request.action is Action.CLEAR_SEEDS:
            engine.clear_seeds()
        elif request.target is None:
            raise Terminal("MissingTarget", "down needs the version to go back to; 0 is before all")
        else:
            engine.down(request.target)
    except Failed as failed:
        work.keep_failure(failed.failure.problem, failed.failure.place)
        raise
    except Problem as problem:
        work.keep_failure(problem, getattr(problem, "place", Place()))
        raise
    work.forget_failure()
    work.note_action(request.action, request.identity, source.digest)
