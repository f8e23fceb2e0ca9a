"""The CronJobs of a BackupSchedule, one for each of its databases, and backups out of turn."""

from servicedb.api.backup_schedule import BackupScheduleSpec
from servicedb.api.common import HANDLED_LENGTH, RUN_AT
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Problem, Retryable
from servicedb.kube import cron_jobs
from servicedb.naming import RoleNames
from servicedb.plan.backups.command import backup
from servicedb.plan.backups.location import locations
from servicedb.plan.backups.pod import CHANGED_AT, DATABASE, Owner, Task, Timing, cron_job, differs, hashed_name, job
from servicedb.plan.steps import ChangeCronJob, CreateCronJob, DeleteCronJob
from servicedb.reconcile.backup_observe import Outcome, Seen
from servicedb.reconcile.job_ground import check_service_account, endpoint, image
from servicedb.reconcile.world import World

_LOGIN = "backup"


async def keep_cron_jobs(seen: Seen) -> list[Problem]:
    """Have the CronJobs that there are to be, and no others; gives what stands in the way of some."""
    schedule, kube = seen.schedule, seen.world.kube
    spec, problems = schedule.spec, list[Problem]()
    wanted = {hashed_name(name, schedule.metadata.uid, "cron", name): name for name in seen.names}
    there = {one["metadata"]["name"]: one for one in seen.cron_jobs}
    for name, one in there.items():
        if name not in wanted:
            seen.world.step(DeleteCronJob("the schedule does not have its database", name))
            await cron_jobs.delete(kube, one)
    timing = Timing(spec.schedule, spec.time_zone, spec.starting_deadline, spec.suspend)
    for cron_name, name in wanted.items():
        try:
            task = await _task(seen, name, spread=True)
        except Problem as problem:
            problems.append(problem)
            continue
        manifest = cron_job(task, cron_name, timing)
        manifest["metadata"]["annotations"][CHANGED_AT] = seen.world.now().isoformat()
        before = there.get(cron_name)
        if before is None:
            seen.world.step(CreateCronJob("there is none", cron_name))
            await cron_jobs.create(kube, manifest)
        elif differs(before, manifest):
            seen.world.step(ChangeCronJob("it is made from something else, or was changed", cron_name))
            await cron_jobs.change(kube, before, manifest)
    return problems


async def run_now(seen: Seen) -> Outcome:
    """Begin the backups that the annotation run-at asks for, of all databases at once."""
    schedule = seen.schedule
    asked = schedule.metadata.annotations.get(RUN_AT)
    if asked is None or asked[:HANDLED_LENGTH] == schedule.status.handled.run_at:
        return Outcome()
    for name in seen.names:
        job_name = hashed_name(name, schedule.metadata.uid, "run", asked)
        if seen.job(job_name) is None:
            await seen.make(job(await _task(seen, name, spread=False), job_name))
    return Outcome(handled={"runAt": asked[:HANDLED_LENGTH]})


async def forget_old(seen: Seen) -> Outcome:
    """Delete the Jobs of backups out of turn that were kept for long enough. A CronJob sees to its own."""
    ttl = seen.schedule.spec.job.ttl.timedelta
    again = []
    for one in seen.done:
        owners = one.job["metadata"].get("ownerReferences") or ()
        if one.work != "backup" or any(owner["kind"] == "CronJob" for owner in owners):
            continue
        if one.at + ttl > seen.world.now():
            again.append(one.at + ttl)
        else:
            await seen.drop(one)
    return Outcome(again=again)


async def _task(seen: Seen, name: str, *, spread: bool) -> Task:
    database = seen.databases.get(name)
    if database is None:
        raise Retryable(
            "DatabaseNotFound",
            f'there is no ServiceDatabase "{name}" in namespace "{seen.key.namespace}"; create it, or take it out of '
            "spec.databaseRefs",
        )
    await check_service_account(seen.world, seen.key.namespace, seen.schedule.spec.job.service_account_name)
    return await backup_task(
        seen.world,
        seen.owner,
        seen.schedule.spec,
        database,
        spread_key=f"{seen.key.namespace}/{name}" if spread else None,
    )


async def backup_task(
    world: World, owner: Owner, spec: BackupScheduleSpec, database: ServiceDatabase, *, spread_key: str | None
) -> Task:
    """The task of a backup of `database` by the settings of `spec`. Raises Retryable until it has a login for that."""
    name, status = database.metadata.name, database.status
    login = next((one for one in status.roles if one.name == _LOGIN), None)
    if login is None or login.secret_name is None or status.backup_access is None or status.database_name is None:
        raise Retryable(
            "BackupLoginMissing",
            f'ServiceDatabase "{name}" has no login for backups yet, which is waited for; its conditions say why',
            ready="Unknown",
        )
    places = locations(spec, "Write")
    as_owner = status.backup_access.reads == "AsOwner"
    return Task(
        work="backup",
        owner=owner,
        arguments=backup(
            places,
            compression=spec.compression,
            parallel=spec.parallel,
            encryption=spec.encryption,
            as_role=RoleNames(status.database_name).owner if as_owner else None,
            wait=spec.deadline,
            spread=spec.spread if spread_key is not None else None,
            spread_key=spread_key or "",
        ),
        image=await image(world),
        settings=spec.job,
        deadline=spec.deadline,
        locations=places,
        login=login.secret_name,
        endpoint=endpoint(world, database.spec.server_ref.name, status.database_name),
        notes={DATABASE: name},
    )
