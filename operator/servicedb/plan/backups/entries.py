"""Backups as DatabaseBackup objects: which there are to be for what stands in a store.

Such an object is a view. That one is missing never means that a backup is to be deleted.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from servicedb.api.backup_schedule import BackupSchedule
from servicedb.api.common import API_VERSION
from servicedb.api.database_backup import LISTED_NOT_INCLUDED, DatabaseBackup
from servicedb.api.service_database import ServiceDatabase
from servicedb.plan.backups.keys import Key
from servicedb.plan.backups.location import address, same_place
from servicedb.plan.backups.result import Told
from servicedb.plan.conditions import READY, Finding, condition_of

VERIFIED = "Verified"
STORED = Finding(READY, "True", "Stored", "the backup is in the store")

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_LONGEST_STEM = 200


@dataclass(frozen=True, slots=True)
class Entry:
    """A backup that is to have an object: `database` is its ServiceDatabase's name, where there is one here."""

    key: str
    database: str | None
    facts: Mapping[str, Any]


def database_of(key: str, databases: Iterable[ServiceDatabase]) -> str | None:
    """Which of `databases` the backup under `key` is of; None where it is none of them."""
    parsed = Key.parse(key)
    group = str(parsed.place.group) if parsed is not None else None
    for database in databases:
        if f"{database.status.system_identifier}-{database.status.database_oid}" == group:
            return database.metadata.name
    return None


def entry_name(schedule: BackupSchedule, entry: Entry) -> str:
    """The name of the object: it begins with the database and the time, and is another one for each schedule and
    each place."""
    parsed = Key.parse(entry.key)
    at = parsed.place.id.partition("-")[0].lower() if parsed is not None else "unknown"
    of = (schedule.metadata.name, entry.key, address(schedule.spec.storage))
    digest = hashlib.sha256("\0".join(of).encode()).hexdigest()[:8]
    return f"{(entry.database or schedule.metadata.name)[:_LONGEST_STEM].rstrip('-.')}-{at}-{digest}"


def entry_manifest(schedule: BackupSchedule, entry: Entry) -> dict[str, Any]:
    """The object as the API server takes it. Nobody owns it: it outlives its schedule, as the backup does."""
    spec: dict[str, Any] = {
        "key": entry.key,
        "scheduleRef": {"name": schedule.metadata.name},
        "storage": schedule.spec.storage.as_json(),
    }
    if entry.database is not None:
        spec["databaseRef"] = {"name": entry.database}
    if schedule.spec.encryption is not None:
        spec["encryption"] = schedule.spec.encryption.as_json()
    return {
        "apiVersion": API_VERSION,
        "kind": "DatabaseBackup",
        "metadata": {"name": entry_name(schedule, entry), "namespace": schedule.metadata.namespace},
        "spec": spec,
    }


def missing_entries(entries: Iterable[Entry], seen: Iterable[DatabaseBackup]) -> list[Entry]:
    """Those of `entries` that no object of `seen` stands for, each once: an order that made the backup is one, too."""
    known = {key_of(one) for one in seen}
    missing = {entry.key: entry for entry in entries if entry.key not in known}
    return list(missing.values())


def belongs_to(schedule: BackupSchedule, backup: DatabaseBackup) -> bool:
    """Whether it stands for a backup in the schedule's storage, or for one that is on its way there: one of its own, or
    an order that names the same place."""
    reference, storage = backup.spec.schedule_ref, backup.spec.storage
    if storage is not None:
        return same_place(storage, schedule.spec.storage) and (
            backup.spec.key is None or (reference is not None and reference.name == schedule.metadata.name)
        )
    return reference is not None and reference.name == schedule.metadata.name


def key_of(backup: DatabaseBackup) -> str | None:
    return backup.spec.key or backup.status.key


def is_stored(backup: DatabaseBackup) -> bool:
    """Whether it stands for a backup that is in the store and whole, as far as is known."""
    ready = condition_of(backup.status.conditions, READY)
    is_damaged = ready is not None and ready.reason == "Damaged"
    return key_of(backup) is not None and not backup.status.gone and not is_damaged


def absent(seen: Iterable[DatabaseBackup], listed: Iterable[str], *, after: str | None, up_to: str | None) -> list[str]:
    """Names of the objects whose backup is not among `listed`, which is all that the store holds from `after` (not
    itself) up to `up_to`, or to the end."""
    there = set(listed)
    return [
        one.metadata.name
        for one in seen
        if (key := key_of(one)) is not None
        and is_stored(one)
        and key not in there
        and (after is None or order_of(key) > order_of(after))
        and (up_to is None or order_of(key) <= order_of(up_to))
    ]


def order_of(key: str) -> tuple[str, str]:
    """By which a catalogue is sorted: the oldest first, whatever the database."""
    group, _, rest = key.partition("/")
    return rest, group


def facts_of(told: Told | Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a DatabaseBackup's status, by what a Job told of it."""
    told = told if isinstance(told, Told) else Told(None, told)
    size, seconds = told.number("sizeBytes"), told.number("seconds")
    version = told.number("serverVersion")
    found: dict[str, Any] = {
        "key": told.text("key"),
        "databaseName": told.text("database"),
        "manifestDigest": told.text("manifestDigest"),
        "size": shown_bytes(size) if size is not None else None,
        "sizeBytes": size,
        "rawBytes": told.number("rawBytes"),
        "rows": told.number("rows"),
        "duration": shown_seconds(seconds) if seconds is not None else None,
        "serverVersion": shown_version(version) if version is not None else None,
        "startedAt": told.text("startedAt"),
        "completedAt": told.text("completedAt"),
        "notIncluded": told.lines("notIncluded", LISTED_NOT_INCLUDED),
    }
    return {name: value for name, value in found.items() if value not in (None, [])}


def unverified(backup: DatabaseBackup) -> list[Finding]:
    """What a backup that is in the store says of itself; of its verification only where nothing was said yet."""
    if condition_of(backup.status.conditions, VERIFIED) is not None:
        return [STORED]
    return [STORED, Finding(VERIFIED, "Unknown", "NotVerified", "it was not restored on trial yet")]


def newest(backups: Iterable[DatabaseBackup]) -> DatabaseBackup | None:
    """The one that shows its database at the latest moment."""
    dated = [one for one in backups if is_stored(one) and one.status.started_at is not None]
    return max(dated, key=_started, default=None)


def _started(backup: DatabaseBackup) -> datetime:
    assert backup.status.started_at is not None
    return backup.status.started_at


def shown_bytes(size: int) -> str:
    """`size` for people, such as 1.5 GiB."""
    amount, unit = float(size), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 or amount >= 100 else f"{amount:.1f} {_UNITS[unit]}"


def shown_seconds(seconds: float) -> str:
    """A duration for people, such as 1h02m or 3s."""
    whole = timedelta(seconds=max(0, round(seconds)))
    minutes, rest = divmod(int(whole.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"


def seconds_of(shown: str) -> int | None:
    """What `shown_seconds` has shown; None for what is none of its words."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", shown)
    if match is None or not shown:
        return None
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds


def shown_version(server_version: int) -> str:
    """`server_version` as in server_version_num."""
    return f"{server_version // 1_00_00}.{server_version % 1_00_00}"
