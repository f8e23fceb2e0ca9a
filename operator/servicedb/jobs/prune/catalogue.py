"""What backups a store holds: read from the store itself, every time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic.alias_generators import to_camel

from servicedb.api.common import Unreadable
from servicedb.errors import Problem
from servicedb.jobs.outcome import Outcome, termination_message
from servicedb.plan.backups.catalogue import Entry, Lot, entry, lots
from servicedb.plan.backups.keys import MANIFEST, Key
from servicedb.plan.backups.manifest import LONGEST_BYTES, Manifest, manifest_digest
from servicedb.store.interface import Store
from servicedb.store.problems import NoSuchObject

AT_ONCE: Final = 8
"""Manifests that are read at a time."""

_DAMAGED_LISTED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A complete backup, as a catalogue shows it. Times are RFC 3339, of the database's clock."""

    key: str
    manifest_digest: str
    database: str
    started_at: str
    completed_at: str
    size_bytes: int
    rows: int
    server_version: int


@dataclass(frozen=True, slots=True)
class Other:
    """What lies in the store and is no backup: Damaged, Unfinished or Leaving."""

    key: str
    state: str
    fault: str | None


@dataclass(slots=True, kw_only=True)
class Catalogue(Outcome):
    """Oldest first, by id. `next` is the key after which the next page begins; None: this is the last."""

    action: str = "list"
    backups: list[Listed] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)
    next: str | None = None

    def as_json(self, listed: int | None = None) -> dict[str, Any]:
        whole = Outcome.as_json(self, listed)
        whole["backups"] = [_camel(one) for one in self.backups[:listed]]
        return whole

    def termination_message(self) -> str:
        """As many backups as fit, and where to go on."""
        base = {name: value for name, value in Outcome.as_json(self, 0).items() if name != "others"}
        damaged = [one.key for one in self.others if one.state == "Damaged"]
        base |= {"damaged": damaged[:_DAMAGED_LISTED], "damagedCount": len(damaged)}

        def page(most: int) -> dict[str, Any]:
            shown = self.backups[:most]
            more = len(self.backups) > most
            return base | {
                "backups": [_camel(one) for one in shown],
                "next": shown[-1].key if more and shown else self.next,
            }

        return termination_message(page)


def list_backups(store: Store, after: str | None, most: int | None = None) -> Catalogue:
    """What `store` holds after the backup of that key, up to so many complete backups. Raises nothing: the outcome says
    what is wrong."""
    catalogue = Catalogue()
    try:
        for one in read(store, after=after):
            if one.state == "Complete" and len(catalogue.backups) == most:
                catalogue.next = catalogue.backups[-1].key
                break
            if one.state == "Complete":
                catalogue.backups.append(_listed(one))
            else:
                catalogue.others.append(Other(one.lot.place.manifest, one.state, one.fault))
    except Problem as problem:
        catalogue.failed_with(problem)
    return catalogue


def read(store: Store, *, after: str | None = None) -> Iterator[Entry]:
    """All that lies in `store`, oldest first, with each manifest read and its parts looked for.

    What is deleted meanwhile is left out. Only what the entries say is kept in memory, never a manifest.
    Raises what a store raises.
    """
    since = Key.parse(after) if after is not None else None
    found = lots((one.key, one.size, one.modified) for one in store.list(""))
    if since is not None:
        found = [lot for lot in found if lot.order > (since.place.id, since.place)]
    yield from _together(lambda lot: _entry(store, lot), found)


def _entry(store: Store, lot: Lot) -> Entry | None:
    if not lot.has_manifest:
        return entry(lot, None, None)
    size = lot.files[MANIFEST].size
    if not 0 < size <= LONGEST_BYTES:
        return entry(lot, None, None, f"its manifest has {size} bytes")
    try:
        content = store.read_range(lot.place.manifest, 0, size)
    except NoSuchObject:
        return None
    try:
        manifest = Manifest.parse(content, lot.place.manifest)
    except Unreadable as unreadable:
        return entry(lot, None, None, str(unreadable))
    return entry(lot, manifest, manifest_digest(content))


def _together(work: Callable[[Lot], Entry | None], found: Iterable[Lot]) -> Iterator[Entry]:
    """The entries of `found`, in its order, a few of them at a time: who stops has not had all of them read."""
    waiting = deque[Future[Entry | None]]()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for lot in found:
            waiting.append(threads.submit(work, lot))
            if len(waiting) > AT_ONCE and (one := waiting.popleft().result()) is not None:
                yield one
        for rest in waiting:
            if (one := rest.result()) is not None:
                yield one


def _listed(one: Entry) -> Listed:
    assert one.backup is not None
    assert one.digest is not None
    assert one.started_at is not None
    return Listed(
        key=one.backup.key,
        manifest_digest=one.digest,
        database=one.database or "",
        started_at=_text(one.started_at),
        completed_at=_text(one.backup.completed_at),
        size_bytes=one.backup.size_bytes,
        rows=one.backup.rows,
        server_version=one.server_version or 0,
    )


def _text(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _camel(one: Listed) -> dict[str, Any]:
    return {to_camel(name): value for name, value in asdict(one).items()}
