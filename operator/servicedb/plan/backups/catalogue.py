"""What a store's keys and manifests come to: which backups there are, and what else lies there.

Pure: what was listed and read comes in.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from servicedb.plan.backups.keys import MANIFEST, STARTED, TOMBSTONE, Key, Place
from servicedb.plan.backups.manifest import Manifest
from servicedb.plan.backups.retention import Backup

State = Literal["Complete", "Damaged", "Unfinished", "Leaving"]
"""Damaged: its manifest can't be read, or a part is not there as the manifest says. Unfinished: there is no manifest,
and somebody may be at work. Leaving: it has a tombstone."""


@dataclass(frozen=True, slots=True)
class File:
    """An object of a backup. `size` is in bytes, `modified` a time of the store's clock."""

    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Lot:
    """All that lies at one backup's place, by the names of the files."""

    place: Place
    files: dict[str, File] = field(default_factory=dict)

    @property
    def has_manifest(self) -> bool:
        return MANIFEST in self.files

    @property
    def has_tombstone(self) -> bool:
        return TOMBSTONE in self.files

    @property
    def has_marker(self) -> bool:
        return STARTED in self.files

    @property
    def touched_at(self) -> datetime:
        """When the last of it was written, but for the tombstone."""
        files = {name: file for name, file in self.files.items() if name != TOMBSTONE} or self.files
        return max(file.modified for file in files.values())

    @property
    def order(self) -> tuple[str, Place]:
        """Oldest first, whichever group."""
        return self.place.id, self.place

    def all_keys(self, *, but: Iterable[str] = ()) -> list[str]:
        """The keys of its files without those named: parts first."""
        left_out = set(but)
        return [self.place.prefix + name for name in sorted(self.files) if name not in left_out]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One place of the store, as the catalogue has it. `digest` and `backup` are there once the manifest was read, also
    for one that is Leaving; `fault` says what is wrong with a Damaged one."""

    lot: Lot
    state: State
    digest: str | None = None
    backup: Backup | None = None
    fault: str | None = None
    database: str | None = None
    server_version: int | None = None
    started_at: datetime | None = None


def lots(listed: Iterable[tuple[str, int, datetime]]) -> list[Lot]:
    """What was listed (key, size, modified), by place, oldest first. Keys that are none of a backup are left alone."""
    found: dict[Place, Lot] = {}
    for text, size, modified in listed:
        key = Key.parse(text)
        if key is not None:
            found.setdefault(key.place, Lot(key.place)).files[key.file] = File(size, modified)
    return sorted(found.values(), key=lambda lot: lot.order)


def entry(lot: Lot, manifest: Manifest | None, digest: str | None, fault: str | None = None) -> Entry:
    """What `lot` is. `manifest` is its own; None where there is none, or with a `fault` where it can't be read."""
    if manifest is None:
        state: State = "Leaving" if lot.has_tombstone else "Damaged" if lot.has_manifest else "Unfinished"
        return Entry(lot=lot, state=state, fault=fault)
    fault = _missing(manifest, lot.files)
    backup = Backup(
        place=lot.place,
        completed_at=manifest.completed_at,
        arrived_at=lot.files[MANIFEST].modified,
        size_bytes=manifest.totals.size_bytes,
        rows=manifest.totals.rows,
    )
    return Entry(
        lot=lot,
        state="Leaving" if lot.has_tombstone else "Damaged" if fault is not None else "Complete",
        digest=digest,
        backup=backup if fault is None else None,
        fault=fault,
        database=manifest.database,
        server_version=manifest.server_version,
        started_at=manifest.started_at,
    )


def _missing(manifest: Manifest, files: Mapping[str, File]) -> str | None:
    """What of the manifest's parts is not in the store as it says."""
    for part in manifest.parts:
        name = part.key.rpartition("/")[2]
        if name not in files:
            return f"part {name} is missing"
        if files[name].size != part.size_bytes:
            return f"part {name} has {files[name].size} bytes, not {part.size_bytes}"
    return None
