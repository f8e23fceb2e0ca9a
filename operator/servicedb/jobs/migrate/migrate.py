"""The entry: a request, the source's files and a way to the database come in, a result goes out."""

from collections.abc import Mapping

from servicedb.errors import Problem, Retryable
from servicedb.jobs.migrate.look import compare
from servicedb.jobs.migrate.request import Action, Request
from servicedb.jobs.migrate.result import Result
from servicedb.jobs.migrate.run import Way, run
from servicedb.jobs.migrate.tenants import run_tenants
from servicedb.jobs.outcome import unforeseen
from servicedb.plan.migrations.archive import unpacked
from servicedb.plan.migrations.failure import StatementFailed, failure
from servicedb.plan.migrations.source import Source, digest, read_source
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
        if request.tenants is not None:
            run_tenants(request, request.tenants, source, Way(connect_to, guards, tell), result)
        elif request.action.only_looks:
            seen = look(connect_to, scope, guards, request.adopt, source.migrations)
            compare(request, source, seen, result)
        else:
            run(request, source, scope, Way(connect_to, guards, tell), result)
    except StatementFailed as failed:
        found = failure(failed, version=None, file="the history", detail=request.detail)
        result.failed_with(found.problem, found.place)
    except Problem as problem:
        result.failed_with(problem)
    except Exception as error:  # noqa: BLE001 - whatever it was, the pod's last message has to say it
        result.failed_with(unforeseen(error))
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
    return read_source(files, format=request.format, before=request.before, after=request.after, seen=seen)
