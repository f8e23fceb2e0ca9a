"""One MigrationRun: observe, plan, execute, report. The work itself is a Job's; here it is begun and read.

Safe to be killed between any two lines: which Job there has to be follows from what is asked, by its name.
"""

from servicedb.api.migration_run import MigrationRun
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Problem, Retryable
from servicedb.kube import resources
from servicedb.kube.resources import MIGRATION_RUNS, SERVICE_DATABASES, Key
from servicedb.plan.conditions import READY, RECONCILING, Finding, condition_of
from servicedb.plan.migration_admission import (
    check_alone,
    check_environment,
    check_ready,
    waits_because,
)
from servicedb.plan.migration_key import run_key
from servicedb.plan.migration_standing import SUCCEEDED, is_settled, refused
from servicedb.plan.steps import BeginRun
from servicedb.reconcile.migration_files import read_source
from servicedb.reconcile.migration_work import Run, follow, report_settled
from servicedb.reconcile.report import WORKING, report
from servicedb.reconcile.world import World


async def reconcile(key: Key, world: World) -> float | None:
    """Bring one MigrationRun to its spec, and say how it stands.

    Raises the Retryable that came in between, after it was reported.
    """
    body = await world.kube.get(key.path)
    if body is None:
        return None
    run = MigrationRun.parse(body)
    if run.metadata.deletion_timestamp is not None:
        return None
    await _begin(key, run, world)
    try:
        return await _bring(key, run, world)
    except Problem as problem:
        await report(world, key, run, refused(run, problem))
        if isinstance(problem, Retryable):
            raise
        return None


async def _begin(key: Key, run: MigrationRun, world: World) -> None:
    """Say at the first visit to a new spec that it is being worked on, and that its end is open."""
    if run.status.observed_generation == run.metadata.generation:
        return
    world.step(BeginRun("a spec that was not worked on yet"))
    message = WORKING[0].message
    first = [Finding(READY, "Unknown", "Working", message)] if _is_new(run) else []
    await report(world, key, run, (*first, Finding(SUCCEEDED, "Unknown", "Working", message), *WORKING))


def _is_new(run: MigrationRun) -> bool:
    return condition_of(run.status.conditions, READY) is None


async def _bring(key: Key, run: MigrationRun, world: World) -> float | None:
    check_alone(run, await _runs_of_the_database(run, world))
    database = await _database(run, world)
    if (why := waits_because(database)) is not None:
        await report(world, key, run, [Finding(RECONCILING, "False", "Suspended", why)])
        return None
    check_environment(run.spec, database)
    if database.status.database_oid is None:
        check_ready(database)
    source = await read_source(run, world)
    wanted = run_key(run, source_digest=source.asked, database_oid=database.status.database_oid or "")
    if run.status.observed_generation == run.metadata.generation and is_settled(run, wanted.value):
        return await report_settled(key, run, world)
    return await follow(Run(key, run, database, wanted, source, world))


async def _runs_of_the_database(run: MigrationRun, world: World) -> list[dict[str, object]]:
    """All MigrationRuns for the same database, from the API server itself: of a second one nobody may be too late."""
    path = resources.collection_in(run.metadata.namespace, MIGRATION_RUNS)
    selector = f"spec.databaseRef.name={run.spec.database_ref.name}"
    return [one async for one in world.kube.list(path, fieldSelector=selector)]


async def _database(run: MigrationRun, world: World) -> ServiceDatabase:
    name = run.spec.database_ref.name
    body = await world.kube.get(Key(SERVICE_DATABASES, run.metadata.namespace, name).path)
    if body is None:
        raise Retryable(
            "DatabaseNotFound",
            f'there is no ServiceDatabase "{name}" in namespace "{run.metadata.namespace}"; create it, or make this '
            "object anew with another spec.databaseRef",
        )
    return ServiceDatabase.parse(body)
