"""A backup from begin to end: locks, a snapshot, the streams that read it, and the manifest last.

Killed anywhere it leaves parts without a manifest, which are no backup.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from servicedb.errors import Problem, Retryable
from servicedb.jobs.backup.commands import Commands
from servicedb.jobs.backup.heartbeat import Heartbeat
from servicedb.jobs.backup.request import Request, Result
from servicedb.jobs.backup.stream import Encoding, Failure, Location, Part, Stream, Upload
from servicedb.jobs.encoding import encode, recipients
from servicedb.jobs.progress import SILENT, Progress
from servicedb.naming import database_of_owner
from servicedb.plan.backups.keys import OBJECTS, REST, SCHEMA, Place, backup_id
from servicedb.plan.backups.manifest import (
    Compression,
    Encryption,
    GroupOf,
    Manifest,
    ManifestPart,
    Role,
    Table,
    Totals,
    manifest_digest,
)
from servicedb.plan.backups.objects import Objects
from servicedb.plan.backups.relations import Counted, counted, data_groups
from servicedb.postgres.backups.programs import Programs, programs
from servicedb.postgres.backups.session import Way
from servicedb.postgres.backups.source import Snapshot, Source
from servicedb.postgres.migrations.session import Connect
from servicedb.store.interface import Store

_WRITTEN_OUT = 4
"""How much larger a dump that is not compressed may be than the server's files: those keep long values compressed, and
bytea is written out at twice its length."""
_MOST_ALLOWED_FOR = 1 << 40
"""So many bytes are allowed for it at most: an upload holds two pieces in memory, and a piece is their 10,000th."""


def backup(
    request: Request, connect_to: Connect, store: Store, copies: Sequence[Store] = (), progress: Progress = SILENT
) -> Result:
    """Make a backup in `store`, and the same in `copies`. Never raises a Problem: the result holds it.

    `connect_to` gives a connection string before each connect.
    """
    result = Result()
    begun = time.monotonic()
    locations = [Location(store), *(Location(copy, is_copy=True) for copy in copies)]
    try:
        encoding = Encoding(request.level, recipients(request.recipients))
        found = programs(request.programs)
        time.sleep(_delay(request))
        way = Way(connect_to, request.as_role, read_only=True)
        with Source.open(way, wait=request.wait, tell=progress.tell) as source:
            begun = time.monotonic()
            found.check_server(source.facts.server_version)
            snapshot = source.begin(progress.tell)
            run = _Run(request, encoding, found, locations, progress)
            manifest = run.make(source, snapshot, connect_to())
        _note(result, manifest)
        _check_copies(locations)
    except Problem as problem:
        result.failed_with(problem)
    result.seconds = round(time.monotonic() - begun, 3)
    return result


def _delay(request: Request) -> float:
    """Seconds: the same for the same key, and spread evenly over all keys."""
    number = int.from_bytes(hashlib.sha256(request.spread_key.encode()).digest()[:8], "big")
    return request.spread * number / (1 << 64)


def expected_without_compression(size: int) -> int:
    """How many bytes to allow for of a dump whose tables have `size` bytes in the server's files."""
    return max(size, min(_WRITTEN_OUT * size, _MOST_ALLOWED_FOR))


@dataclass(slots=True)
class _Run:
    """One backup under one id."""

    request: Request
    encoding: Encoding
    programs: Programs
    locations: list[Location]
    progress: Progress

    def make(self, source: Source, snapshot: Snapshot, dsn: str) -> Manifest:
        place = Place(source.facts.group, backup_id(snapshot.started_at, secrets.token_hex(4)))
        with Heartbeat(place.started, self.locations, run=self.request.run, started_at=snapshot.started_at):
            return self._make(source, snapshot, dsn, place)

    def _make(self, source: Source, snapshot: Snapshot, dsn: str, place: Place) -> Manifest:
        groups = data_groups(snapshot.tables, self.request.parallel)
        tables = [table for group in groups for table in group]
        self.progress.begin(sum(table.bytes for table in tables))
        commands = Commands(self.programs, dsn, snapshot=snapshot.name, as_role=self.request.as_role)
        given = [(SCHEMA, 0, commands.schema()), (REST, source.facts.large_object_bytes, commands.rest(tables))]
        given += [
            (name, sum(table.bytes for table in group), commands.data(name, group))
            for name, group in ((f"data-{number}", group) for number, group in enumerate(groups, start=1))
        ]
        sequences = source.sequences()  # before any pg_dump reads them: what it finds is never behind
        failure = Failure()
        streams: list[Stream] = []
        counting = None
        try:
            for name, size, command in given:
                part = self._part(place, name, size)
                streams.append(Stream(part, command, self.encoding, self.locations, failure, self.progress.add))
            counting = _Counting(source, counted(snapshot.tables), snapshot, failure)
            objects = source.objects()
            known = {"sequences": sequences, **self._described(source, snapshot, place, objects)}
            for stream in streams:
                stream.holds_locks.wait()
            failure.check()
            source.check_files()
            for stream in streams:
                stream.join()
            rows, known["large_objects_fingerprint"] = counting.join()
            failure.check()
        except BaseException as error:
            failure.set(error)
            for stream in streams:
                stream.join()
            if counting is not None:
                counting.join()
            raise
        parts = [*(stream.part for stream in streams), self._put_objects(place, objects, failure)]
        return self._put_manifest(known, source, parts, rows)

    def _part(self, place: Place, name: str, size: int = 0) -> Part:
        key = place.part(name, compressed=self.encoding.level > 0, encrypted=bool(self.encoding.recipients))
        written = size if self.encoding.level > 0 else expected_without_compression(size)
        return Part(name=name, key=key, expected_bytes=written)

    def _put_objects(self, place: Place, objects: Objects, failure: Failure) -> Part:
        part = self._part(place, OBJECTS)
        upload = Upload(part, self.locations, failure)
        encode(
            [objects.as_bytes()],
            upload.give,
            level=self.encoding.level,
            to=self.encoding.recipients,
            written=part.written,
        )
        upload.end()
        failure.check()
        return part

    def _described(self, source: Source, snapshot: Snapshot, place: Place, objects: Objects) -> dict[str, Any]:
        """What the manifest says of the snapshot."""
        facts = source.facts
        return {
            "id": place.id,
            "group": GroupOf(
                system_identifier=place.group.system_identifier,
                database_oid=place.group.database_oid,
            ),
            "database": facts.name,
            "marker": facts.marker,
            "started_at": snapshot.started_at,
            "servicedb": version("servicedb"),
            "server_version": facts.server_version,
            "dump_version": self.programs.version,
            "compression": Compression(level=self.encoding.level),
            "encryption": Encryption(recipients=self.request.recipients) if self.request.recipients else None,
            "extensions": source.extensions(),
            "roles": _roles(facts.name, objects),
            "schema_fingerprint": objects.fingerprint,
            "not_included": source.not_included(),
        }

    def _put_manifest(
        self, known: dict[str, Any], source: Source, parts: Sequence[Part], rows: tuple[Table, ...]
    ) -> Manifest:
        whole = Manifest(
            **known,
            completed_at=source.clock(),
            parts=tuple(
                ManifestPart(
                    name=part.name,
                    key=part.key,
                    size_bytes=part.written.size_bytes,
                    raw_bytes=part.written.raw_bytes,
                    sha256=part.written.sha256,
                )
                for part in parts
            ),
            tables=rows,
            totals=Totals(
                rows=sum(table.rows for table in rows),
                size_bytes=sum(part.written.size_bytes for part in parts),
                raw_bytes=sum(part.written.raw_bytes for part in parts),
            ),
        )
        for location in self.locations:
            if location.failure is not None:
                continue
            try:
                location.store.put(whole.key, [whole.as_bytes()])
            except Problem as problem:
                if not location.is_copy:
                    raise
                location.failure = problem
        return whole


class _Counting:
    """Counts rows beside the streams, and makes the fingerprints of what they dump."""

    def __init__(self, source: Source, tables: tuple[Counted, ...], snapshot: Snapshot, failure: Failure) -> None:
        self._rows: tuple[Table, ...] = ()
        self._large_objects: str | None = None
        self._thread = threading.Thread(
            target=self._count, args=(source, tables, snapshot, failure), name="counts", daemon=True
        )
        self._thread.start()

    def join(self) -> tuple[tuple[Table, ...], str | None]:
        """The tables, and the fingerprint of the large objects."""
        self._thread.join()
        return self._rows, self._large_objects

    def _count(self, source: Source, tables: tuple[Counted, ...], snapshot: Snapshot, failure: Failure) -> None:
        try:
            rows = source.counts(tables, snapshot, lambda: failure.is_set)
            self._large_objects = None if failure.is_set else source.large_objects(snapshot)
            self._rows = tuple(sorted(rows, key=lambda table: (table.schema_, table.name)))
        except BaseException as error:  # noqa: BLE001 - whatever it was, the others have to end, too
            failure.set(error)


def _roles(database: str, objects: Objects) -> tuple[Role, ...]:
    """All that own something or have privileges; `kind` is what follows the database's name."""
    names = {one.owner for one in objects.objects}
    names |= {entry.grantee for one in objects.objects for entry in one.acl or ()}
    names |= {role for policy in objects.policies for role in policy.roles}
    names |= {one.role for one in objects.default_privileges}
    names |= {entry.grantee for one in objects.default_privileges for entry in one.acl}
    return tuple(Role(name=name, kind=_kind(name, database)) for name in sorted(name for name in names if name))


def _kind(role: str, database: str) -> str:
    if database_of_owner(role) == database:
        return "owner"
    own, _, rest = role.rpartition("__")
    if own != database:
        return "other"
    return rest.removesuffix("_a").removesuffix("_b")


def _note(result: Result, manifest: Manifest) -> None:
    result.reason = "BackedUp"
    result.key, result.database = manifest.key, manifest.database
    result.manifest_digest = manifest_digest(manifest.as_bytes())
    result.size_bytes, result.raw_bytes = manifest.totals.size_bytes, manifest.totals.raw_bytes
    result.rows, result.server_version = manifest.totals.rows, manifest.server_version
    result.started_at, result.completed_at = (
        at.replace(microsecond=0).isoformat().replace("+00:00", "Z")
        for at in (manifest.started_at, manifest.completed_at)
    )
    result.not_included = list(manifest.not_included)


def _check_copies(locations: Sequence[Location]) -> None:
    """Raises Retryable where the backup stands, but not everywhere."""
    first, *copies = locations
    if failed := [one for one in copies if one.failure is not None]:
        faults = "; ".join(f"{one.store.location}: {one.failure}" for one in failed)
        raise Retryable("CopyFailed", f"the backup is whole in {first.store.location}, but has no copy in {faults}")
