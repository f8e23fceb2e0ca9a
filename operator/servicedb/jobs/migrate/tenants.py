"""One set over many schemas: some first, then the rest side by side, until too many have failed."""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from servicedb.errors import Terminal
from servicedb.jobs.migrate.request import Request, Tenants
from servicedb.jobs.migrate.result import Result, TenantResults
from servicedb.jobs.migrate.run import Way, run
from servicedb.jobs.outcome import OutcomeName
from servicedb.plan.migrations.source import Source
from servicedb.postgres.migrations.history import Scope
from servicedb.postgres.migrations.tenants import create, schemas

_WORST: tuple[OutcomeName, ...] = ("Succeeded", "Retryable", "NeedsDecision", "Terminal")


def run_tenants(request: Request, tenants: Tenants, source: Source, way: Way, result: Result) -> None:
    """The run in each schema, with a history of its own. Those that were not begun resume in the next run.

    Raises Terminal where there is no schema to migrate, and StatementFailed where they can't be read.
    """
    if tenants.create:
        create(way.connect_to, way.guards, tenants.names)
    found = schemas(way.connect_to, way.guards, pattern=tenants.pattern, names=tenants.names, query=tenants.query)
    if not found:
        raise Terminal("NoTenants", "no schema is a tenant: neither the pattern, the list nor the query names one")
    result.tenants = TenantResults(total=len(found))
    for schema in found[: tenants.canary]:
        _finish(result, schema, _one(request, source, schema, way))
        if result.tenants.failed:
            break
    if not result.tenants.failed:
        _side_by_side(request, tenants, source, way, result, found[tenants.canary :])
    left = len(found) - result.tenants.succeeded - result.tenants.failed
    if result.tenants.failed:
        result.message = (
            f"{result.tenants.failed} of {len(found)} tenants failed, {left} were not begun; " + result.message
        )
    else:
        result.reason = "Applied" if result.applied else "UpToDate"


def _side_by_side(
    request: Request, tenants: Tenants, source: Source, way: Way, result: Result, found: Sequence[str]
) -> None:
    waiting = list(found)
    with ThreadPoolExecutor(max_workers=tenants.parallel) as pool:
        running: dict[Future[Result], str] = {}
        while running or waiting:
            while waiting and len(running) < tenants.parallel and _may_go_on(result, tenants):
                schema = waiting.pop(0)
                running[pool.submit(_one, request, source, schema, way)] = schema
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                _finish(result, running.pop(future), future.result())


def _may_go_on(result: Result, tenants: Tenants) -> bool:
    return result.tenants is None or result.tenants.failed <= tenants.max_failures


def _one(request: Request, source: Source, schema: str, way: Way) -> Result:
    result = Result(request.action, request.set_name)
    tell = way.tell
    run(
        request,
        source,
        Scope(request.set_name, schema),
        replace(way, tell=lambda line: tell(f"{schema}: {line}")),
        result,
    )
    return result


def _finish(result: Result, schema: str, one: Result) -> None:
    if (tenants := result.tenants) is None:
        return
    result.applied += one.applied
    if one.outcome == "Succeeded":
        tenants.succeeded += 1
        return
    tenants.failed += 1
    tenants.failing.append(schema)
    if _WORST.index(one.outcome) > _WORST.index(result.outcome):
        result.outcome, result.reason, result.failed = one.outcome, one.reason, one.failed
        result.message = f"{schema}: {one.message}"
