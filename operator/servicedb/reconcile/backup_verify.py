"""Verifying: by its own schedule the newest backup of each database is restored on trial, one after the other.

What a Job found is read, then written into the status, and only then the Job goes: one that is killed in between reads
it again.
"""

import json
from datetime import datetime

from servicedb.api.backup_schedule import Failure, Verification
from servicedb.api.database_backup import DatabaseBackup
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Problem, Retryable, Terminal
from servicedb.naming import RoleNames
from servicedb.plan.backups.absence import is_missing
from servicedb.plan.backups.command import verify as command
from servicedb.plan.backups.cron import last_due, next_due
from servicedb.plan.backups.entries import key_of, newest
from servicedb.plan.backups.location import locations
from servicedb.plan.backups.pod import DATABASE, KEY, Task, hashed_name, job
from servicedb.plan.backups.progress import Ended, not_begun
from servicedb.plan.backups.quantity import in_bytes
from servicedb.plan.scratch import Scratch, scratch_database
from servicedb.plan.wanted import WantedExtension
from servicedb.reconcile.backup_observe import Outcome, Seen
from servicedb.reconcile.job_ground import check_service_account, endpoint, image
from servicedb.reconcile.scratch import give_up_scratch, open_scratch


async def verify(seen: Seen) -> Outcome:
    """Begin the next verification that is due. One that can't be begun keeps none of the others from it."""
    spec, made = seen.schedule.spec, seen.schedule.metadata.creation_timestamp
    await _tidy(seen)
    if spec.verify is None:
        return Outcome()
    now = seen.world.now()
    due = last_due(spec.verify.schedule, spec.time_zone, now)
    following = next_due(spec.verify.schedule, spec.time_zone, now)
    again = [following] if following is not None else []
    before = seen.schedule.status.handled.verified_for
    if due is None or made is None or due < made or (before is not None and due <= before) or spec.suspend:
        return Outcome(again=again)
    waiting: list[Problem] = []
    for name in seen.names:
        backup = newest(one for one in seen.backups_of(name) if not is_missing(one))
        if backup is None or _is_done(seen, name, due):
            continue
        job_name = hashed_name(name, seen.schedule.metadata.uid, "verify", due.isoformat())
        if seen.job(job_name) is None:
            try:
                await _begin(seen, spec.verify, name, backup, job_name)
            except Retryable as problem:
                waiting.append(_of_database(problem, name))
                continue
            except Problem as problem:
                seen.not_begun[name] = not_begun(problem, _failure(seen, name), now)
                continue
        seen.made = True
        return Outcome(again=again, problems=waiting)
    if waiting or seen.not_begun:  # they are tried again at each look
        return Outcome(again=again, problems=waiting)
    return Outcome(handled={"verifiedFor": due.isoformat().replace("+00:00", "Z")}, again=again)


def _is_done(seen: Seen, name: str, due: datetime) -> bool:
    """Whether the database was verified for that time, as the status says it, well or not."""
    status = next((one for one in seen.schedule.status.databases if one.name == name), None)
    if status is None:
        return False
    failure = status.verify_failure
    failed = failure.at if failure is not None and not failure.not_begun else None
    return any(at is not None and at >= due for at in (status.last_verified, failed))


def _failure(seen: Seen, name: str) -> Failure | None:
    return next((one.verify_failure for one in seen.schedule.status.databases if one.name == name), None)


def _of_database(problem: Retryable, name: str) -> Retryable:
    """None of its own conditions: those that it names are of a ServiceDatabase."""
    message = f'the backup of ServiceDatabase "{name}" is not restored on trial yet: {problem.message}'
    return type(problem)(problem.reason, message, ready=problem.ready)


async def _tidy(seen: Seen) -> None:
    """Give up what the Jobs had whose result stands in the status. One that failed is kept for its log."""
    for one in seen.done:
        if one.work != "verify" or (one.database in seen.names and not _is_done(seen, one.database, one.at)):
            continue
        kept = one.told.problem is not None and seen.world.now() - one.at < seen.schedule.spec.job.ttl.timedelta
        if not kept:
            if (server := _server(seen, one)) is not None:
                give_up_scratch(seen.world, Scratch(server, seen.key.namespace, one.name))
            await seen.drop(one)


def _server(seen: Seen, one: Ended) -> str | None:
    """Where the Job's database is: the spec may name another server by now, or none."""
    wanted = seen.schedule.spec.verify
    noted: str | None = (one.job["metadata"].get("annotations") or {}).get(_SERVER)
    return noted or (wanted.server_ref.name if wanted is not None else None)


_SERVER = "servicedb.io/scratch-server"


async def _begin(seen: Seen, wanted: Verification, name: str, backup: DatabaseBackup, job_name: str) -> None:
    """Raises a Problem where the scratch database can't be had, or not yet."""
    spec, key, database = seen.schedule.spec, key_of(backup), seen.databases.get(name)
    assert key is not None
    server = wanted.server_ref.name
    if database is not None and database.spec.server_ref.name == server and not wanted.allow_same_server:
        raise Terminal(
            "SameServer",
            f'spec.verify.serverRef names DatabaseServer "{server}", on which ServiceDatabase '
            f'"{database.metadata.name}" itself is; name another one, or set spec.verify.allowSameServer',
        )
    await check_service_account(seen.world, seen.key.namespace, spec.job.service_account_name)
    scratch = Scratch(
        server,
        seen.key.namespace,
        job_name,
        extensions=_extensions(database),
        schemas=tuple(one.name for one in database.spec.schemas) if database is not None else (),
        expected_bytes=backup.status.raw_bytes or 0,
        max_bytes=in_bytes(wanted.max_size) if wanted.max_size is not None else None,
    )
    login = await open_scratch(seen.world, scratch)
    scratch_name = scratch_database(seen.world.cluster_uid, seen.key.namespace, job_name)
    place = locations(spec, "Read")[0]
    identity = spec.encryption.identity_secret_ref if spec.encryption is not None else None
    asked = [{"name": one.name, "sql": one.sql, "expect": one.expect} for one in wanted.assertions]
    task = Task(
        work="verify",
        owner=seen.owner,
        arguments=command(
            place,
            key,
            parallel=spec.parallel,
            identity=identity is not None,
            as_role=RoleNames(scratch_name).owner,
            assertions=bool(asked),
        ),
        image=await image(seen.world),
        settings=spec.job,
        deadline=spec.deadline,
        locations=[place],
        login=login,
        endpoint=endpoint(seen.world, server, scratch_name),
        identity=identity.name if identity is not None else None,
        assertions=json.dumps(asked) if asked else None,
        notes={
            KEY: key,
            _SERVER: server,
            DATABASE: name,
        },
    )
    await seen.make(job(task, job_name))


def _extensions(database: ServiceDatabase | None) -> tuple[WantedExtension, ...]:
    """Those that the database has by its spec: a restore is let make none."""
    if database is None:
        return ()
    return tuple(
        WantedExtension(one.name, one.schema_ or "extensions", one.version) for one in database.spec.extensions
    )
