"""Whether the deletion of a DatabaseBackup is the wish that its backup be deleted, too.

Absence says nothing: objects go with their namespace, with their CRD, with a cluster, and the backup is what is needed
then. A wish is a deletion that was seen as it happened, by one who deleted that object alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from servicedb.api.backup_schedule import BackupSchedule
from servicedb.api.common import Unreadable
from servicedb.api.database_backup import DatabaseBackup
from servicedb.plan.backups.absence import is_missing
from servicedb.plan.backups.entries import belongs_to, key_of

PAUSE: Final = timedelta(seconds=10)
"""So long after the deletion it is looked whether more is going, such as the schedule or the namespace."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The backup `key` is to be deleted: its object `backup` was, at `at`."""

    backup: DatabaseBackup
    key: str
    schedule: str
    at: datetime


def wish_of(body: Mapping[str, Any], at: datetime) -> Wish | None:
    """What the deletion of the object `body`, seen at `at`, asks for; None: nothing.

    An object goes by the operator's own hand when its backup is gone, and by a person's when a list of the store does
    not show it: neither says anything of the backup.
    """
    try:
        backup = DatabaseBackup.parse(body)
    except Unreadable:
        return None
    key, reference = key_of(backup), backup.spec.schedule_ref
    if key is None or reference is None or backup.status.gone or is_missing(backup):
        return None
    return Wish(backup, key, reference.name, at)


def granted(wishes: Iterable[Wish], schedule: BackupSchedule, there: Iterable[DatabaseBackup]) -> list[Wish]:
    """Those that count: the schedule was there and deletes, the backup is in its storage, and no object stands for it
    again. `there` are the backups that have an object now."""
    known = {key_of(one) for one in there}
    made = schedule.metadata.creation_timestamp
    if schedule.spec.deletion.policy != "Delete" or made is None:
        return []
    return [one for one in wishes if made < one.at and one.key not in known and belongs_to(schedule, one.backup)]
