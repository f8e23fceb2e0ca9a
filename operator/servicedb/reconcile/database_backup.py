"""One DatabaseBackup: an entry of a catalogue, which runs nothing, or a person's order for a backup."""

from datetime import datetime
from typing import Any

from servicedb.api.backup_schedule import BackupSchedule, BackupScheduleSpec, ScheduledDatabase
from servicedb.api.database_backup import DatabaseBackup
from servicedb.api.migration_job import JobSettings
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Problem, Retryable, Terminal
from servicedb.kube import jobs, resources
from servicedb.kube.resources import BACKUP_SCHEDULES, SERVICE_DATABASES, Key
from servicedb.plan.backups.entries import facts_of, unverified
from servicedb.plan.backups.pod import Owner, hashed_name, job
from servicedb.plan.backups.progress import Ended, ended
from servicedb.plan.conditions import READY, RECONCILING, Finding, as_before, condition_of, of_problem
from servicedb.plan.job_status import ended_at, waiting_for
from servicedb.plan.migration_standing import SUCCEEDED
from servicedb.plan.steps import BeginWork, EndWork
from servicedb.reconcile.backup_cron import backup_task
from servicedb.reconcile.job_ground import check_service_account
from servicedb.reconcile.queue import TryAgain
from servicedb.reconcile.report import begin, report
from servicedb.reconcile.world import World

_SOON = 2.0
_KEPT = JobSettings().ttl.timedelta


async def reconcile(key: Key, world: World) -> float | None:
    """Carry out one order, or see that an entry says what it is.

    Raises the Retryable that came in between, after it was reported.
    """
    body = await world.kube.get(key.path)
    if body is None:
        return None
    backup = DatabaseBackup.parse(body)
    if backup.metadata.deletion_timestamp is not None:
        return None
    if backup.spec.key is not None or _is_done(backup):
        await _keep(key, backup, world)
        return await _forget_job(key, backup, world)
    await begin(world, key, backup)
    try:
        return await _carry_out(key, backup, world)
    except Problem as problem:
        await report(world, key, backup, _refused(problem))
        if isinstance(problem, Retryable):
            raise
        return None


def _is_done(backup: DatabaseBackup) -> bool:
    """An order is carried out once, whatever its spec says afterwards of pins."""
    succeeded = condition_of(backup.status.conditions, SUCCEEDED)
    return succeeded is not None and succeeded.status != "Unknown"


async def _keep(key: Key, backup: DatabaseBackup, world: World) -> None:
    """Say again what is known, for the present generation. A schedule's entry is filled by its schedule."""
    if condition_of(backup.status.conditions, READY) is None:
        if backup.spec.schedule_ref is not None:  # which fills it in
            world.enqueue(Key(BACKUP_SCHEDULES, key.namespace, backup.spec.schedule_ref.name))
            return
        ready_now = Finding(READY, "Unknown", "NotListed", "the store was not listed yet")
        await report(world, key, backup, [ready_now], {"key": backup.spec.key})
        return
    await report(world, key, backup, as_before(backup.status.conditions))


async def _forget_job(key: Key, backup: DatabaseBackup, world: World) -> float | None:
    """Delete the Job of an order when it was kept for long enough, for its log; gives the seconds until then."""
    if backup.status.job is None:
        return None
    until = None
    for one in await jobs.owned_by(world.kube, key.namespace, backup.metadata.uid):
        until = datetime.fromisoformat(ended_at(one)) + _KEPT
        if until > world.now():
            return world.seconds_until(until)
        world.step(EndWork("it was kept for long enough", one["metadata"]["name"]))
        await jobs.delete(world.kube, one)
    await report(world, key, backup, as_before(backup.status.conditions), {"job": None})
    return None


async def _carry_out(key: Key, backup: DatabaseBackup, world: World) -> float | None:
    kube, metadata = world.kube, backup.metadata
    found = await jobs.owned_by(kube, key.namespace, metadata.uid)
    name = hashed_name(metadata.name, metadata.uid, "backup")
    current = next((one for one in found if one["metadata"]["name"] == name), None)
    if current is None:
        spec, database = await _settings(backup, world)
        await check_service_account(world, key.namespace, spec.job.service_account_name)
        owner = Owner("DatabaseBackup", key.namespace, metadata.name, metadata.uid)
        task = await backup_task(world, owner, spec, database, spread_key=None)
        world.step(BeginWork("it was ordered", name))
        await jobs.create(kube, job(task, name))
        await _report_work(key, backup, world, name, None)
        return _SOON
    if "deletionTimestamp" in current["metadata"]:
        return _SOON
    pods = await jobs.owned_by(kube, key.namespace, metadata.uid, resources.pods)
    done = ended([current], pods)
    if not done:
        await _report_work(key, backup, world, name, waiting_for(pods))
        return _SOON
    await _read(key, backup, world, done[0])
    return _KEPT.total_seconds()


async def _report_work(key: Key, backup: DatabaseBackup, world: World, name: str, waiting: str | None) -> None:
    message = f'Job "{name}" is at work'
    found = [Finding(RECONCILING, "True", "BackingUp", message), Finding(SUCCEEDED, "Unknown", "BackingUp", message)]
    if waiting is not None:
        message = f'the pod of Job "{name}" can\'t begin: {waiting}'
        found = [Finding(kind, status, "PodWaiting", message) for kind, status in _WAITS]
    await report(world, key, backup, found, {"job": name})


_WAITS: tuple[tuple[str, Any], ...] = ((READY, "False"), (RECONCILING, "True"), (SUCCEEDED, "Unknown"))


async def _read(key: Key, backup: DatabaseBackup, world: World, done: Ended) -> None:
    problem = done.told.problem
    if isinstance(problem, Retryable):
        await report(world, key, backup, _refused(problem))
        await jobs.delete(world.kube, dict(done.job))
        raise TryAgain from problem
    if problem is not None:
        found = [*of_problem(problem), Finding(SUCCEEDED, "False", problem.reason, problem.message)]
        await report(world, key, backup, found)
        return
    found = [*unverified(backup), Finding(SUCCEEDED, "True", "BackedUp", "the backup is in the store")]
    await report(world, key, backup, found, facts_of(done.told))
    if backup.spec.schedule_ref is not None:
        world.enqueue(Key(BACKUP_SCHEDULES, key.namespace, backup.spec.schedule_ref.name))


def _refused(problem: Problem) -> list[Finding]:
    return [*of_problem(problem), Finding(SUCCEEDED, "Unknown", problem.reason, problem.message)]


async def _settings(backup: DatabaseBackup, world: World) -> tuple[BackupScheduleSpec, ServiceDatabase]:
    """With which settings the backup is made, and of which database. Raises Retryable where one is not there."""
    spec, namespace = backup.spec, backup.metadata.namespace
    assert spec.database_ref is not None
    database = await world.kube.get(Key(SERVICE_DATABASES, namespace, spec.database_ref.name).path)
    if database is None:
        raise Retryable(
            "DatabaseNotFound",
            f'there is no ServiceDatabase "{spec.database_ref.name}" in namespace "{namespace}"; create it, or make '
            "this object anew with another spec.databaseRef",
        )
    settings: BackupScheduleSpec | None = None
    if spec.schedule_ref is not None:
        body = await world.kube.get(Key(BACKUP_SCHEDULES, namespace, spec.schedule_ref.name).path)
        if body is None:
            raise Retryable(
                "ScheduleNotFound",
                f'there is no BackupSchedule "{spec.schedule_ref.name}" in namespace "{namespace}"; create it, or make '
                "this object anew with spec.storage",
            )
        settings = BackupSchedule.parse(body).spec
    if spec.storage is not None:
        change = {"storage": spec.storage, "encryption": spec.encryption, "copies": ()}
        settings = (settings or _plain(backup)).model_copy(update=change)
    if settings is None:
        raise Terminal("NoStorage", "spec names neither a schedule nor a storage; make this object anew with one")
    return settings, ServiceDatabase.parse(database)


def _plain(backup: DatabaseBackup) -> BackupScheduleSpec:
    """The settings of a schedule that says nothing of them."""
    assert backup.spec.storage is not None
    assert backup.spec.database_ref is not None
    database = ScheduledDatabase(name=backup.spec.database_ref.name)
    return BackupScheduleSpec(schedule="@daily", storage=backup.spec.storage, database_refs=(database,))
