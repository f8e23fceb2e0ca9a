"""Which backups stay whatever a retention says, and which objects stay with them.

By key, which names one backup in whatever store: a pin counts for the copies, too, and goes on counting when a schedule
has another name or another storage by now. One key too many keeps a backup for longer, one too few loses it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from servicedb.api.database_backup import DatabaseBackup
from servicedb.api.database_restore import DatabaseRestore
from servicedb.plan.backups.entries import VERIFIED, is_stored, key_of
from servicedb.plan.backups.keys import Key
from servicedb.plan.backups.pod import KEY, WORK
from servicedb.plan.conditions import condition_of
from servicedb.plan.job_status import job_state
from servicedb.plan.migration_standing import SUCCEEDED

AGAINST: Final = frozenset({"AssertionFailed", "BackupDamaged", "Mismatch", "RestoreFailed"})
"""Reasons of a verification that speak of the backup itself, not of the key, the store or the server."""


def pinned_keys(backups: Iterable[DatabaseBackup]) -> set[str]:
    """Keys of those that are pinned, whether they are in the first store just now or not."""
    return {key for one in backups if one.spec.pinned and (key := key_of(one)) is not None}


def verified_keys(backups: Iterable[DatabaseBackup]) -> set[str]:
    """Keys of those that were restored on trial and found whole, and not found otherwise since."""
    return {key for one in backups if is_verified(one) and (key := key_of(one)) is not None}


def keys_in_use(jobs: Iterable[Mapping[str, Any]], restores: Iterable[DatabaseRestore]) -> set[str]:
    """Keys of the backups that somebody reads: the Jobs that verify and have not ended, and restores that have not
    succeeded, which may be made again."""
    notes = [
        one["metadata"].get("annotations") or {}
        for one in jobs
        if (one["metadata"].get("labels") or {}).get(WORK) == "verify" and job_state(one) == "Running"
    ]
    asked = [one.status.key or one.spec.source.key for one in restores if not _has_succeeded(one)]
    return {str(key) for key in (*(note.get(KEY) for note in notes), *asked) if key}


def prunes_meanwhile(jobs: Iterable[Mapping[str, Any]], key: str) -> str | None:
    """The Job of `jobs` that is deleting backups and was not told to spare that one; None: there is none."""
    for one in jobs:
        work = (one["metadata"].get("labels") or {}).get(WORK)
        arguments = one["spec"]["template"]["spec"]["containers"][0].get("args") or ()
        if work in ("prune", "delete") and job_state(one) == "Running" and f"--pinned={key}" not in arguments:
            return str(one["metadata"]["name"])
    return None


def is_verified(backup: DatabaseBackup) -> bool:
    """Whether it was restored on trial and found whole, and no later trial spoke against it."""
    found = condition_of(backup.status.conditions, VERIFIED)
    was_found_wanting = found is not None and found.status == "False" and found.reason in AGAINST
    return backup.status.verified_at is not None and not was_found_wanting


def may_be_forgotten(backup: DatabaseBackup, backups: Iterable[DatabaseBackup]) -> bool:
    """Whether its object may go, since its backup has gone from the first store. `backups` are all of its schedule.

    An order is a person's. A pin, and the word that this is the newest verified backup of its database, stand nowhere
    but in the object, and the copies are pruned by them.
    """
    if backup.spec.key is None or not backup.status.gone or backup.spec.pinned:
        return False
    if not is_verified(backup):
        return True
    place = _place(backup)
    return any(
        is_stored(other) and is_verified(other) and (of := _place(other))[0] == place[0] and of[1] > place[1]
        for other in backups
    )


def _place(backup: DatabaseBackup) -> tuple[str, str]:
    """Of which database it is, and the id, by which backups are sorted by their time."""
    parsed = Key.parse(key_of(backup) or "")
    return (str(parsed.place.group), parsed.place.id) if parsed is not None else ("", "")


def _has_succeeded(restore: DatabaseRestore) -> bool:
    succeeded = condition_of(restore.status.conditions, SUCCEEDED)
    return succeeded is not None and succeeded.status == "True"
