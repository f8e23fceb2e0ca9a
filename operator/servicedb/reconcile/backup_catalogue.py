"""What stands in a schedule's store, as DatabaseBackup objects: told by the Jobs that put it there, or by a list."""

from datetime import datetime, timedelta
from typing import Any

from servicedb.api.common import HANDLED_LENGTH, RECONCILE_AT
from servicedb.api.database_backup import DatabaseBackup
from servicedb.errors import Retryable, Terminal
from servicedb.kube import resources
from servicedb.kube.client import ApiError, refusal
from servicedb.kube.resources import DATABASE_BACKUPS, Key
from servicedb.plan.backups.absence import MISSING, absence, is_missing
from servicedb.plan.backups.command import catalogue
from servicedb.plan.backups.entries import (
    STORED,
    VERIFIED,
    Entry,
    database_of,
    entry_manifest,
    facts_of,
    is_stored,
    key_of,
    missing_entries,
    unverified,
)
from servicedb.plan.backups.held import may_be_forgotten
from servicedb.plan.backups.listing import LIST, failed_list, list_problem, next_list_at
from servicedb.plan.backups.location import locations
from servicedb.plan.backups.pod import Task, hashed_name, job
from servicedb.plan.backups.progress import Ended, deleted_keys, is_at, lost, newly_made
from servicedb.plan.backups.result import OF_THE_JOB
from servicedb.plan.backups.standing import STORAGE
from servicedb.plan.conditions import READY, Finding, condition_of
from servicedb.plan.steps import DescribeBackup, ForgetBackup, MarkGone, RecordBackup, RecordVerification
from servicedb.reconcile.backup_observe import Outcome, Seen
from servicedb.reconcile.job_ground import image
from servicedb.reconcile.report import report

_EACH = timedelta(days=1)
_MISSING = timedelta(hours=1)
"""When the next list is due while backups are missing."""


async def record(seen: Seen) -> None:
    """Have an object for each backup that a Job has made, and write what verifications found into theirs."""
    made = newly_made(seen.done, seen.schedule.status.databases, seen.schedule.status.handled.listed_at)
    deleted = deleted_keys(seen.jobs) | _wished(seen)
    await _record(seen, [one for one in made if one.key not in deleted])
    for one in seen.done:
        if one.work == "verify" and one.key is not None:
            await _record_verification(seen, one, one.key)


async def list_store(seen: Seen) -> Outcome:
    """List the store where that is due: at first, each day, when an annotation asks, and when something is missing.

    A Job that failed stays until another one has ended well, so that what it told is said for as long.
    """
    schedule = seen.schedule
    handled = schedule.status.handled
    asked = schedule.metadata.annotations.get(RECONCILE_AT, "")
    of = (str(schedule.metadata.generation), str(handled.listed_at), handled.listed_up_to or "", asked)
    wanted = hashed_name(schedule.metadata.name, schedule.metadata.uid, "list", *of)
    failed = failed_list(seen.done)
    name = wanted if failed is None else hashed_name(schedule.metadata.name, wanted, failed.uid)
    for other in [each for each in seen.done if each.work == "list" and each is not failed and each.name != name]:
        await seen.drop(other)
    begun = handled.listed_up_to is not None or failed is not None or seen.job(name) is not None
    if not begun and not _is_due(seen) and handled.listed_at is not None:
        return Outcome(again=[handled.listed_at + _pause(seen)])
    problems = [list_problem(failed)] if failed is not None else []
    if (one := seen.ended(name)) is None:
        if seen.job(name) is None:
            again = next_list_at(failed, wanted, condition_of(schedule.status.conditions, STORAGE))
            if again is not None and again > seen.world.now():
                return Outcome(again=[again], problems=problems)
            if is_at(seen.jobs, "prune") or is_at(seen.jobs, "delete"):  # of which nothing is told yet
                return Outcome(problems=problems)
            if _wished(seen):  # a list would bring back what was deleted just now
                return Outcome(problems=problems)
            await seen.make(job(await _task(seen, wanted), name))
        return Outcome(problems=problems)
    if one.told.problem is not None:  # it is being deleted, and has listed nothing
        return Outcome(problems=problems)
    is_doubtful = await _read(seen, one, after=handled.listed_up_to)
    for each in (failed, one):
        if each is not None:
            await seen.drop(each)
    further = one.told.text("next")
    if further is not None and not is_doubtful:
        return Outcome(handled={"listedUpTo": further})
    whole: dict[str, object] = {
        "listedUpTo": None,
        "listedAt": _made_at(one).isoformat().replace("+00:00", "Z"),
    }
    return Outcome(handled=whole | ({"reconcileAt": asked[:HANDLED_LENGTH]} if asked else {}))


async def mark_gone(seen: Seen, backup: DatabaseBackup, reason: str, message: str) -> None:
    """Say that the backup is no longer in the store, before anything becomes of its object."""
    key = Key(DATABASE_BACKUPS, seen.key.namespace, backup.metadata.name)
    seen.world.step(MarkGone(message, backup.metadata.name))
    await report(seen.world, key, backup, [Finding(READY, "False", reason, message)], {"gone": True})
    await _again(seen, backup, key)


async def forget_gone(seen: Seen) -> Outcome:
    """Delete the objects of backups that are said to be gone, but for those that hold something which stands nowhere
    else. That a deletion comes after the word makes it nobody's wish to delete a backup.

    Each is looked at again: one that was pinned meanwhile stays, even where that comes after this look.
    """
    for backup in [one for one in seen.backups if may_be_forgotten(one, seen.backups)]:
        key = Key(DATABASE_BACKUPS, seen.key.namespace, backup.metadata.name)
        body = await seen.world.kube.get(key.path)
        if body is None or not may_be_forgotten(DatabaseBackup.parse(body), seen.backups):
            continue
        seen.world.step(ForgetBackup("its backup is gone", backup.metadata.name))
        metadata = body["metadata"]
        try:
            await seen.world.kube.delete(key.path, uid=metadata["uid"], version=metadata["resourceVersion"])
        except ApiError as error:
            raise refusal(error, namespace=key.namespace) from None
        seen.backups.remove(backup)
    return Outcome()


def _pause(seen: Seen) -> timedelta:
    return _MISSING if any(map(is_missing, seen.backups)) else _EACH


def _is_due(seen: Seen) -> bool:
    schedule = seen.schedule
    handled = schedule.status.handled
    if handled.listed_at is None or seen.world.now() - handled.listed_at > _pause(seen):
        return True
    asked = schedule.metadata.annotations.get(RECONCILE_AT)
    if asked is not None and asked[:HANDLED_LENGTH] != handled.reconcile_at:
        return True
    if (schedule.status.backups or 0) > len(seen.stored):
        return True
    if any(one.work == "delete" and one.at >= handled.listed_at for one in seen.done):
        return True  # what was not deleted gets its object back
    return lost(one for one in seen.done if one.at > handled.listed_at)


def _wished(seen: Seen) -> set[str]:
    """Keys of the backups whose objects were deleted just now."""
    return {one.key for one in seen.world.wishes.get(seen.key, ())}


async def _task(seen: Seen, wanted: str) -> Task:
    spec = seen.schedule.spec
    place = locations(spec, "Read")[0]
    return Task(
        work="list",
        owner=seen.owner,
        arguments=catalogue(place, seen.schedule.status.handled.listed_up_to),
        image=await image(seen.world),
        settings=spec.job,
        deadline=spec.deadline,
        locations=[place],
        notes={LIST: wanted},
    )


async def _read(seen: Seen, one: Ended, *, after: str | None) -> bool:
    """Write into the objects what the list shows; gives whether it is to be doubted."""
    listed = [(key, facts) for facts in one.told.parts("backups") if isinstance(key := facts.get("key"), str)]
    databases = seen.databases.values()
    entries = [Entry(key, database_of(key, databases), facts_of(facts)) for key, facts in listed]
    await _record(seen, [one for one in entries if one.key not in _wished(seen)], shown=True)
    damaged = set(one.told.lines("damaged", 100))
    for backup in [each for each in seen.backups if key_of(each) in damaged]:
        place = Key(DATABASE_BACKUPS, seen.key.namespace, backup.metadata.name)
        message = "the backup is not whole any more: its manifest or one of its parts is not what it was"
        await report(seen.world, place, backup, [Finding(READY, "False", "Damaged", message)])
    found = absence(seen.backups, one.told, (key for key, _ in listed), after=after, made_at=_made_at(one))
    for backup in [each for each in seen.backups if each.metadata.name in found.names]:
        if not found.is_doubtful:
            await mark_gone(seen, backup, "Gone", "the backup is not in the store any more")
        elif not is_missing(backup):
            place = Key(DATABASE_BACKUPS, seen.key.namespace, backup.metadata.name)
            await report(seen.world, place, backup, [MISSING])
            await _again(seen, backup, place)
    return found.is_doubtful


def _made_at(one: Ended) -> datetime:
    return datetime.fromisoformat(one.job["metadata"]["creationTimestamp"])


async def _record(seen: Seen, entries: list[Entry], *, shown: bool = False) -> None:
    """Have an object for each of `entries` that says what it is. `shown`: a list of the store shows them now, whatever
    was said of them before."""
    by_key = {entry.key: entry for entry in entries}
    for backup in list(seen.backups):
        entry = by_key.get((key_of(backup) if shown else backup.spec.key) or "")
        is_empty = condition_of(backup.status.conditions, READY) is None  # killed between its making and its status
        is_back = shown and (is_missing(backup) or not is_stored(backup))
        if entry is not None and (is_empty or is_back):
            await _fill(seen, backup, entry)
    for entry in missing_entries(entries, seen.backups):
        manifest = entry_manifest(seen.schedule, entry)
        path = resources.collection_in(seen.key.namespace, DATABASE_BACKUPS)
        seen.world.step(RecordBackup("it stands in the store", manifest["metadata"]["name"]))
        try:
            body = await seen.world.kube.create(path, manifest)
        except ApiError as error:
            if error.reason == "AlreadyExists":
                continue
            raise refusal(error, namespace=seen.key.namespace) from None
        await _fill(seen, DatabaseBackup.parse(body), entry)


async def _fill(seen: Seen, backup: DatabaseBackup, entry: Entry) -> None:
    key = Key(DATABASE_BACKUPS, seen.key.namespace, backup.metadata.name)
    fields: dict[str, Any] = {**entry.facts, "key": entry.key, "gone": None}
    seen.world.step(DescribeBackup("its object is empty", backup.metadata.name))
    await report(seen.world, key, backup, unverified(backup), fields)
    body = await seen.world.kube.get(key.path)
    if body is not None:
        seen.backups = [one for one in seen.backups if one.metadata.name != backup.metadata.name]
        seen.backups.append(DatabaseBackup.parse(body))


async def _record_verification(seen: Seen, one: Ended, of_key: str) -> None:
    backup = next((each for each in seen.backups if of_key in (each.spec.key, each.status.key)), None)
    if backup is None:
        return
    problem = one.told.problem
    if isinstance(problem, Retryable) or (problem is not None and problem.reason in OF_THE_JOB):
        return
    key = Key(DATABASE_BACKUPS, seen.key.namespace, backup.metadata.name)
    at = one.at.isoformat().replace("+00:00", "Z")
    before = condition_of(backup.status.conditions, VERIFIED)
    if problem is None:
        message = f"restored on trial and found whole by Job {one.name}"
        if before is None or before.message != message:
            seen.world.step(RecordVerification(message, backup.metadata.name))
            found = [STORED, Finding(VERIFIED, "True", "Verified", message)]
            await report(seen.world, key, backup, found, {"verifiedAt": at})
            await _again(seen, backup, key)
    elif before is None or one.name not in before.message:
        message = f"{problem.message} (Job {one.name})"
        seen.world.step(RecordVerification(message, backup.metadata.name))
        reason = problem.reason if isinstance(problem, Terminal) else "NotVerified"
        await report(seen.world, key, backup, [STORED, Finding(VERIFIED, "False", reason, message)])


async def _again(seen: Seen, backup: DatabaseBackup, key: Key) -> None:
    body = await seen.world.kube.get(key.path)
    seen.backups.remove(backup)
    if body is not None:
        seen.backups.append(DatabaseBackup.parse(body))
