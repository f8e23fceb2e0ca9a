"""The Job of a MigrationRun: made, watched over, read, and taken away."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from servicedb.api.common import HANDLED_LENGTH, RECONCILE_AT
from servicedb.api.migration_run import MigrationRun
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Retryable
from servicedb.kube import jobs
from servicedb.kube.client import Json
from servicedb.kube.resources import SERVICE_DATABASES, Key
from servicedb.plan.conditions import READY, RECONCILING, Finding, condition_of
from servicedb.plan.job_status import ended_at, is_at_work, job_state, last_words, waiting_for
from servicedb.plan.migration_admission import check_ready
from servicedb.plan.migration_files import Seen
from servicedb.plan.migration_image import source_image
from servicedb.plan.migration_job import job
from servicedb.plan.migration_key import RunKey
from servicedb.plan.migration_order import Order
from servicedb.plan.migration_result import result_of
from servicedb.plan.migration_standing import ended, seen_in, settled
from servicedb.plan.steps import CreateJob, DeleteJob, NoteResult
from servicedb.reconcile.job_ground import check_service_account, endpoint, image
from servicedb.reconcile.queue import TryAgain
from servicedb.reconcile.report import report
from servicedb.reconcile.required_backup import check_backup
from servicedb.reconcile.world import World

_SOON, _LATER = 1.0, 5.0
_YOUNG = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class Run:
    """A run that has not come to its end, with what it was seen to need."""

    key: Key
    resource: MigrationRun
    database: ServiceDatabase
    wanted: RunKey
    source: Seen
    world: World


async def follow(run: Run) -> float | None:
    """Make the run's Job, look how far it is, or report what it has come to; gives the seconds until the next look.

    Raises the Retryable that a Job has come to, once it was reported and the Job is gone.
    """
    kube = run.world.kube
    found = await jobs.jobs_of(kube, run.resource.metadata.namespace, run.resource.metadata.uid)
    for earlier in found:
        if earlier["metadata"]["name"] != run.wanted.job_name and not await _is_out_of_the_way(run, earlier):
            return _SOON
    current = next((one for one in found if one["metadata"]["name"] == run.wanted.job_name), None)
    if current is None:
        current = await _make(run)
        await _report_work(run, current, [])
        return _SOON
    if "deletionTimestamp" in current["metadata"]:
        return _SOON
    pods = await jobs.pods_of(kube, current)
    if job_state(current) == "Running":
        await _report_work(run, current, pods)
        return _SOON if run.world.now() - _time(current["metadata"]["creationTimestamp"]) < _YOUNG else _LATER
    return await _read(run, current, pods)


async def _is_out_of_the_way(run: Run, earlier: Json) -> bool:
    """Whether a Job for what was asked before has ended. One that has not begun is deleted; one at work may end."""
    if job_state(earlier) != "Running" or "deletionTimestamp" in earlier["metadata"]:
        return True
    if not is_at_work(await jobs.pods_of(run.world.kube, earlier)):
        await _delete(run.world, earlier, "it gives way to what is asked now, and has not begun")
        return True
    name = earlier["metadata"]["name"]
    message = f'Job "{name}" is at work for what was asked before; it may come to its end first'
    await report(run.world, run.key, run.resource, [Finding(RECONCILING, "True", "WaitingForJob", message)])
    return False


async def _make(run: Run) -> Json:
    check_ready(run.database)
    migrator = run.database.spec.roles.migrator
    assert migrator is not None
    await check_backup(run.resource, run.database, run.world)
    await check_service_account(run.world, run.key.namespace, run.resource.spec.job.service_account_name)
    order = Order(
        run.resource,
        run.wanted.job_name,
        run.source.digest,
        migrator.secret_name,
        endpoint(run.world, run.database.spec.server_ref.name, run.database.status.database_name or ""),
        await image(run.world),
        run.source.keys,
    )
    run.world.step(CreateJob("there is none for what is asked", order.name))
    return await jobs.create(run.world.kube, job(order))


async def _delete(world: World, one: Json, reason: str) -> None:
    world.step(DeleteJob(reason, one["metadata"]["name"]))
    await jobs.delete(world.kube, one)


async def _report_work(run: Run, current: Json, pods: list[Json]) -> None:
    name = current["metadata"]["name"]
    before = f"; the pod before this one: {words}" if (words := last_words(pods)) is not None else ""
    found = [Finding(RECONCILING, "True", "Migrating", f'Job "{name}" is at work{before}')]
    if (waiting := waiting_for(pods)) is not None:
        message = f'the pod of Job "{name}" can\'t begin: {waiting}'
        found = [Finding(READY, "False", "PodWaiting", message), Finding(RECONCILING, "True", "PodWaiting", message)]
    elif (ready := condition_of(run.resource.status.conditions, READY)) is not None and ready.status == "False":
        found.append(Finding(READY, "Unknown", "Migrating", found[0].message))
    fields = {
        "job": {"name": name},
        "startedAt": current["metadata"]["creationTimestamp"],
        "completedAt": None,
        "sourceDigest": run.source.digest,
        "sourceImage": source_image(pods),
    }
    await report(run.world, run.key, run.resource, found, fields)


async def _read(run: Run, current: Json, pods: list[Json]) -> float | None:
    result = result_of(current, pods)
    again = isinstance(result.problem, Retryable)
    fields: dict[str, Any] = {
        **seen_in(run.resource, result),
        "job": None if again else {"name": current["metadata"]["name"]},
        "completedAt": ended_at(current),
        "sourceDigest": run.source.digest or result.source_digest,
        "sourceImage": source_image(pods),
    }
    if not again:
        fields |= {"runKey": run.wanted.value, **_handled(run.resource)}
    if result.problem is not None:
        for name in ("fromVersion", "version", "pending"):
            if fields[name] is None:  # unknown to a run that did not get as far
                del fields[name]
    run.world.step(NoteResult(f"the Job has ended: {result.reason}"))
    await report(run.world, run.key, run.resource, ended(result), fields)
    if isinstance(result.problem, Retryable):
        await _delete(run.world, current, "it is to be tried again")
        raise TryAgain from result.problem
    run.world.look_inside_again(Key(SERVICE_DATABASES, run.key.namespace, run.resource.spec.database_ref.name))
    return run.resource.spec.job.ttl.timedelta.total_seconds()


async def report_settled(key: Key, run: MigrationRun, world: World) -> float | None:
    """Say again how the run ended, and delete Jobs that were kept for long enough; gives the seconds until the next is.

    While the status names no Job there is none to look for.
    """
    kept: list[datetime] = []
    if run.status.job is not None:
        ttl = run.spec.job.ttl.timedelta
        for one in await jobs.jobs_of(world.kube, run.metadata.namespace, run.metadata.uid):
            if job_state(one) == "Running" or (end := _time(ended_at(one)) + ttl) > world.now():
                kept.append(end if job_state(one) != "Running" else world.now() + ttl)
            else:
                await _delete(world, one, "spec.job.ttl is over since it ended")
    await report(world, key, run, settled(run), {} if kept else {"job": None})
    return world.seconds_until(*kept)


def _handled(run: MigrationRun) -> dict[str, Any]:
    value = run.metadata.annotations.get(RECONCILE_AT)
    return {"handled": {"reconcileAt": value[:HANDLED_LENGTH]}} if value is not None else {}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
