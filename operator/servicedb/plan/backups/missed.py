"""Backups that were due and that nobody has begun: a CronJob that does not run fails nothing, and says nothing."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from servicedb.api.backup_schedule import ScheduledDatabaseStatus
from servicedb.plan.backups.cron import last_due
from servicedb.plan.backups.pod import CHANGED_AT, DATABASE, WORK


def missed(
    databases: Iterable[ScheduledDatabaseStatus],
    cron_jobs: Iterable[Mapping[str, Any]],
    jobs: Iterable[Mapping[str, Any]],
    *,
    schedule: str,
    time_zone: str,
    now: datetime,
) -> list[str]:
    """The databases of which no backup was begun at either of the last two times that were due.

    A time counts once the CronJob has stood as it is since before: one that was just made or changed missed nothing.
    """
    last = last_due(schedule, time_zone, now)
    before = last_due(schedule, time_zone, last - timedelta(seconds=1)) if last is not None else None
    if before is None:
        return []
    stands = {_note(one, DATABASE): _note(one, CHANGED_AT) for one in cron_jobs}
    begun = {_note(one, DATABASE) for one in jobs if _is_backup(one) and _made(one) >= before}
    return [
        one.name
        for one in databases
        if one.name not in begun
        and (since := stands.get(one.name)) is not None
        and datetime.fromisoformat(since) < before
        and (one.last_success is None or one.last_success < before)
    ]


def _is_backup(job: Mapping[str, Any]) -> bool:
    return (job["metadata"].get("labels") or {}).get(WORK) == "backup"


def _made(job: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(job["metadata"]["creationTimestamp"])


def _note(body: Mapping[str, Any], name: str) -> str | None:
    noted: str | None = (body["metadata"].get("annotations") or {}).get(name)
    return noted
