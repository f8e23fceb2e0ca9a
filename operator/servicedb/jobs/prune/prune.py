"""Pruning: what plan/backups/prune.py decides, carried out step by step."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from servicedb.errors import Problem
from servicedb.jobs.outcome import Outcome
from servicedb.jobs.prune.catalogue import read
from servicedb.plan.backups.catalogue import Entry, Lot, lots
from servicedb.plan.backups.keys import TOMBSTONE
from servicedb.plan.backups.manifest import Started
from servicedb.plan.backups.prune import Bury, Check, Decision, Delete, Held, Pruning, Step, delete, is_abandoned
from servicedb.plan.backups.prune import prune as decide
from servicedb.plan.backups.retention import Retention
from servicedb.store.interface import Store
from servicedb.store.problems import NoSuchObject

_LONGEST_MARKER: Final = 1 << 16
_TOMBSTONE_CONTENT: Final = json.dumps({"format": 1}).encode() + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One pruning of at most `most` backups. `only`: these go, by keys, and no others, whatever the retention says.
    `dry_run`: only say what would go."""

    retention: Retention
    only: frozenset[str] = frozenset()
    held: Held = field(default_factory=Held)
    most: int = 10
    dry_run: bool = False


@dataclass(slots=True, kw_only=True)
class Result(Outcome):
    """What came of it, true wherever it ended. `pruned` are the keys of the backups that went, `kept` counts those that
    are left, `later` those of them that could go too; `orphans` counts what had never become a backup, or was one no
    more; `damaged` are left alone. `refused` says why one that was to go by its key stays, `stopped` why nothing of a
    database was pruned."""

    action: str = "prune"
    pruned: list[str] = field(default_factory=list)
    kept: int = 0
    later: int = 0
    orphans: int = 0
    damaged: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    stopped: str | None = None


def _nobody_listens(_: Step) -> None:
    """Steps are told to those who ask."""


def prune(store: Store, request: Request, now: datetime, before: Callable[[Step], None] = _nobody_listens) -> Result:
    """Delete from `store` what the retention does not keep. It can be killed anywhere: the next one goes on.

    Raises nothing: the result says what is wrong. `now` is held against what is dated in the future, and against what
    seems to be abandoned. `before` hears of each step before it is taken.
    """
    result = Result()
    try:
        entries = list(read(store))
        decision = _decision(store, entries, request, now)
        if request.only:
            result.refused = [f"backup {key} stays: {', '.join(why)}" for key, why in decision.kept.items()]
        result.kept = sum(entry.backup is not None for entry in entries)
        result.later = decision.later
        result.damaged = [entry.lot.place.manifest for entry in decision.damaged]
        result.stopped = "; ".join(decision.stopped.values()) or None
        _carry_out(_Store(store, request.held, before, request.dry_run), decision, result)
    except Problem as problem:
        result.failed_with(problem)
    return result


def _decision(store: Store, entries: list[Entry], request: Request, now: datetime) -> Decision:
    if request.only:
        return delete(entries, request.only, request.held, now=now)
    runs = _runs(store, entries)
    return decide(entries, request.retention, request.held, now=now, most=request.most, runs=runs)


def _carry_out(store: "_Store", decision: Decision, result: Result) -> None:
    for step in decision.spared:
        store.take(step)
    for pruning in decision.prunings:
        if store.take_all(pruning):
            result.pruned.append(pruning.key)
            result.kept -= 1
    for orphan in decision.orphans:
        result.orphans += store.take_all(orphan)
    for step in decision.leftovers:
        store.take(step)


@dataclass(frozen=True, slots=True)
class _Store:
    """A store in which steps are taken."""

    store: Store
    held: Held
    before: Callable[[Step], None]
    dry_run: bool

    def take_all(self, pruning: Pruning) -> bool:
        """Whether it went, and did not turn out to be somebody's."""
        return all(self.take(step) for step in pruning.steps)

    def take(self, step: Step) -> bool:
        """Whether to go on."""
        if self.dry_run:
            return True
        self.before(step)
        match step:
            case Bury(key):
                self.store.put(key, [_TOMBSTONE_CONTENT])
            case Delete(key):
                self.store.delete(key)
            case Check(lot) if not self._is_still_abandoned(lot):
                self.store.delete(lot.place.tombstone)
                return False
        return True

    def _is_still_abandoned(self, lot: Lot) -> bool:
        """By the time at which the store took the tombstone, which no clock of ours is needed for."""
        listed = lots((one.key, one.size, one.modified) for one in self.store.list(lot.place.prefix))
        now = next((one for one in listed if one.place == lot.place), None)
        if now is None or not now.has_tombstone or now.has_manifest:
            return False
        return is_abandoned(now, _run(self.store, now), self.held, now.files[TOMBSTONE].modified)


def _runs(store: Store, entries: Iterable[Entry]) -> dict[str, str | None]:
    """Whose the start markers are of what is no backup yet."""
    unfinished = [entry.lot for entry in entries if entry.state == "Unfinished"]
    return {lot.place.started: _run(store, lot) for lot in unfinished}


def _run(store: Store, lot: Lot) -> str | None:
    if not lot.has_marker:
        return None
    try:
        marker = Started.parse(store.read_range(lot.place.started, 0, _LONGEST_MARKER))
    except NoSuchObject:
        return None
    return marker.run if marker is not None else None
