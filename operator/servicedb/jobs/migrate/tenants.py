"""One set over many schemas: some first, then the rest side by side, until too many have failed."""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace

from servicedb.errors import Problem, Retryable, Terminal
from servicedb.jobs.migrate.look import compare
from servicedb.jobs.migrate.request import Action, Request, Tenants
from servicedb.jobs.migrate.result import Result, TenantResults
from servicedb.jobs.migrate.run import Way, run
from servicedb.jobs.outcome import OutcomeName
from servicedb.plan.migrations.failure import StatementFailed, failure
from servicedb.plan.migrations.source import Source
from servicedb.plan.migrations.tenants import check_there
from servicedb.plan.migrations.versions import Version
from servicedb.postgres.migrations.history import Scope
from servicedb.postgres.migrations.tenants import create, missing, schemas
from servicedb.postgres.migrations.work import Work, look

_WORST: tuple[OutcomeName, ...] = ("Succeeded", "Retryable", "NeedsDecision", "Terminal")
_NOT_MADE_YET = frozenset({"42P01", "3F000"})
"""SQLSTATE of a table or a schema that is not there."""

_CHANGES = "25006"
"""Of what a read-only transaction refuses."""

_REASONS = ("DatabaseAhead", "Applied", "Reverted", "Seeded", "SeedsCleared", "Planned", "Verified", "Status")
"""What is said of all where it is true of one: the first of these. Else nothing was to be done."""


def run_tenants(request: Request, tenants: Tenants, source: Source, way: Way, result: Result) -> None:
    """The run in each schema, with a history of its own. Those that were not begun resume in the next run.

    Raises Terminal where there is no schema to migrate, and StatementFailed where they can't be read.
    """
    found = _schemas(request, tenants, way)
    if not found:
        raise Terminal("NoTenants", "no schema is a tenant: neither the pattern, the list nor the query names one")
    if request.identity is not None and _last_action(request, way) == (request.action, request.identity):
        result.reason = "AlreadyDone"
        return
    if request.action is Action.UP and tenants.create:
        create(way.connect_to, way.guards, missing(way.connect_to, way.guards, found))
    elif request.action in (Action.UP, Action.SEED):
        check_there(missing(way.connect_to, way.guards, found), listed=tenants.names)
    _Tenants(request, tenants, source, way, result).go_through(found)
    if result.outcome == "Succeeded" and request.identity is not None:
        _note_action(request, source, way)


def _schemas(request: Request, tenants: Tenants, way: Way) -> list[str]:
    try:
        return schemas(way.connect_to, way.guards, pattern=tenants.pattern, names=tenants.names, query=tenants.query)
    except StatementFailed as failed:
        problem = failure(failed, version=None, file="the query for the tenants", detail=request.detail).problem
        if tenants.query is not None and failed.sqlstate in _NOT_MADE_YET:
            raise Retryable(
                "TenantsUnknown", f"{problem.message}: another set is to make it first, or the query is wrong"
            ) from None
        if tenants.query is not None and failed.sqlstate == _CHANGES:
            raise Terminal("BadTenantQuery", "the query for the tenants changes something; let it only read") from None
        raise problem from None


class _Tenants:
    """Their results, gathered in one."""

    def __init__(self, request: Request, tenants: Tenants, source: Source, way: Way, result: Result) -> None:
        self._request = replace(request, identity=None)  # one that is done in one schema is not done in the next
        self._tenants = tenants
        self._source = source
        self._way = way
        self._result = result
        self._ended: dict[str, Result] = {}

    def go_through(self, found: Sequence[str]) -> None:
        canary = 0 if self._request.action.only_looks else self._tenants.canary
        self._result.tenants = TenantResults(total=len(found))
        for schema in found[:canary]:
            self._finish(schema, self._one(schema))
            if self._failed:
                break
        if not self._failed:
            self._side_by_side(found[canary:])
        self._sum_up(found)

    @property
    def _failed(self) -> int:
        return sum(one.outcome != "Succeeded" for one in self._ended.values())

    def _may_go_on(self) -> bool:
        return self._request.action.only_looks or self._failed <= self._tenants.max_failures

    def _side_by_side(self, found: Sequence[str]) -> None:
        waiting = list(found)
        with ThreadPoolExecutor(max_workers=self._tenants.parallel) as pool:
            running: dict[Future[Result], str] = {}
            while running or waiting:
                while waiting and len(running) < self._tenants.parallel and self._may_go_on():
                    schema = waiting.pop(0)
                    running[pool.submit(self._one, schema)] = schema
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    self._finish(running.pop(future), future.result())

    def _one(self, schema: str) -> Result:
        request, result = self._request, Result(self._request.action, self._request.set_name)
        scope = Scope(request.set_name, schema)
        way = replace(self._way, tell=lambda line: self._way.tell(f"{schema}: {line}"))
        if not request.action.only_looks:
            run(request, self._source, scope, way, result)
            return result
        try:
            seen = look(way.connect_to, scope, way.guards, request.adopt, self._source.migrations)
            compare(request, self._source, seen, result)
            way.tell(f"{result.version or 'no version'}, {len(result.pending)} pending")
        except StatementFailed as failed:
            problem = failure(failed, version=None, file="the history", detail=request.detail)
            result.failed_with(problem.problem, problem.place)
        except Problem as problem:
            result.failed_with(problem)
        return result

    def _finish(self, schema: str, one: Result) -> None:
        self._ended[schema] = one
        result, tenants = self._result, self._result.tenants
        if tenants is None:
            return
        listed = {done.version for done in result.applied}
        result.applied += [done for done in one.applied if done.version not in listed]
        result.pending += [key for key in one.pending if key not in result.pending]
        if one.outcome == "Succeeded":
            tenants.succeeded += 1
            return
        tenants.failed += 1
        tenants.failing.append(schema)
        if _WORST.index(one.outcome) > _WORST.index(result.outcome):
            result.outcome, result.reason, result.failed = one.outcome, one.reason, one.failed
            result.message = f"{schema}: {one.message}"

    def _sum_up(self, found: Sequence[str]) -> None:
        """What the results have in common, in an order that does not tell who was first; `version` is that of the
        tenant that is furthest behind."""
        result, ended = self._result, self._ended
        place = {migration.key: number for number, migration in enumerate(self._source.migrations)}
        result.pending.sort(key=lambda key: place.get(key, len(place)))
        result.applied.sort(key=lambda done: place.get(done.version, len(place)))
        if result.tenants is not None:
            result.tenants.failing.sort()
        for one in ended.values():
            for seeded in one.seeds:
                result.add_seeded(seeded)
        if len(ended) == len(found):
            result.version = _lowest([one.version for one in ended.values()])
            result.from_version = _lowest([one.from_version for one in ended.values()])
        if self._failed:
            left = len(found) - len(ended)
            result.message = f"{self._failed} of {len(found)} tenants failed, {left} were not begun; " + result.message
            return
        reasons = [one.reason for one in ended.values()]
        result.reason = next((reason for reason in _REASONS if reason in reasons), "UpToDate")
        if ahead := [schema for schema, one in ended.items() if one.reason == "DatabaseAhead"]:
            result.message = f"{len(ahead)} of {len(found)} tenants; {ahead[0]}: {ended[ahead[0]].message}"


def _lowest(versions: Sequence[str | None]) -> str | None:
    known = [Version.parse(version) for version in versions if version is not None]
    return str(min(known)) if known and len(known) == len(versions) else None


def _last_action(request: Request, way: Way) -> tuple[str, str | None] | None:
    with closing(_whole(request, way)) as work:
        return work.last_action()


def _note_action(request: Request, source: Source, way: Way) -> None:
    """It is done, in every schema."""
    with closing(_whole(request, way)) as work:
        work.note_action(request.action, request.identity, source.digest)


def _whole(request: Request, way: Way) -> Work:
    """A session for what is noted of the set in all schemas."""
    work = Work(way.connect_to, Scope(request.set_name), way.guards, way.tell, request.wait)
    work.renew()
    return work
