"""One DatabaseRestore: a backup into a database, once.

The database is closed to all others by its ServiceDatabase's own reconcile, and opened again when this has succeeded:
here the Job is made, and what came of it is read. Safe to be killed between any two lines.
"""

from dataclasses import dataclass
from datetime import datetime

from servicedb.api.backup_schedule import BackupSchedule
from servicedb.api.database_backup import LISTED_NOT_INCLUDED, DatabaseBackup
from servicedb.api.database_restore import LISTED_MISMATCHES, DatabaseRestore
from servicedb.api.service_database import ServiceDatabase
from servicedb.api.storage import IdentityReference, Storage
from servicedb.errors import Problem, Retryable, Terminal
from servicedb.kube import jobs, resources
from servicedb.kube.client import Json
from servicedb.kube.resources import BACKUP_SCHEDULES, DATABASE_BACKUPS, SERVICE_DATABASES, Key
from servicedb.naming import RoleNames
from servicedb.plan.backups.command import restore as command
from servicedb.plan.backups.entries import key_of, shown_seconds
from servicedb.plan.backups.held import prunes_meanwhile
from servicedb.plan.backups.location import location, same_place
from servicedb.plan.backups.pod import KEY, Owner, Task, hashed_name, job
from servicedb.plan.backups.progress import Ended, ended
from servicedb.plan.conditions import READY, RECONCILING, Finding, as_before, condition_of, of_problem
from servicedb.plan.job_status import ended_at, waiting_for
from servicedb.plan.marker import Restored
from servicedb.plan.migration_standing import SUCCEEDED
from servicedb.plan.restore_waits import waits_for
from servicedb.plan.steps import BeginWork, EndWork
from servicedb.reconcile.job_ground import check_service_account, endpoint, image
from servicedb.reconcile.queue import TryAgain
from servicedb.reconcile.report import WORKING, report
from servicedb.reconcile.restored import record, recorded
from servicedb.reconcile.world import World

_LOGIN = "restore"
_SOON = 2.0


@dataclass(frozen=True, slots=True)
class Source:
    """The backup, and what it is read with. `identity` None: it is not encrypted, or nobody said with what."""

    key: str
    storage: Storage
    identity: IdentityReference | None


async def reconcile(key: Key, world: World) -> float | None:
    """Carry out one DatabaseRestore. Raises the Retryable that came in between, after it was reported."""
    body = await world.kube.get(key.path)
    if body is None:
        return None
    restore = DatabaseRestore.parse(body)
    if restore.metadata.deletion_timestamp is not None:
        return None
    succeeded = condition_of(restore.status.conditions, SUCCEEDED)
    if succeeded is not None and succeeded.status != "Unknown":
        return await _keep_job(key, restore, world)
    await _begin(key, restore, world)
    try:
        return await _carry_out(key, restore, world)
    except Problem as problem:
        await report(world, key, restore, _of_problem(problem))
        if isinstance(problem, Retryable):
            raise
        return None


async def _begin(key: Key, restore: DatabaseRestore, world: World) -> None:
    if restore.status.observed_generation == restore.metadata.generation:
        return
    message = WORKING[0].message
    first = [Finding(kind, "Unknown", "Working", message) for kind in (READY, SUCCEEDED)]
    await report(world, key, restore, (*first, *WORKING))


def _of_problem(problem: Problem) -> list[Finding]:
    ended = "Unknown" if isinstance(problem, Retryable) else "False"
    return [*of_problem(problem), Finding(SUCCEEDED, ended, problem.reason, problem.message)]  # type: ignore[arg-type]


async def _carry_out(key: Key, restore: DatabaseRestore, world: World) -> float | None:
    metadata = restore.metadata
    source = await _source(restore, world)
    found = await jobs.owned_by(world.kube, key.namespace, metadata.uid)
    name = hashed_name(metadata.name, metadata.uid, "restore")
    current = next((one for one in found if one["metadata"]["name"] == name), None)
    if current is None:
        before = await _done_before(restore, source, world)
        if before is not None:
            await _report_done(key, restore, before, world)
            return None
        if restore.status.key != source.key:  # from now on the database is made ready, at the cost of what it held
            await report(world, key, restore, WORKING, {"key": source.key})
            return _SOON
        return await _make(key, restore, source, name, world)
    if "deletionTimestamp" in current["metadata"]:
        return _SOON
    pods = await jobs.owned_by(world.kube, key.namespace, metadata.uid, resources.pods)
    done = ended([current], pods)
    if not done:
        await _report_work(key, restore, world, current, waiting_for(pods))
        return _SOON
    return await _read(key, restore, world, done[0])


async def _done_before(restore: DatabaseRestore, source: Source, world: World) -> Restored | None:
    """What an object of this name has restored from the same backup, which is in the database still."""
    database = await _database_there(restore, world)
    before = await recorded(world, database) if database is not None else None
    same = before is not None and (before.name, before.key) == (restore.metadata.name, source.key)
    return before if same else None


async def _report_done(key: Key, restore: DatabaseRestore, before: Restored, world: World) -> None:
    message = f"the backup is in the database already, since {before.at}: it is not restored again"
    found = [Finding(kind, "True", "AlreadyDone", message) for kind in (READY, SUCCEEDED)]
    await report(world, key, restore, found, {"key": before.key, "manifestDigest": before.digest})


async def _make(key: Key, restore: DatabaseRestore, source: Source, name: str, world: World) -> float | None:
    database = await _database(restore, world)
    admission = database.status.restore
    if admission is None or admission.uid != restore.metadata.uid:
        raise Retryable("WaitingForDatabase", waits_for(database), ready="Unknown")
    if admission.state == "Refused":
        raise Terminal("TargetNotEmpty", admission.message or "the database can't be restored into")
    # One that begins from now on is told to spare it.
    if (pruning := prunes_meanwhile(await jobs.of_servicedb(world.kube, key.namespace), source.key)) is not None:
        raise Retryable(
            "PruneAtWork", f'Job "{pruning}" deletes backups just now; its end is waited for', ready="Unknown"
        )
    await check_service_account(world, key.namespace, restore.spec.job.service_account_name)
    task = await _task(restore, source, database, world)
    world.step(BeginWork("the database is ready for it", name))
    current = await jobs.create(world.kube, job(task, name))
    await _report_work(key, restore, world, current, None)
    return _SOON


async def _task(restore: DatabaseRestore, source: Source, database: ServiceDatabase, world: World) -> Task:
    spec, metadata, status = restore.spec, restore.metadata, database.status
    login = next((one for one in status.roles if one.name == _LOGIN), None)
    if login is None or login.secret_name is None or status.database_name is None:
        raise Retryable("RestoreLoginMissing", "the login that restores is not there yet", ready="Unknown")
    place = location(source.storage, "Read")
    return Task(
        work="restore",
        owner=Owner("DatabaseRestore", metadata.namespace, metadata.name, metadata.uid),
        arguments=command(
            place,
            source.key,
            run=metadata.uid,
            parallel=spec.parallel,
            identity=source.identity is not None,
            as_role=RoleNames(status.database_name).owner,
            schemas=spec.schemas,
            tables=spec.tables,
            roles=(),
        ),
        image=await image(world),
        settings=spec.job,
        deadline=spec.deadline,
        locations=[place],
        login=login.secret_name,
        endpoint=endpoint(world, database.spec.server_ref.name, status.database_name),
        identity=source.identity.name if source.identity is not None else None,
        notes={KEY: source.key},
    )


async def _report_work(key: Key, restore: DatabaseRestore, world: World, current: Json, waiting: str | None) -> None:
    name = current["metadata"]["name"]
    message = f'Job "{name}" restores'
    reason = "Restoring"
    if waiting is not None:
        message, reason = f'the pod of Job "{name}" can\'t begin: {waiting}', "PodWaiting"
    found = [Finding(RECONCILING, "True", reason, message), Finding(SUCCEEDED, "Unknown", reason, message)]
    fields = {"job": {"name": name}, "startedAt": current["metadata"]["creationTimestamp"]}
    await report(world, key, restore, found, fields)


async def _read(key: Key, restore: DatabaseRestore, world: World, done: Ended) -> float | None:
    """A restore that failed for good leaves the database closed, and itself to be looked at; a person deletes it."""
    problem, told = done.told.problem, done.told
    if isinstance(problem, Retryable):
        await report(world, key, restore, _of_problem(problem))
        await jobs.delete(world.kube, dict(done.job))
        raise TryAgain from problem
    if problem is None and (digest := told.text("manifestDigest")) is not None and restore.status.key is not None:
        outcome = Restored(restore.metadata.name, restore.status.key, digest, ended_at(done.job))
        await record(world, await _database(restore, world), outcome)
    seconds = told.number("seconds")
    fields = {
        "manifestDigest": told.text("manifestDigest"),
        "rows": told.number("rows"),
        "duration": shown_seconds(seconds) if seconds is not None else None,
        "mismatches": told.lines("mismatches", LISTED_MISMATCHES) or None,
        "mismatchCount": told.number("mismatchCount"),
        "notIncluded": told.lines("notIncluded", LISTED_NOT_INCLUDED) or None,
        "completedAt": ended_at(done.job),
    }
    if problem is not None:
        await report(world, key, restore, _of_problem(problem), fields)
        return restore.spec.job.ttl.timedelta.total_seconds()
    message = (
        str(told.values.get("message") or "") or "the backup was restored, and compared with what it says of itself"
    )
    reason = told.text("reason") or "Restored"
    found = [Finding(READY, "True", reason, message), Finding(SUCCEEDED, "True", reason, message)]
    await report(world, key, restore, found, fields)
    world.look_inside_again(Key(SERVICE_DATABASES, key.namespace, restore.spec.target.database_ref.name))
    return restore.spec.job.ttl.timedelta.total_seconds()


async def _keep_job(key: Key, restore: DatabaseRestore, world: World) -> float | None:
    """Delete the Job once it was kept for long enough."""
    if restore.status.job is None or restore.status.completed_at is None:
        return None
    until: datetime = restore.status.completed_at + restore.spec.job.ttl.timedelta
    if until > world.now():
        return world.seconds_until(until)
    for one in await jobs.owned_by(world.kube, key.namespace, restore.metadata.uid):
        world.step(EndWork("it was kept for long enough", one["metadata"]["name"]))
        await jobs.delete(world.kube, one)
    await report(world, key, restore, as_before(restore.status.conditions), {"job": None})
    return None


async def _database(restore: DatabaseRestore, world: World) -> ServiceDatabase:
    database = await _database_there(restore, world)
    if database is None:
        raise Retryable(
            "DatabaseNotFound",
            f'there is no ServiceDatabase "{restore.spec.target.database_ref.name}" in namespace '
            f'"{restore.metadata.namespace}" to restore into; create it',
        )
    return database


async def _database_there(restore: DatabaseRestore, world: World) -> ServiceDatabase | None:
    key = Key(SERVICE_DATABASES, restore.metadata.namespace, restore.spec.target.database_ref.name)
    body = await world.kube.get(key.path)
    return ServiceDatabase.parse(body) if body is not None else None


async def _source(restore: DatabaseRestore, world: World) -> Source:
    """Which backup it is, and where. Raises Retryable where an object is not there."""
    spec, namespace = restore.spec, restore.metadata.namespace
    given = spec.source
    if given.backup_ref is None:
        assert given.key is not None
        assert given.storage is not None
        return Source(given.key, given.storage, spec.identity_secret_ref)
    body = await world.kube.get(Key(DATABASE_BACKUPS, namespace, given.backup_ref.name).path)
    if body is None:
        raise Retryable(
            "BackupNotFound",
            f'there is no DatabaseBackup "{given.backup_ref.name}" in namespace "{namespace}"; create it, or make this '
            "object anew with another spec.source",
        )
    backup = DatabaseBackup.parse(body)
    key = key_of(backup)
    if key is None:
        raise Retryable("BackupNotReady", f'DatabaseBackup "{backup.metadata.name}" is not in a store yet; waited for')
    schedule = await _schedule(backup, world)
    storage = backup.spec.storage
    if schedule is not None and (storage is None or same_place(storage, schedule.spec.storage)):
        storage = schedule.spec.storage  # with the keys of today
    if storage is None:
        raise Retryable(
            "ScheduleNotFound", f'DatabaseBackup "{backup.metadata.name}" names no storage, and its schedule is gone'
        )
    encryption = backup.spec.encryption or (schedule.spec.encryption if schedule is not None else None)
    identity = spec.identity_secret_ref or (encryption.identity_secret_ref if encryption is not None else None)
    return Source(key, storage, identity)


async def _schedule(backup: DatabaseBackup, world: World) -> BackupSchedule | None:
    reference = backup.spec.schedule_ref
    if reference is None:
        return None
    body = await world.kube.get(Key(BACKUP_SCHEDULES, backup.metadata.namespace, reference.name).path)
    return BackupSchedule.parse(body) if body is not None else None
