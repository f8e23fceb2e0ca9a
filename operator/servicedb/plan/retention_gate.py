"""What has to be so before a RetentionPolicy may delete: no other policy on its tables, and a young enough backup."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from servicedb.api.database_backup import DatabaseBackup
from servicedb.api.retention_policy import RequireRecentBackup, RetentionPolicy
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Retryable, Terminal
from servicedb.plan.backups.absence import is_missing
from servicedb.plan.backups.entries import database_of, is_stored, key_of
from servicedb.plan.identifiers import parsed_name

Table = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Proof:
    """The backup on which a run relies: the digest of its manifest, and the moment that it shows the database at."""

    digest: str
    time: datetime


def tables_of(policy: RetentionPolicy) -> dict[Table, str]:
    """Schema and name of the table of each rule -> as the rule writes it. Raises Terminal for what is no such name."""
    found: dict[Table, str] = {}
    for rule in policy.spec.rules:
        shown = ascii(rule.table)[1:-1]
        parsed = parsed_name(rule.table)
        if parsed is None or parsed[0] is None:
            raise Terminal(
                "InvalidTable",
                f'spec.rules names the table "{shown}"; write it with its schema, as in public.sessions, and with '
                'double quotes around what holds other characters or capitals, as in app."Sessions"',
            )
        table = (parsed[0], parsed[1])
        if table in found:
            raise Terminal(
                "InvalidTable",
                f'spec.rules has two rules for one table, "{ascii(found[table])[1:-1]}" and "{shown}"; leave one out',
            )
        found[table] = rule.table
    return found


def check_alone(policy: RetentionPolicy, others: Iterable[Mapping[str, Any]]) -> None:
    """Raise Terminal where an older one of `others` (policies of the namespace) has a rule for one of the same tables.

    Of two that were made in the same second the one with the smaller UID counts as older: all see it alike.
    """
    own = (_made(policy), policy.metadata.uid)
    tables = tables_of(policy)
    for other in others:
        metadata, spec = other["metadata"], other.get("spec") or {}
        older = (metadata.get("creationTimestamp", ""), metadata["uid"]) < own
        same = (spec.get("databaseRef") or {}).get("name") == policy.spec.database_ref.name
        if not same or not older or metadata.get("deletionTimestamp"):
            continue
        for rule in spec.get("rules") or ():
            if (table := parsed_name(str(rule.get("table")))) in tables:
                raise Terminal(
                    "Duplicate",
                    f'RetentionPolicy "{metadata["name"]}" has a rule for table {".".join(map(str, table or ()))} of '
                    f'ServiceDatabase "{policy.spec.database_ref.name}" already; take the rule out of one of them',
                )


def proof(
    required: RequireRecentBackup, backups: Iterable[DatabaseBackup], database: ServiceDatabase, now: datetime
) -> Proof:
    """The newest of `backups` (those of the schedule) of that very database. Raises Retryable where it is too old."""
    good = [one for one in backups if _counts(one, database) and (one.status.verified_at or not required.verified)]
    newest = max((_proof(one) for one in good), key=lambda one: one.time, default=None)
    if newest is not None and now - newest.time <= required.max_age.timedelta:
        return newest
    what = "backup that was restored on trial" if required.verified else "backup"
    age = "there is none" if newest is None else f"the newest is of {newest.time:%Y-%m-%d %H:%M:%S %Z}"
    raise Retryable(
        "BackupTooOld",
        f'spec.requireBackup asks for a {what} of BackupSchedule "{required.schedule_ref.name}" that is no older than '
        f"{required.max_age}, and {age}: nothing is deleted; look at the schedule, or have it run now "
        "(servicedb.io/run-at)",
    )


def _counts(backup: DatabaseBackup, database: ServiceDatabase) -> bool:
    key, status = key_of(backup), backup.status
    told = status.manifest_digest is not None and status.started_at is not None
    return (
        told and is_stored(backup) and not is_missing(backup) and key is not None and bool(database_of(key, [database]))
    )


def _proof(backup: DatabaseBackup) -> Proof:
    assert backup.status.manifest_digest is not None
    assert backup.status.started_at is not None
    return Proof(backup.status.manifest_digest, backup.status.started_at)


def _made(policy: RetentionPolicy) -> str:
    made = policy.metadata.creation_timestamp
    return made.strftime("%Y-%m-%dT%H:%M:%SZ") if made is not None else ""
