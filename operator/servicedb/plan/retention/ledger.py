"""What the ledger says: each archive, each deletion, each partition that was made or dropped."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from servicedb.plan.retention.rule import Name


class Action(StrEnum):
    """What an entry stands for. It is written in the same transaction."""

    ARCHIVED = "Archived"
    """Rows are in an archive, and still in the table."""
    MOVED = "Moved"
    """Rows are in an archive, and no longer in the table."""
    DELETED = "Deleted"
    """Rows are no longer in the table: no archive was wanted, or `key` held them already."""
    PARTITION_MADE = "PartitionMade"
    PARTITION_DROPPED = "PartitionDropped"
    """Its rows are in archive `key`, where one was wanted."""
    ARCHIVE_DROPPED = "ArchiveDropped"
    """The archive `key` is gone from every place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An object that holds rows as COPY writes them (text), each `columns` in this order, with their types.

    `low` and `high` are the oldest and the youngest time in it, None without a bound; `time_column` is where they
    stand. `sha256` is of what is stored, `raw_sha256` of the rows as text.
    """

    key: str
    rows: int
    raw_bytes: int
    size_bytes: int
    sha256: str
    raw_sha256: str
    columns: tuple[tuple[str, str], ...]
    key_columns: tuple[str, ...]
    time_column: str
    low: str | None
    high: str | None


class PartitionState(StrEnum):
    """What was last decided of a partition."""

    DETACHING = "Detaching"
    """It is about to be detached, and then goes."""
    KEPT = "Kept"
    """It was found attached after that: somebody wants it, and it goes only when that is decided anew."""
    DROPPED = "Dropped"


@dataclass(frozen=True, slots=True)
class Detaching:
    """A partition that was to be detached: which table it is, and from when on it held no row."""

    partition: Name
    oid: int
    low: str | None
    high: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line. `partition` is the table that a line about a partition means, `oid` what it is known by, `low` and
    `high` its bounds."""

    run: str
    name: Name
    action: Action
    rows: int = 0
    archive: Archive | None = None
    key: str | None = None
    partition: Name | None = None
    oid: int | None = None
    low: str | None = None
    high: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summed:
    """What the entries of one run come to for one table."""

    archived_rows: int = 0
    deleted_rows: int = 0
    archived_bytes: int = 0
    partitions_created: int = 0
    partitions_dropped: int = 0
    archives_dropped: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """A run: `now` is the database's time when it began, from which every age in it is counted."""

    id: str
    now: datetime
    done: dict[Name, Summed] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counted:
    """The entries of one action: how many, their rows, the bytes that were stored, and the rows that were archived."""

    action: Action
    entries: int
    rows: int
    size_bytes: int
    archived_rows: int


def summed(counts: Iterable[Counted]) -> Summed:
    """Of all entries of one table."""
    by = {one.action: one for one in counts}
    none = Counted(Action.DELETED, 0, 0, 0, 0)
    gone = (Action.MOVED, Action.DELETED, Action.PARTITION_DROPPED)
    return Summed(
        archived_rows=sum(one.archived_rows for one in by.values()),
        deleted_rows=sum(by.get(action, none).rows for action in gone),
        archived_bytes=sum(one.size_bytes for one in by.values()),
        partitions_created=by.get(Action.PARTITION_MADE, none).entries,
        partitions_dropped=by.get(Action.PARTITION_DROPPED, none).entries,
        archives_dropped=by.get(Action.ARCHIVE_DROPPED, none).entries,
    )
