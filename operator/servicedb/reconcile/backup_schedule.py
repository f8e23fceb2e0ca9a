"""One BackupSchedule: observe, plan, execute, report. The work itself is done by CronJobs and Jobs.

Safe to be killed between any two lines: which CronJobs and Jobs there have to be follows from the spec, the time and
what was done, by their names; what a Job did is read from it again until it is known.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from servicedb.api.backup_schedule import BackupSchedule, ScheduledDatabaseStatus
from servicedb.errors import Problem, Retryable, Terminal
from servicedb.kube.resources import Key
from servicedb.plan.backups.absence import storage_finding
from servicedb.plan.backups.cron import last_due, next_due
from servicedb.plan.backups.missed import missed
from servicedb.plan.backups.pod import WORK
from servicedb.plan.backups.progress import at_work, database_status, handled_now
from servicedb.plan.backups.standing import LAST_BACKUP, findings, foreign, recovery_point_ends, with_problems
from servicedb.plan.conditions import Finding
from servicedb.reconcile.backup_catalogue import forget_gone, list_store, record
from servicedb.reconcile.backup_cron import forget_old, keep_cron_jobs, run_now
from servicedb.reconcile.backup_deletion import delete
from servicedb.reconcile.backup_observe import Seen, observe
from servicedb.reconcile.backup_prune import prune, read_pruned
from servicedb.reconcile.backup_verify import verify
from servicedb.reconcile.report import begin, report
from servicedb.reconcile.world import World

_SOON, _LATER = 2.0, 10.0
_MAY_COME = timedelta(seconds=90)
"""So long after its time a CronJob's Job is looked out for."""
_YOUNG = timedelta(seconds=60)


async def reconcile(key: Key, world: World) -> float | None:
    """Bring one BackupSchedule to its spec, and say how its backups stand.

    Raises the Retryable that came in between, after it was reported.
    """
    body = await world.kube.get(key.path)
    if body is None or "deletionTimestamp" in body["metadata"]:
        world.wishes.pop(key, None)  # what was deleted with it, was deleted for other reasons
        return None
    schedule = BackupSchedule.parse(body)
    await begin(world, key, schedule)
    try:
        return await _bring(key, schedule, world)
    except Problem as problem:
        await report(world, key, schedule, with_problems([], [problem]), over=foreign(schedule))
        if isinstance(problem, Retryable):
            raise
        return None


async def _bring(key: Key, schedule: BackupSchedule, world: World) -> float | None:
    spec, now = schedule.spec, world.now()
    next_run = next_due(spec.schedule, spec.time_zone, now)
    if spec.verify is not None:
        next_due(spec.verify.schedule, spec.time_zone, now)  # what is no line of cron is told before anything is begun
    seen = await observe(key, schedule, world)
    await record(seen)
    problems = await keep_cron_jobs(seen)
    handled = schedule.status.handled.as_json()
    again: list[datetime] = []
    told: list[Finding] = []
    for step in (run_now, read_pruned, delete, list_store, prune, verify, forget_gone, forget_old):
        try:
            outcome = await step(seen)
        except Problem as problem:
            problems.append(problem)
            continue
        handled |= outcome.handled
        again += outcome.again
        problems += outcome.problems
        told += outcome.found
    await _report(seen, next_run, problems, told, handled)
    return _next_look(seen, again, next_run, problems)


async def _report(
    seen: Seen,
    next_run: datetime | None,
    problems: list[Problem],
    told: list[Finding],
    handled: dict[str, object],
) -> None:
    schedule, world = seen.schedule, seen.world
    databases = _databases(seen)
    spec = schedule.spec
    told = [*storage_finding(seen.backups), *told]
    shown = "suspended" if spec.suspend else _shown(next_run, spec.time_zone)
    measured = seen.measured_recovery or schedule.status.measured_recovery
    found = findings(
        schedule, databases, now=world.now(), next_run=f"the next backup: {shown}", told=told, measured=measured
    )
    found = with_problems(found, [*problems, *_missed(seen, databases)])
    successes = [one.last_success for one in databases]
    verified = [one.last_verified for one in databases]
    fields = {
        "lastSuccess": _time(min((one for one in successes if one), default=None) if all(successes) else None),
        "lastVerified": _time(min((one for one in verified if one), default=None) if all(verified) else None),
        "nextRun": shown,
        "backups": len(seen.stored),
        "measuredRecovery": measured,
        "databases": [one.as_json() for one in databases],
        "handled": handled_now(schedule.status.handled.as_json(), handled),
    }
    await report(world, seen.key, schedule, found, fields, over=foreign(schedule))


def _missed(seen: Seen, databases: list[ScheduledDatabaseStatus]) -> list[Problem]:
    spec, now = seen.schedule.spec, seen.world.now()
    if spec.suspend:
        return []
    names = missed(databases, seen.cron_jobs, seen.jobs, schedule=spec.schedule, time_zone=spec.time_zone, now=now)
    if not names:
        return []
    shown = ", ".join(f'"{name}"' for name in names[:5]) + (" and others" if len(names) > 5 else "")
    message = (
        f"no backup of ServiceDatabase {shown} was begun at the last two times of spec.schedule; look at the events of "
        "its CronJob, and whether the cluster's CronJob controller runs"
    )
    return [Terminal("BackupMissed", message, condition=LAST_BACKUP)]


def _next_look(seen: Seen, again: list[datetime], next_run: datetime | None, problems: list[Problem]) -> float | None:
    spec, world = seen.schedule.spec, seen.world
    now = world.now()
    running = at_work(seen.jobs)
    if running or seen.made:
        young = any(now - datetime.fromisoformat(job["metadata"]["creationTimestamp"]) < _YOUNG for job in running)
        return _SOON if young or seen.made else _LATER
    if any(isinstance(problem, Retryable) for problem in problems):
        return _LATER
    last = last_due(spec.schedule, spec.time_zone, now)
    if not spec.suspend and last is not None and now - last < _MAY_COME and not _has_come(seen, last):
        return _SOON
    ends = [end for end in recovery_point_ends(seen.schedule, _databases(seen)) if end > now]
    times = [*again, *ends[:1], *([next_run] if next_run is not None and not spec.suspend else [])]
    seconds = world.seconds_until(*times)
    return max(1.0, seconds) if seconds is not None else None


def _databases(seen: Seen) -> list[ScheduledDatabaseStatus]:
    before, now = {one.name: one for one in seen.schedule.status.databases}, seen.world.now()
    found = [database_status(name, before.get(name), seen.backups_of(name), seen.done, now=now) for name in seen.names]
    return [
        one.model_copy(update={"verify_failure": seen.not_begun[one.name]}) if one.name in seen.not_begun else one
        for one in found
    ]


def _has_come(seen: Seen, due: datetime) -> bool:
    """Whether a Job was made for that time."""
    return any(
        job["metadata"].get("labels", {}).get(WORK) == "backup"
        and datetime.fromisoformat(job["metadata"]["creationTimestamp"]) >= due
        for job in seen.jobs
    )


def _shown(time: datetime | None, time_zone: str) -> str | None:
    return time.astimezone(ZoneInfo(time_zone)).isoformat(timespec="minutes") if time is not None else "never"


def _time(time: datetime | None) -> str | None:
    return time.isoformat().replace("+00:00", "Z") if time is not None else None
