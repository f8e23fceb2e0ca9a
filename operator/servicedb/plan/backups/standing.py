"""How a BackupSchedule stands: its conditions, from how each of its databases does."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from servicedb.api.backup_schedule import BackupSchedule, Failure, ScheduledDatabaseStatus
from servicedb.errors import Problem, Retryable
from servicedb.plan.backups.entries import seconds_of
from servicedb.plan.conditions import READY, RECONCILING, STALLED, Finding, beside, condition_of, of_problem

LAST_BACKUP: Final = "LastBackupSucceeded"
LAST_VERIFY: Final = "LastVerifySucceeded"
RECOVERY_POINT: Final = "RecoveryPointMet"
RECOVERY_TIME: Final = "RecoveryTimeMet"
LAST_PRUNE: Final = "LastPruneSucceeded"
KEY_USABLE: Final = "KeyUsable"
STORAGE: Final = "StorageReachable"

BACKUPS_MISSING: Final = "BackupsMissing"

_ORDER: Final = (LAST_BACKUP, RECOVERY_POINT, STORAGE, KEY_USABLE, LAST_VERIFY, RECOVERY_TIME, LAST_PRUNE)
_OF_STORAGE: Final = "Storage"
_TOLD: Final = 5
OF_THE_KEY: Final = frozenset({"BadIdentity", "NoIdentity", "WrongKey"})
"""Reasons of a verification that speak of the private key, not of the backup."""


def findings(
    schedule: BackupSchedule,
    databases: Sequence[ScheduledDatabaseStatus],
    *,
    now: datetime,
    next_run: str,
    told: Iterable[Finding] = (),
    measured: str | None = None,
) -> list[Finding]:
    """All conditions; `told` are those that a Job of this moment has told of, `measured` is status.measuredRecovery.

    Ready is False as soon as one of the others is: a schedule whose backups fail is not ready."""
    told = list(told)
    found = [
        _last_backup(databases),
        _recovery_point(schedule, databases, now),
        *(_told_of(STORAGE, told) or [_storage(databases)]),
        _key_usable(schedule, databases),
        _last_verify(schedule, databases),
        _recovery_time(schedule, measured),
    ]
    kept = [*(one for one in found if one is not None), *_last_prune(schedule, told)]
    return [_ready(kept, next_run), *_who_goes_on(databases), *kept, *_of_before(schedule, kept)]


def with_problems(found: Sequence[Finding], problems: Sequence[Problem]) -> list[Finding]:
    """`found`, with what stands in the way of the schedule itself, which goes before how its backups stand.

    Ready tells all of it. What is wrong goes before what is not known, whichever of the two says so. A problem may come
    from the making of a scratch database, and name a condition of a ServiceDatabase: that is none of a schedule's.
    """
    if not problems:
        return list(found)
    stands = next((one for one in found if one.type == READY), None)
    turned = {finding.type: finding for problem in reversed(problems) for finding in of_problem(problem)}
    kinds = [kind for kind in turned if kind in _ORDER]
    terminal = [one for one in problems if not isinstance(one, Retryable)]
    goes_on = Finding(
        STALLED if terminal else RECONCILING, "True", (terminal or problems)[0].reason, _told(terminal or problems)
    )
    rest = [one for one in found if one.type not in {READY, RECONCILING, STALLED, *kinds}]
    ready = _ready_with(stands, problems)
    return [*([ready] if ready is not None else []), goes_on, *(turned[kind] for kind in kinds), *rest]


def foreign(schedule: BackupSchedule) -> set[str]:
    """Types of conditions that the schedule carries, and that are none of its own."""
    return {one.type for one in schedule.status.conditions} - {READY, RECONCILING, STALLED, *_ORDER}


def _ready_with(stands: Finding | None, problems: Sequence[Problem]) -> Finding | None:
    for status in ("False", "Unknown"):
        of_status = [one for one in problems if one.ready == status]
        if of_status:
            found = Finding(READY, status, of_status[0].reason, _told([*of_status, *problems]))
            return beside(found, stands) if stands is not None and stands.status == status else found
        if stands is not None and stands.status == status:
            return replace(stands, message="; ".join((stands.message, _told(problems))))
    return stands


def _told(problems: Sequence[Problem]) -> str:
    """Each once, and not more than a person reads."""
    messages = list(dict.fromkeys(one.message for one in problems))
    more = f"; and {len(messages) - _TOLD} more" if len(messages) > _TOLD else ""
    return "; ".join(messages[:_TOLD]) + more


def recovery_point_ends(schedule: BackupSchedule, databases: Iterable[ScheduledDatabaseStatus]) -> list[datetime]:
    """When the newest backup of each database becomes too old, the first of them first: a moment at which nothing else
    may happen. Of a database without a backup it counts from when the schedule had it first."""
    objective = schedule.spec.objectives.recovery_point
    if objective is None:
        return []
    return sorted(
        since + objective.timedelta
        for one in databases
        if (since := one.last_success or had_since(schedule, one)) is not None
    )


def had_since(schedule: BackupSchedule, database: ScheduledDatabaseStatus) -> datetime | None:
    """Since when the schedule has the database."""
    known = [one for one in (schedule.metadata.creation_timestamp, database.added_at) if one is not None]
    return max(known, default=None)


def _ready(found: Iterable[Finding], next_run: str) -> Finding:
    by_type = {one.type: one for one in found}
    for kind in _ORDER:
        one = by_type.get(kind)
        if one is not None and one.status == "False":
            return Finding(READY, "False", one.reason, one.message)
    return Finding(READY, "True", "Ready", next_run)


def _who_goes_on(databases: Iterable[ScheduledDatabaseStatus]) -> list[Finding]:
    failures = [one for each in databases for one in (each.failure, each.verify_failure) if one is not None]
    for failure in sorted(failures, key=lambda one: not one.terminal)[:1]:
        kind = STALLED if failure.terminal else RECONCILING
        return [Finding(kind, "True", failure.reason, failure.message)]
    return []


def _last_backup(databases: Sequence[ScheduledDatabaseStatus]) -> Finding:
    failed = [(one.name, one.failure) for one in databases if one.failure is not None]
    if failed:
        return _failed(LAST_BACKUP, failed)
    waiting = [one.name for one in databases if one.last_success is None]
    if waiting or not databases:
        return Finding(LAST_BACKUP, "Unknown", "NoBackupYet", f"there is no backup yet{_of(waiting)}")
    return Finding(LAST_BACKUP, "True", "BackedUp", "the latest backup of each database is in the store")


def _last_verify(schedule: BackupSchedule, databases: Sequence[ScheduledDatabaseStatus]) -> Finding | None:
    if schedule.spec.verify is None:
        return None
    failed = [(one.name, one.verify_failure) for one in databases if one.verify_failure is not None]
    if failed:
        return _failed(LAST_VERIFY, failed)
    waiting = [one.name for one in databases if one.last_verified is None]
    if waiting or not databases:
        return Finding(LAST_VERIFY, "Unknown", "NotVerified", f"no backup was restored on trial yet{_of(waiting)}")
    return Finding(LAST_VERIFY, "True", "Verified", "a backup of each database was restored on trial and found whole")


def _recovery_point(
    schedule: BackupSchedule, databases: Sequence[ScheduledDatabaseStatus], now: datetime
) -> Finding | None:
    objective = schedule.spec.objectives.recovery_point
    if objective is None:
        return None
    late = [one for one in databases if any(end <= now for end in recovery_point_ends(schedule, [one]))]
    if late:
        message = f"{_ages(late)}; spec.objectives.recoveryPoint allows {objective}"
        return Finding(RECOVERY_POINT, "False", "RecoveryPointMissed", message)
    if any(one.last_success is None for one in databases) or not databases:
        waiting = [one.name for one in databases if one.last_success is None]
        return Finding(RECOVERY_POINT, "Unknown", "NoBackupYet", f"there is no backup yet{_of(waiting)}")
    return Finding(RECOVERY_POINT, "True", "RecoveryPointMet", f"every database has a backup younger than {objective}")


def _recovery_time(schedule: BackupSchedule, measured: str | None) -> Finding | None:
    objective = schedule.spec.objectives.recovery_time
    if objective is None:
        return None
    took = seconds_of(measured) if measured is not None else None
    if took is None:
        message = "no restore was measured yet: give spec.verify, by which one is made on trial"
        return Finding(RECOVERY_TIME, "Unknown", "NotMeasured", message)
    message = (
        f"the slowest of the latest verifications took {measured}; spec.objectives.recoveryTime allows {objective}"
    )
    if took > objective.timedelta.total_seconds():
        return Finding(RECOVERY_TIME, "False", "RecoveryTimeMissed", message)
    return Finding(RECOVERY_TIME, "True", "RecoveryTimeMet", message)


def _storage(databases: Sequence[ScheduledDatabaseStatus]) -> Finding:
    failures = [
        (one.name, failure)
        for one in databases
        for failure in (one.failure, one.verify_failure)
        if failure is not None and failure.reason.startswith(_OF_STORAGE)
    ]
    if failures:
        return _failed(STORAGE, failures)
    if any(one.last_success is not None and one.failure is None for one in databases):
        return Finding(STORAGE, "True", "StorageReachable", "the latest Job could use the storage")
    return Finding(STORAGE, "Unknown", "NotTried", "no Job has used the storage yet")


def _told_of(kind: str, told: Iterable[Finding]) -> list[Finding]:
    return [one for one in told if one.type == kind][:1]


def _key_usable(schedule: BackupSchedule, databases: Sequence[ScheduledDatabaseStatus]) -> Finding | None:
    """The private key is held to be usable only by what was restored with it."""
    encryption = schedule.spec.encryption
    if encryption is None:
        return None
    failed = [
        (one.name, one.verify_failure)
        for one in databases
        if one.verify_failure is not None and one.verify_failure.reason in OF_THE_KEY
    ]
    if failed:
        return _failed(KEY_USABLE, failed)
    if any(one.last_verified is not None for one in databases):
        return Finding(KEY_USABLE, "True", "KeyUsable", "a backup was restored on trial with the private key")
    if encryption.identity_secret_ref is None or schedule.spec.verify is None:
        message = "nobody has tried the private key: give spec.verify, with spec.encryption.identitySecretRef"
        return Finding(KEY_USABLE, "Unknown", "NotTried", message)
    return Finding(KEY_USABLE, "Unknown", "NotTried", "the private key is tried when a backup is restored on trial")


def _last_prune(schedule: BackupSchedule, told: Iterable[Finding]) -> list[Finding]:
    """How pruning went last: nobody but its Jobs knows, and they are gone soon."""
    if schedule.spec.retention is None:
        return []
    now = [one for one in told if one.type == LAST_PRUNE]
    if now or (before := condition_of(schedule.status.conditions, LAST_PRUNE)) is None:
        return now
    return [Finding(LAST_PRUNE, before.status, before.reason, before.message)]


def _of_before(schedule: BackupSchedule, kept: Iterable[Finding]) -> list[Finding]:
    """Conditions that were there and that the spec no longer asks for: they say nothing any more."""
    there = {one.type for one in kept}
    return [
        Finding(kind, "Unknown", "NotAsked", "the spec does not ask for this any more")
        for kind in _ORDER
        if kind not in there and condition_of(schedule.status.conditions, kind) is not None
    ]


def _failed(kind: str, failures: Sequence[tuple[str, Failure]]) -> Finding:
    (name, failure), others = failures[0], len(failures) - 1
    more = f"; and of {others} more" if others else ""
    return Finding(kind, "False", failure.reason, f'of ServiceDatabase "{name}": {failure.message}{more}')


def _of(names: Sequence[str]) -> str:
    shown = ", ".join(f'"{name}"' for name in names[:5])
    return f" of ServiceDatabase {shown}{' and others' if len(names) > 5 else ''}" if names else ""


def _ages(late: Sequence[ScheduledDatabaseStatus]) -> str:
    """Moments, and no ages: those would be another message at each look."""
    one = late[0]
    more = f", and {len(late) - 1} more" if len(late) > 1 else ""
    if one.last_success is None:
        return f'ServiceDatabase "{one.name}" has no backup{more}'
    return f'the newest backup of ServiceDatabase "{one.name}" is of {one.last_success:%Y-%m-%d %H:%M:%S %Z}{more}'
