"""How far the Jobs of a schedule are, and what follows from it for each of its databases."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from servicedb.api.backup_schedule import Failure, ScheduledDatabaseStatus
from servicedb.api.database_backup import DatabaseBackup
from servicedb.errors import Problem, Retryable
from servicedb.plan.backups.entries import Entry, facts_of, is_stored, key_of, newest
from servicedb.plan.backups.pod import DATABASE, KEY, KEYS, PLACE, WORK
from servicedb.plan.backups.result import Told, told_by
from servicedb.plan.job_status import ended_at, job_state

_OF_JOB = "batch.kubernetes.io/controller-uid"
_LOST = "ResultLost"


@dataclass(frozen=True, slots=True)
class Ended:
    """A Job that has ended. `database` is the ServiceDatabase's name, `key` that of the backup that it read."""

    job: Mapping[str, Any]
    work: str
    database: str | None
    key: str | None
    at: datetime
    told: Told

    @property
    def name(self) -> str:
        return str(self.job["metadata"]["name"])

    @property
    def uid(self) -> str:
        return str(self.job["metadata"]["uid"])


def at_work(jobs: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The Jobs that have not ended."""
    return [job for job in jobs if job_state(job) == "Running"]


def ended(jobs: Iterable[Mapping[str, Any]], pods: Sequence[Mapping[str, Any]]) -> list[Ended]:
    """The Jobs that have ended, the oldest end first; `pods` are those of all of them."""
    return sorted((_read(job, pods) for job in jobs if job_state(job) != "Running"), key=lambda one: one.at)


def is_at(jobs: Iterable[Mapping[str, Any]], work: str) -> bool:
    """Whether one of `jobs` does that `work` just now."""
    return any(_label(job, WORK) == work for job in at_work(jobs))


def pruned_keys(done: Iterable[Ended]) -> set[str]:
    """Keys of what is no longer in the first place, by the Jobs that pruned there. What had no place in a message, the
    next list finds."""
    return {
        key
        for one in done
        if one.work == "prune" and (one.job["metadata"].get("annotations") or {}).get(PLACE) == "0"
        for key in one.told.lines("pruned", 1000)
    }


def deleted_keys(jobs: Iterable[Mapping[str, Any]]) -> set[str]:
    """Keys of the backups that Jobs delete, or have deleted. They stay until a list has shown what became of it."""
    return {
        key
        for job in jobs
        if _label(job, WORK) == "delete"
        for key in str((job["metadata"].get("annotations") or {}).get(KEYS, "")).splitlines()
    }


def live_runs(jobs: Iterable[Mapping[str, Any]], pods: Iterable[Mapping[str, Any]]) -> list[str]:
    """What backups at work call themselves in a store: the hosts of their pods, which are the pods' names."""
    uids = {job["metadata"]["uid"] for job in at_work(jobs) if _label(job, WORK) == "backup"}
    return sorted(f"{pod['metadata']['name']}:1" for pod in pods if _label(pod, _OF_JOB) in uids)


def database_status(
    name: str,
    before: ScheduledDatabaseStatus | None,
    backups: Sequence[DatabaseBackup],
    done: Iterable[Ended],
    *,
    now: datetime,
) -> ScheduledDatabaseStatus:
    """How the database `name` stands, by its `backups` and by the Jobs that are `done` for it, the oldest first.
    `before` None: it was not seen yet."""
    before = before or ScheduledDatabaseStatus(name=name, added_at=now.replace(microsecond=0))
    latest = newest(backups)
    stored = [one for one in backups if is_stored(one)]
    of_name = [one for one in done if one.database == name]
    made = [one for one in of_name if one.work == "backup" and not _is_lost(one)]
    success = latest.status.started_at if latest is not None else None
    verified = max((one.status.verified_at for one in stored if one.status.verified_at is not None), default=None)
    return ScheduledDatabaseStatus(
        name=name,
        added_at=before.added_at,
        last_success=success,
        last_key=key_of(latest) if latest is not None else None,
        last_verified=verified or before.last_verified,
        backups=len(stored),
        failure=_failure(before.failure, made, success),
        verify_failure=_failure(before.verify_failure, [one for one in of_name if one.work == "verify"], verified),
    )


def newly_made(
    done: Iterable[Ended], databases: Iterable[ScheduledDatabaseStatus], listed_at: datetime | None
) -> list[Entry]:
    """The backups that Jobs have made since the status of `databases` was written.

    A Job is there for longer than the backup may be, which can be pruned or get lost: what was counted once is not made
    again, and a list that was begun at `listed_at` knows better of all that ended before.
    """
    known = {one.name: one.last_success for one in databases}
    found = []
    for one in done:
        key, started = one.told.text("key"), one.told.text("startedAt")
        if one.work != "backup" or one.told.problem is not None or key is None or started is None:
            continue
        if listed_at is not None and one.at < listed_at:
            continue
        last = known.get(one.database or "")
        if last is None or datetime.fromisoformat(started) > last:
            found.append(Entry(key, one.database, facts_of(one.told)))
    return found


def handled_now(before: Mapping[str, object], now: Mapping[str, object]) -> dict[str, object]:
    """status.handled as it is patched: what is None `now` was there `before`, and goes."""
    return {name: value for name, value in now.items() if value is not None or name in before}


def lost(done: Iterable[Ended]) -> bool:
    """Whether a backup may have been made of which nothing was kept here."""
    return any(one.work == "backup" and _is_lost(one) for one in done)


def not_begun(problem: Problem, before: Failure | None, now: datetime) -> Failure:
    """Why a verification can't be begun: since then, where that was so `before`."""
    found = as_failure(problem, now.replace(microsecond=0)).model_copy(update={"not_begun": True})
    return before if before is not None and before == found.model_copy(update={"at": before.at}) else found


def as_failure(problem: Problem, at: datetime) -> Failure:
    return Failure(
        reason=problem.reason, message=problem.message[:2048], at=at, terminal=not isinstance(problem, Retryable)
    )


def _is_lost(one: Ended) -> bool:
    return one.told.problem is not None and one.told.problem.reason == _LOST


def _failure(before: Failure | None, done: Sequence[Ended], success: datetime | None) -> Failure | None:
    """Why the latest of `done` failed. Where none of them is as late as the failure of before, that stands, unless it
    went well since by other ways."""
    if done and (before is None or done[-1].at >= before.at):
        problem = done[-1].told.problem
        return as_failure(problem, done[-1].at) if problem is not None else None
    return before if before is not None and (success is None or success < before.at) else None


def _read(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Ended:
    metadata = job["metadata"]
    own = [pod for pod in pods if _label(pod, _OF_JOB) == metadata["uid"]]
    notes = metadata.get("annotations") or {}
    return Ended(
        job,
        _label(job, WORK) or "",
        notes.get(DATABASE),
        notes.get(KEY),
        datetime.fromisoformat(ended_at(job)),
        told_by(job, own),
    )


def _label(body: Mapping[str, Any], name: str) -> str | None:
    value = (body["metadata"].get("labels") or {}).get(name)
    return str(value) if value is not None else None
