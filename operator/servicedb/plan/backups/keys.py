"""Under which keys a backup lies in a store, below the prefix that its location names.

<systemIdentifier>-<databaseOid>/<id>/manifest.json      written last: without it there is no backup
                                      started.json       written first, and again while the run lives
                                      schema.zst         the parts; encrypted ones end in .age
                                      rest.zst
                                      objects.zst
                                      data-1.zst ...
                                      tombstone.json     while it is being deleted
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

MANIFEST: Final = "manifest.json"
STARTED: Final = "started.json"
TOMBSTONE: Final = "tombstone.json"

SCHEMA: Final = "schema"
REST: Final = "rest"
OBJECTS: Final = "objects"
"""What was there, object by object, for the comparison after a restore: see plan/backups/objects.py."""

PARTIAL: Final = ".partial-"
"""In a folder, between the name of an object and what tells apart those who write it: its content is not whole yet."""

PART_NAME: Final = r"schema|rest|objects|data-[1-9][0-9]{0,4}"
BACKUP_ID: Final = r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}"
_PART = re.compile(rf"(?P<name>{PART_NAME})(\.zst)?(\.age)?", re.ASCII)
_KEY = re.compile(
    rf"(?P<system>[0-9]{{1,20}})-(?P<oid>[1-9][0-9]{{0,9}})/(?P<id>{BACKUP_ID})/(?P<file>[^/]+)", re.ASCII
)


@dataclass(frozen=True, slots=True, order=True)
class Group:
    """One database of one server, whatever its name: a database that was made again is another group.

    `system_identifier` is that of pg_control_system(), `database_oid` that of pg_database.
    """

    system_identifier: str
    database_oid: int

    def __str__(self) -> str:
        return f"{self.system_identifier}-{self.database_oid}"

    @property
    def prefix(self) -> str:
        """What all its keys begin with."""
        return f"{self}/"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where one backup lies: its group and its id, which begins with the time and so gives the order."""

    group: Group
    id: str

    @property
    def prefix(self) -> str:
        return f"{self.group}/{self.id}/"

    @property
    def manifest(self) -> str:
        """The key of its manifest, by which the backup is known."""
        return self.prefix + MANIFEST

    @property
    def started(self) -> str:
        return self.prefix + STARTED

    @property
    def tombstone(self) -> str:
        return self.prefix + TOMBSTONE

    def part(self, name: str, *, compressed: bool, encrypted: bool) -> str:
        """The key of the part `name`: schema, rest, objects, or data- and a number from 1 on."""
        assert _PART.fullmatch(name), name
        return f"{self.prefix}{name}{'.zst' if compressed else ''}{'.age' if encrypted else ''}"


@dataclass(frozen=True, slots=True)
class Key:
    """A key taken apart: the backup's place, and which of its objects it is."""

    place: Place
    file: str

    @classmethod
    def parse(cls, key: str) -> Self | None:
        """The parts of `key`; None where it is none of a backup's: that is nobody's business here."""
        found = _KEY.fullmatch(key)
        if found is None:
            return None
        place = Place(Group(found["system"], int(found["oid"])), found["id"])
        one = cls(place, found["file"])
        return one if one.is_ours else None

    @property
    def is_ours(self) -> bool:
        return self.file in {MANIFEST, STARTED, TOMBSTONE} or self.is_part or self.is_partial

    @property
    def is_part(self) -> bool:
        return _PART.fullmatch(self.file) is not None

    @property
    def is_partial(self) -> bool:
        """Whether it is what a killed run left of an object, in a folder."""
        name, separator, _ = self.file.partition(PARTIAL)
        return bool(separator) and (name in {MANIFEST, STARTED, TOMBSTONE} or _PART.fullmatch(name) is not None)


def backup_id(at: datetime, random: str) -> str:
    """The id of a backup that begins `at` a time of the database's clock. `random` are the 8 digits of
    secrets.token_hex(4), so that two runs of the same second differ."""
    identifier = f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{random}"
    assert re.fullmatch(BACKUP_ID, identifier), identifier
    return identifier
