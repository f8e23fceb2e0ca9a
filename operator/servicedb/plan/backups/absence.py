"""What a list of a store says of the backups that it does not show: gone, or rather that the list is to be doubted.

A volume that is not mounted, a bucket of the same name elsewhere, keys that see another prefix: each of them looks like
a store that was emptied.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from servicedb.api.database_backup import DatabaseBackup
from servicedb.plan.backups.entries import absent, is_stored
from servicedb.plan.backups.result import Told
from servicedb.plan.backups.standing import BACKUPS_MISSING, STORAGE
from servicedb.plan.conditions import READY, Finding, condition_of

MISSING = Finding(
    READY,
    "False",
    "Missing",
    "the last list of the store shows neither this backup nor most of the others that should stand beside it: it is "
    "not taken to be gone",
)


@dataclass(frozen=True, slots=True)
class Absence:
    """Names of the objects whose backups were not shown. `is_doubtful`: they are not to be taken for gone."""

    names: Sequence[str] = ()
    is_doubtful: bool = False


def absence(
    seen: Iterable[DatabaseBackup], told: Told, listed: Iterable[str], *, after: str | None, made_at: datetime
) -> Absence:
    """What follows from one page of a list, `told` by a Job that was made at `made_at`; `listed` are its complete
    backups, after the key `after`.

    Damaged backups that the page had no room to name could be any: then it says nothing of what it does not show. Of
    what it should have shown more than half missing is more than anybody prunes between two lists.
    """
    damaged = told.lines("damaged", 100)
    if (told.number("damagedCount") or 0) > len(damaged):
        return Absence()
    known = [
        one
        for one in seen
        if is_stored(one) and one.metadata.creation_timestamp is not None and one.metadata.creation_timestamp < made_at
    ]
    up_to = told.text("next")
    missing = absent(known, [*listed, *damaged], after=after, up_to=up_to)
    expected = absent(known, (), after=after, up_to=up_to)
    return Absence(missing, is_doubtful=2 * len(missing) > len(expected))


def is_missing(backup: DatabaseBackup) -> bool:
    """Whether the last list did not show it, and was doubted."""
    ready = condition_of(backup.status.conditions, READY)
    return not backup.status.gone and ready is not None and ready.reason == MISSING.reason


def storage_finding(backups: Iterable[DatabaseBackup]) -> list[Finding]:
    """What is to be said of the storage while backups are missing."""
    count = sum(is_missing(one) for one in backups)
    if not count:
        return []
    message = (
        f"the last list of the storage did not show {count} of the backups that were known, most of those that it "
        "should have: is the volume mounted, is it the bucket, the prefix and the key of before? Nothing is pruned, "
        "and none of them is taken to be gone; annotate the schedule with servicedb.io/reconcile-at to have the "
        "storage listed again. If they are gone for good, delete their DatabaseBackups (reason Missing)"
    )
    return [Finding(STORAGE, "False", BACKUPS_MISSING, message)]
