"""The manifest of a backup: what it holds, and by which a copy of it is known to be whole.

It is written last. It ends in a checksum over all that stands before, so that one that was cut or altered is no backup.
"""

import hashlib
import re
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from servicedb.api.common import Unreadable
from servicedb.api.strings import Number64
from servicedb.plan.backups.keys import BACKUP_ID, PART_NAME, SCHEMA, Group, Key, Place

FORMAT: Final = 1

LONGEST_BYTES: Final = 64 << 20
"""No manifest is longer: what claims to be is not read."""

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0)]
Oid = Annotated[int, Field(ge=1, lt=2**32)]

_CHECKSUM = re.compile(rb',"checksum":"(?P<checksum>sha256:[0-9a-f]{64})"\}\n')
_CHECKSUM_BYTES = len(',"checksum":"sha256:"}\n') + 64


class Piece(BaseModel):
    """A piece of a manifest. Unknown fields are left alone: a later release may have written more."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", strict=True, defer_build=True
    )


class GroupOf(Piece):
    """The database, whatever its name: see plan/backups/keys.py."""

    system_identifier: Number64
    database_oid: Oid


class Compression(Piece):
    """`level` 0: not compressed."""

    algorithm: Literal["zstd"] = "zstd"
    level: Annotated[int, Field(ge=0, le=22)]


class Encryption(Piece):
    """The age recipients that can read it."""

    recipients: Annotated[tuple[str, ...], Field(min_length=1)]


class ManifestPart(Piece):
    """One object of the backup. `sha256` is of what is stored, `raw_bytes` what pg_dump wrote."""

    name: Annotated[str, Field(pattern=rf"^({PART_NAME})$")]
    key: str
    size_bytes: Count
    raw_bytes: Count
    sha256: Digest


class Table(Piece):
    """A table as it was at the snapshot. `fingerprint` is of its rows; None where none was made."""

    schema_: Annotated[str, Field(alias="schema")]
    name: str
    rows: Count
    fingerprint: str | None = None


class Sequence(Piece):
    schema_: Annotated[str, Field(alias="schema")]
    name: str
    last_value: int
    is_called: bool


class Extension(Piece):
    name: str
    version: str
    schema_: Annotated[str, Field(alias="schema")]


class Role(Piece):
    """A role that the dump names. `kind` is owner, rw, ro, app and the like, or other."""

    name: str
    kind: str


class Totals(Piece):
    """The sums over tables and parts."""

    rows: Count
    size_bytes: Count
    raw_bytes: Count


class Manifest(Piece):
    """All that is known of a backup. Times are those of the database's clock.

    `marker` is the comment of the owner role, `server_version` as in server_version_num, `dump_version` that of
    pg_dump, `large_objects_fingerprint` is of their contents (None: none was made), `not_included` what a person has to
    bring back by other ways.
    """

    format: Literal[1] = FORMAT
    id: Annotated[str, Field(pattern=rf"^{BACKUP_ID}$")]
    group: GroupOf
    database: str
    marker: str | None = None
    started_at: AwareDatetime
    completed_at: AwareDatetime
    servicedb: str
    server_version: Count
    dump_version: str
    compression: Compression
    encryption: Encryption | None = None
    parts: Annotated[tuple[ManifestPart, ...], Field(min_length=1)]
    tables: tuple[Table, ...] = ()
    sequences: tuple[Sequence, ...] = ()
    extensions: tuple[Extension, ...] = ()
    roles: tuple[Role, ...] = ()
    schema_fingerprint: str
    large_objects_fingerprint: str | None = None
    not_included: tuple[str, ...] = ()
    totals: Totals

    @property
    def place(self) -> Place:
        return Place(Group(self.group.system_identifier, self.group.database_oid), self.id)

    @property
    def key(self) -> str:
        """By which the backup is known."""
        return self.place.manifest

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        for part in self.parts:
            key = Key.parse(part.key)
            if key is None or key.place != self.place or not key.is_part or key.file.split(".")[0] != part.name:
                raise ValueError(f"part {part.name} does not lie under {self.place.prefix}")
        names = [part.name for part in self.parts]
        if len(set(names)) != len(names) or SCHEMA not in names:
            raise ValueError("its parts are not the schema and further ones, each of them once")
        sums = Totals(
            rows=sum(table.rows for table in self.tables),
            size_bytes=sum(part.size_bytes for part in self.parts),
            raw_bytes=sum(part.raw_bytes for part in self.parts),
        )
        if sums != self.totals:
            raise ValueError("its totals are not the sums of its tables and parts")
        return self

    def as_bytes(self) -> bytes:
        """As it is stored: JSON in one line."""
        written = self.model_dump_json(by_alias=True).encode().removesuffix(b"}")
        return written + f',"checksum":"{_digest(written)}"}}\n'.encode()

    @classmethod
    def parse(cls, content: bytes, key: str) -> Self:
        """The manifest that is stored under `key`.

        Raises:
            Unreadable: it is not whole, or does not belong under that key.
        """
        try:
            manifest = cls._checked(content)
        except ValidationError as error:
            raise Unreadable(f"manifest {key} cannot be read: {_faults(error)}; take another backup") from error
        if manifest is None:
            raise Unreadable(f"manifest {key} was cut or altered: its checksum is another; take another backup")
        if manifest.key != key:
            raise Unreadable(f"manifest {key} is that of another backup, {manifest.key}; take that one")
        return manifest

    @classmethod
    def _checked(cls, content: bytes) -> Self | None:
        found = _CHECKSUM.fullmatch(content, max(len(content) - _CHECKSUM_BYTES, 0))
        if found is None or found["checksum"].decode() != _digest(content[: found.start()]):
            return None
        return cls.model_validate_json(content)


def manifest_digest(content: bytes) -> str:
    """What a backup's status calls its manifestDigest: `sha256:` and that of the manifest's bytes."""
    return _digest(content)


class Started(Piece):
    """The start marker: who makes the backup. It is written again each minute, so that its age tells whether anybody is
    still at it. `run` is the UID of a Job, or host:pid; `beat_at` is a time of the database's clock."""

    format: Literal[1] = FORMAT
    run: Annotated[str, Field(min_length=1)]
    started_at: AwareDatetime
    beat_at: AwareDatetime

    def at(self, time: datetime) -> "Started":
        """The marker to write at `time`."""
        return self.model_copy(update={"beat_at": time})

    def as_bytes(self) -> bytes:
        return self.model_dump_json(by_alias=True).encode() + b"\n"

    @classmethod
    def parse(cls, content: bytes) -> Self | None:
        """The marker in `content`; None where there is none that can be read."""
        try:
            return cls.model_validate_json(content)
        except ValidationError:
            return None


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _faults(error: ValidationError) -> str:
    faults: list[Any] = error.errors(include_url=False, include_context=False, include_input=False)
    named = [f"{'.'.join(map(str, fault['loc'])) or 'as a whole'}: {fault['msg']}" for fault in faults]
    return "; ".join(named[:3]) + (f"; and {len(named) - 3} more" if len(named) > 3 else "")
