"""What stands in a schedule's store, as DatabaseBackup objects: told by the Jobs that put it there, or by a list."""

from datetime import datetime, timedelta
from typing import Any

from servicedb.api.common import HANDLED_LENGTH, RECONCILE_AT
from servicedb.api.database_backup import DatabaseBackup
from servicedb.errors import Retryable, Terminal
from servicedb.kube import resources
from servicedb.kube.client import ApiError, refusal
from servicedb.kube.resources import DATABASE_BACKUPS, Key
from servicedb.plan.backups.command import catalogue
from servicedb.plan.backups.entries import (
    STORED,
    VERIFIED,
    Entry,
    absent,
    database_of,
    entry_manifest,
    facts_of,
    key_of,
    missing_entries,
    unverified,
)
from servicedb.plan.backups.location import locations
from servicedb.plan.backups.pod import Task, hashed_name, job
from servicedb.plan.backups.progress import Ended, lost, newly_made
from servicedb.plan.backups.result import OF_THE_JOB
from servicedb.plan.backups.standing import STORAGE
from servicedb.plan.conditions import READY, Finding, condition_of
from servicedb.plan.steps import DescribeBackup, ForgetBackup, MarkGone, RecordBackup, RecordVerification
from servicedb.reconcile.backup_observe import Outcome, Seen
from servicedb.reconcile.job_ground import image
from servicedb.reconcile.report import report

_EACH = timedelta(days=1)
_PAUSE = timedelta(minutes=2)
"""How long after a list that failed the next one is tried."""


async def record(seen: Seen) -> None:
    """Have an object for each backup that a Job has made, and write what verifications found into theirs."""
    await _record(seen, newly_made(seen.done, seen.schedule.status.databases))
    for one in seen.done:
        if one.work == "verify" and one.key is not None:
            await _record_verification(seen, one, one.key)


async def list_store(seen: Seen) -> Outcome:
    """List the store where that is due: at first, each day, when an annotation asks, and when something is missing."""
    schedule, now = seen.schedule, seen.world.now()
    handled = schedule.status.handled
    asked = schedule.metadata.annotations.get(RECONCILE_AT, "")
    of = (str(schedule.metadata.generation), str(handled.listed_at), handled.listed_up_to or "", asked)
    name = hashed_name(schedule.metadata.name, schedule.metadata.uid, "list", *of)
    for other in [each for each in seen.done if each.work == "list" and each.name != name]:
        await seen.drop(other)
    begun = handled.listed_up_to is not None or seen.job(name) is not None
    if not begun and not _is_due(seen) and handled.listed_at is not None:
        return Outcome(again=[handled.listed_at + _EACH])
    if (one := seen.ended(name)) is None:
        if seen.job(name) is None:
            await seen.make(job(await _task(seen), name))
        return Outcome()
    if one.told.problem is not None:
        if now - one.at > _PAUSE:
            await seen.drop(one)
        words = f"the store can't be listed: {one.told.problem}"
        problem = type(one.told.problem)(one.told.problem.reason, words, condition=STORAGE)
        return Outcome(again=[one.at + _PAUSE], problems=[problem])
    await _read(seen, one, after=handled.listed_up_to)
    await seen.drop(one)
    further = one.told.text("next")
    if further is not None:
        return Outcome(handled={"listedUpTo": further})
    whole: dict[str, object] = {
        "listedUpTo": None,
        "listedAt": now.replace(microsecond=0).isoformat().replace("+00:00", "Z"),
    }
    return Outcome(handled=whole | ({"reconcileAt": asked[:HANDLED_LENGTH]} if asked else {}))


async def mark_gone(seen: Seen, backup: DatabaseBackup, reason: str, message: str) -> None:
    """Say that the backup is no longer in the store, then delete its object unless it is an order, which a person made.

    That it is gone is said first: the deletion is then known to be nobody's wish to delete the backup.
    """
    key = Key(DATABASE_BACKUPS, seen.key.namespace, backup.metadata.name)
    seen.world.step(MarkGone(message, backup.metadata.name))
    await report(seen.world, key, backup, [Finding(READY, "False", reason, message)], {"gone": True})
    if backup.spec.key is not None:
        seen.world.step(ForgetBackup(message, backup.metadata.name))
        try:
            await seen.world.kube.delete(key.path, uid=backup.metadata.uid)
        except ApiError as error:
            raise refusal(error, namespace=key.namespace) from None
        seen.backups.remove(backup)


def _is_due(seen: Seen) -> bool:
    schedule = seen.schedule
    handled = schedule.status.handled
    if handled.listed_at is None or seen.world.now() - handled.listed_at > _EACH:
        return True
    asked = schedule.metadata.annotations.get(RECONCILE_AT)
    if asked is not None and asked[:HANDLED_LENGTH] != handled.reconcile_at:
        return True
    if (schedule.status.backups or 0) > len(seen.stored):
        return True
    return lost(one for one in seen.done if one.at > handled.listed_at)


async def _task(seen: Seen) -> Task:
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
    )


async def _read(seen: Seen, one: Ended, *, after: str | None) -> None:
    listed = [(key, facts) for facts in one.told.parts("backups") if isinstance(key := facts.get("key"), str)]
    databases = seen.databases.values()
    await _record(seen, [Entry(key, database_of(key, databases), facts_of(facts)) for key, facts in listed])
    damaged = set(one.told.lines("damaged", 100))
    for backup in [each for each in seen.backups if key_of(each) in damaged]:
        place = Key(DATABASE_BACKUPS, seen.key.namespace, backup.metadata.name)
        message = "the backup is not whole any more: its manifest or one of its parts is not what it was"
        await report(seen.world, place, backup, [Finding(READY, "False", "Damaged", message)])
    there = [*(key for key, _ in listed), *damaged]
    gone = absent(seen.stored, there, after=after, up_to=one.told.text("next"))
    for backup in [each for each in seen.backups if each.metadata.name in gone]:
        if backup.metadata.creation_timestamp is not None and backup.metadata.creation_timestamp < _made_at(one):
            await mark_gone(seen, backup, "Gone", "the backup is not in the store any more")


def _made_at(one: Ended) -> datetime:
    return datetime.fromisoformat(one.job["metadata"]["creationTimestamp"])


async def _record(seen: Seen, entries: list[Entry]) -> None:
    by_key = {entry.key: entry for entry in entries}
    for backup in seen.backups:
        entry = by_key.get(backup.spec.key or "")
        is_empty = condition_of(backup.status.conditions, READY) is None  # killed between its making and its status
        if entry is not None and is_empty:
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
    fields: dict[str, Any] = {**entry.facts, "key": entry.key}
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
