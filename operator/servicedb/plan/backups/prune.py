"""What pruning deletes, in which order, and when it rather stops.

Pure: the catalogue comes in. Nothing good is ever lost by it: what is deleted is either a complete backup that the
retention does not keep, or the rest of one that is no backup any more, or has never become one.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from servicedb.plan.backups.catalogue import Entry, Lot
from servicedb.plan.backups.keys import MANIFEST, STARTED, TOMBSTONE, Group, Key
from servicedb.plan.backups.retention import Backup, Retention, kept

CLOCKS_MAY_DIFFER: Final = timedelta(hours=1)
ABANDONED_AFTER: Final = timedelta(days=1)
"""A start marker is written again each minute. One that was not for so long is that of a run that is no more."""

_FAR_SMALLER: Final = 2
_BYTES_THAT_COUNT: Final = 1 << 20
_ROWS_THAT_COUNT: Final = 100


@dataclass(frozen=True, slots=True)
class Bury:
    """Put a tombstone: from now on this is going away, or is being looked at for that."""

    key: str


@dataclass(frozen=True, slots=True)
class Check:
    """Look again whether this is still what was planned for, by the store's clock; if it isn't, take the tombstone back
    and leave the rest."""

    lot: Lot


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete exactly this object."""

    key: str


Step = Bury | Check | Delete


@dataclass(frozen=True, slots=True)
class Pruning:
    """One backup that goes, or an orphan. `key` is that of its manifest, whether it has one or not."""

    lot: Lot
    steps: tuple[Step, ...]

    @property
    def key(self) -> str:
        return self.lot.place.manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What is kept whatever the retention says, by keys; `live` are the runs that may still be at work."""

    verified: frozenset[str] = frozenset()
    pinned: frozenset[str] = frozenset()
    live: frozenset[str] = frozenset()


@dataclass(slots=True)
class Decision:
    """`kept` says why (key -> reasons). `later` backups could go, too, with a later run. `stopped` says for a group why
    nothing of it is pruned. `spared` lose their tombstones. `leftovers` are names that are not whole, in a folder."""

    kept: dict[str, list[str]] = field(default_factory=dict)
    prunings: list[Pruning] = field(default_factory=list)
    later: int = 0
    stopped: dict[Group, str] = field(default_factory=dict)
    spared: list[Delete] = field(default_factory=list)
    orphans: list[Pruning] = field(default_factory=list)
    leftovers: list[Delete] = field(default_factory=list)
    damaged: list[Entry] = field(default_factory=list)

    def steps(self) -> Iterator[Step]:
        """All of them, in their order. What is kept is safe before anything goes."""
        yield from self.spared
        for pruning in (*self.prunings, *self.orphans):
            yield from pruning.steps
        yield from self.leftovers


def prune(
    entries: Iterable[Entry],
    retention: Retention,
    held: Held,
    *,
    now: datetime,
    most: int,
    runs: dict[str, str | None],
) -> Decision:
    """What to delete of `entries`, all that a store holds; at most `most` backups, the oldest first.

    `runs` says for the key of a start marker whose it is; None: it can't be read.
    """
    decision = Decision()
    groups: dict[Group, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.lot.place.group].append(entry)
    leaving: list[Entry] = []
    for group, found in sorted(groups.items()):
        backups = [entry.backup for entry in found if entry.backup is not None]
        why = kept(backups, retention, verified=held.verified, pinned=held.pinned)
        reason = stop_reason(backups, found, now)
        if reason is not None:
            decision.stopped[group] = reason
        else:
            leaving += [entry for entry in found if entry.backup is not None and entry.backup.key not in why]
        decision.kept |= why
        for entry in found:
            if entry.backup is not None and entry.lot.has_tombstone and entry.backup.key in why:
                decision.spared.append(Delete(entry.lot.place.tombstone))
            elif entry.state == "Damaged":
                decision.damaged.append(entry)
            elif entry.state == "Leaving" and entry.backup is None:
                decision.orphans.append(Pruning(entry.lot, tuple(_rest_of(entry.lot))))
            elif entry.state == "Unfinished" and is_abandoned(entry.lot, runs.get(entry.lot.place.started), held, now):
                decision.orphans.append(Pruning(entry.lot, tuple(_orphan(entry.lot))))
            decision.leftovers += _leftovers(entry.lot, now)
    # One whose tombstone stands was decided on before, and goes first.
    leaving.sort(key=lambda entry: (not entry.lot.has_tombstone, entry.lot.order))
    decision.prunings = [Pruning(entry.lot, tuple(_whole(entry.lot))) for entry in leaving[:most]]
    decision.later = len(leaving) - len(decision.prunings)
    return decision


def delete(entries: Iterable[Entry], only: Collection[str], held: Held, *, now: datetime) -> Decision:
    """What to delete where a person wants these backups to go, by keys: `kept` says why one stays all the same.

    The newest of a database, the newest verified, and what is pinned or read stay, and so does everything while the
    newest looks wrong: whoever deletes a backup has another one.
    """
    decision = Decision()
    groups: dict[Group, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.lot.place.group].append(entry)
    for _, found in sorted(groups.items()):
        asked = [entry for entry in found if entry.lot.place.manifest in only]
        backups = [entry.backup for entry in found if entry.backup is not None]
        why = kept(backups, Retention(keep_last=1), verified=held.verified, pinned=held.pinned)
        stopped = stop_reason(backups, found, now) if backups else "no other backup of its database is whole"
        for entry in asked:
            key = entry.lot.place.manifest
            if not entry.lot.has_manifest:
                if entry.lot.has_tombstone:  # a run that was killed had begun with it
                    decision.orphans.append(Pruning(entry.lot, tuple(_rest_of(entry.lot))))
            elif stopped is not None:
                decision.kept[key] = [stopped]
            elif key in why:
                decision.kept[key] = why[key]
            else:
                decision.prunings.append(Pruning(entry.lot, tuple(_whole(entry.lot))))
    return decision


def stop_reason(backups: list[Backup], entries: Iterable[Entry], now: datetime) -> str | None:
    """Why nothing of a group is pruned just now, as a sentence; None: there is no reason."""
    newest_first = sorted(backups, key=lambda one: one.age_order, reverse=True)
    for one in newest_first:
        if one.completed_at > now + CLOCKS_MAY_DIFFER:
            return (
                f"backup {one.key} is dated in the future, {one.completed_at:%Y-%m-%dT%H:%M:%SZ}: the clock of the "
                "database's server or of this machine is wrong; nothing is pruned until that time, or until the "
                "clock is right"
            )
    damaged = [one for one in entries if one.state == "Damaged"]
    newest_damaged = max(damaged, key=lambda one: one.lot.order, default=None)
    if newest_damaged is not None and all(newest_damaged.lot.order[0] > one.place.id for one in newest_first):
        return (
            f"the newest backup, {newest_damaged.lot.place.manifest}, is damaged: {newest_damaged.fault}; "
            "nothing is pruned until a newer one is good"
        )
    if len(newest_first) > 1 and (lost := _lost(newest_first[0], newest_first[1])) is not None:
        return (
            f"the newest backup, {newest_first[0].key}, is far smaller than the one before, {newest_first[1].key}: "
            f"{lost}; look whether data was lost: nothing is pruned until two backups in a row are alike"
        )
    return None


def _lost(newest: Backup, before: Backup) -> str | None:
    if before.rows >= _ROWS_THAT_COUNT and newest.rows * _FAR_SMALLER < before.rows:
        return f"{newest.rows} rows in place of {before.rows}"
    if before.size_bytes >= _BYTES_THAT_COUNT and newest.size_bytes * _FAR_SMALLER < before.size_bytes:
        return f"{newest.size_bytes} bytes in place of {before.size_bytes}"
    return None


def is_abandoned(lot: Lot, run: str | None, held: Held, now: datetime) -> bool:
    """Whether what never became a backup is nobody's any more. `now` is a time of the store's clock."""
    return run not in held.live and lot.touched_at < now - ABANDONED_AFTER


def _whole(lot: Lot) -> Iterator[Step]:
    """A complete backup. From the manifest's deletion on it is none, and the tombstone says so: whoever finds it then
    deletes the rest."""
    yield Bury(lot.place.tombstone)
    yield from _rest_of(lot)


def _orphan(lot: Lot) -> Iterator[Step]:
    yield Bury(lot.place.tombstone)
    yield Check(lot)
    yield from _rest_of(lot)


def _rest_of(lot: Lot) -> Iterator[Step]:
    if lot.has_manifest:
        yield Delete(lot.place.manifest)
    for key in lot.all_keys(but=(MANIFEST, STARTED, TOMBSTONE)):
        yield Delete(key)
    if lot.has_marker:
        yield Delete(lot.place.started)
    yield Delete(lot.place.tombstone)


def _leftovers(lot: Lot, now: datetime) -> list[Delete]:
    """In a backup's own folder, what a process that was killed had not written to its end."""
    if not lot.has_manifest:
        return []
    keys = [key for key in lot.all_keys() if (one := Key.parse(key)) is not None and one.is_partial]
    return [Delete(key) for key in keys if lot.files[key.rpartition("/")[2]].modified < now - ABANDONED_AFTER]
