"""Pruning: after each success, in each place, by a Job that alone may delete."""

import hashlib

from servicedb.api.backup_schedule import BackupSchedule
from servicedb.api.database_restore import DatabaseRestore
from servicedb.api.storage import Copy, Storage
from servicedb.kube import resources
from servicedb.plan.backups.absence import is_missing
from servicedb.plan.backups.command import prune as command
from servicedb.plan.backups.entries import is_stored, key_of, newest
from servicedb.plan.backups.held import keys_in_use, pinned_keys, verified_keys
from servicedb.plan.backups.location import locations, may_be_same_place
from servicedb.plan.backups.pod import PLACE, Task, hashed_name, job
from servicedb.plan.backups.progress import Ended, is_at, live_runs, pruned_keys
from servicedb.plan.backups.standing import LAST_PRUNE
from servicedb.plan.conditions import Finding
from servicedb.reconcile.backup_catalogue import mark_gone
from servicedb.reconcile.backup_observe import Outcome, Seen
from servicedb.reconcile.job_ground import image


async def read_pruned(seen: Seen) -> Outcome:
    """The objects of what the first place no longer holds. Whatever came since, each Job is read."""
    pruned = pruned_keys(seen.done)
    for backup in [each for each in seen.backups if is_stored(each) and key_of(each) in pruned]:
        await mark_gone(seen, backup, "Pruned", "spec.retention of its schedule does not keep it any longer")
    return Outcome()


async def prune(seen: Seen) -> Outcome:
    """Prune once after each new backup, never before there is one, nor while backups are missing."""
    schedule = seen.schedule
    if schedule.spec.retention is None or schedule.spec.suspend or any(map(is_missing, seen.backups)):
        return Outcome()
    latest = [newest(seen.backups_of(name)) for name in seen.names]
    keys = sorted(key for one in latest if one is not None and (key := key_of(one)) is not None)
    if not keys:
        return Outcome()
    after = hashlib.sha256("\n".join(keys).encode()).hexdigest()
    if after == schedule.status.handled.pruned_after:
        return Outcome()
    if (shared := await _who_else_keeps_backups_there(seen)) is not None:
        message = (
            f"nothing is pruned: {shared} keeps its backups in the same place, and what one keeps the other would "
            "delete; give each a prefix of its own"
        )
        return Outcome(found=[Finding(LAST_PRUNE, "False", "StorageShared", message)])
    places = locations(schedule.spec, "Prune")
    names = [
        hashed_name(schedule.metadata.name, schedule.metadata.uid, "prune", after, str(number))
        for number in range(len(places))
    ]
    for overtaken in [each for each in seen.done if each.work == "prune" and each.name not in names]:
        await seen.drop(overtaken)  # read_pruned has read it
    if is_at(seen.jobs, "list"):  # which is not to see half of it
        return Outcome()
    for number, name in enumerate(names):
        if seen.job(name) is None:
            await seen.make(job(await _task(seen, number), name))
    done = [one for name in names if (one := seen.ended(name)) is not None]
    if len(done) < len(names):
        return Outcome()
    for one in done:
        await seen.drop(one)
    return Outcome(handled={"prunedAfter": after}, found=[_finding(done)])


async def _who_else_keeps_backups_there(seen: Seen) -> str | None:
    """Another schedule, of whatever namespace, with a place of this one. Retention goes by what lies in a place."""
    own: list[Storage | Copy] = [seen.schedule.spec.storage, *seen.schedule.spec.copies]
    async for body in seen.world.kube.list(resources.collection(resources.BACKUP_SCHEDULES)):
        if body["metadata"]["uid"] == seen.schedule.metadata.uid or body["metadata"].get("deletionTimestamp"):
            continue
        other = BackupSchedule.parse(body)
        theirs: list[Storage | Copy] = [other.spec.storage, *other.spec.copies]
        if any(
            may_be_same_place(seen.key.namespace, one, other.metadata.namespace, each) for one in own for each in theirs
        ):
            return f'BackupSchedule "{other.metadata.name}" of namespace "{other.metadata.namespace}"'
    return None


async def _task(seen: Seen, number: int) -> Task:
    spec = seen.schedule.spec
    assert spec.retention is not None
    place = locations(spec, "Prune")[number]
    return Task(
        work="prune",
        owner=seen.owner,
        arguments=command(
            place,
            spec.retention,
            time_zone=spec.time_zone,
            verified=sorted(verified_keys(seen.in_namespace)),
            pinned=sorted(pinned_keys(seen.in_namespace) | await keys_that_are_read(seen)),
            live=live_runs(seen.jobs, seen.pods),
        ),
        image=await image(seen.world),
        settings=spec.job,
        deadline=spec.deadline,
        locations=[place],
        notes={PLACE: str(number)},
    )


async def keys_that_are_read(seen: Seen) -> set[str]:
    """Keys of the backups that a restore or a verification reads."""
    path = resources.collection(resources.DATABASE_RESTORES)
    restores = [DatabaseRestore.parse(body) async for body in seen.world.kube.list(path)]
    return keys_in_use(seen.jobs, restores)


def _finding(done: list[Ended]) -> Finding:
    """How it went, by the first place where it did not go well."""
    for one in done:
        if (problem := one.told.problem) is not None:
            return Finding(LAST_PRUNE, "False", problem.reason, f"pruning failed: {problem.message}")
        if (stopped := one.told.text("stopped")) is not None:
            return Finding(LAST_PRUNE, "False", "PruneStopped", f"nothing was pruned: {stopped}")
    return Finding(LAST_PRUNE, "True", "Pruned", "what spec.retention does not keep is gone")
