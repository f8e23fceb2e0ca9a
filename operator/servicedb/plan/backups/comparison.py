"""What a restored database has otherwise than the backup says of the one that was dumped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from servicedb.plan.backups.manifest import Extension, Manifest, Table
from servicedb.plan.backups.manifest import Sequence as SequenceOf
from servicedb.plan.backups.objects import Object, Objects


@dataclass(frozen=True, slots=True)
class Restored:
    """What was found in the restored database; `descending` are the sequences that count downwards, and
    `large_objects_fingerprint` is there where the backup has one."""

    tables: Sequence[Table]
    sequences: Sequence[SequenceOf]
    extensions: Sequence[Extension]
    objects: Sequence[Object]
    large_objects: int
    server_version: int
    descending: frozenset[tuple[str, str]] = frozenset()
    large_objects_fingerprint: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What was asked for: of which schemas, empty for all. `tables`: some tables alone were, and all that is compared
    is theirs."""

    schemas: frozenset[str] = frozenset()
    tables: bool = False

    def has(self, schema: str | None) -> bool:
        return not self.schemas or schema in self.schemas


def faults(manifest: Manifest, objects: Objects, restored: Restored, scope: Scope) -> tuple[str, ...]:
    """What is missing, and what of the rows and sequences is otherwise: none of it may be.

    Sentences without values of rows.
    """
    return (
        *_tables(manifest.tables, restored.tables, scope),
        *_sequences(manifest.sequences, restored, scope),
        *_objects(objects.objects, restored.objects, scope),
        *(() if scope.schemas or scope.tables else _large_objects(manifest, objects, restored)),
    )


def notes(manifest: Manifest, objects: Objects, restored: Restored, scope: Scope) -> tuple[str, ...]:
    """What is otherwise, and may be.

    A definition is among it: a server may word what it was given by a dump otherwise than what it was given by hand,
    and a function may have been replaced while it was dumped. Between major versions the words are not compared.
    """
    here = {one.name: one.version for one in restored.extensions}
    extensions = (
        f"extension {one.name} is of version {here[one.name]}, and was {one.version}"
        for one in manifest.extensions
        if here.get(one.name, one.version) != one.version
    )
    same_words = manifest.server_version // 1_00_00 == restored.server_version // 1_00_00
    return (*extensions, *(_definitions(objects.objects, restored.objects, scope) if same_words else ()))


def _tables(recorded: Iterable[Table], found: Iterable[Table], scope: Scope) -> Iterable[str]:
    here = {(one.schema_, one.name): one for one in found}
    for one in recorded:
        if not scope.has(one.schema_):
            continue
        there = here.get((one.schema_, one.name))
        shown = f"table {one.schema_}.{one.name}"
        if there is None:
            yield f"{shown} is missing"
        elif there.rows != one.rows:
            yield f"{shown} has {there.rows} rows, and had {one.rows}"
        elif one.fingerprint is not None and there.fingerprint != one.fingerprint and one.rows:
            yield f"{shown} has as many rows, {one.rows}, but other ones: their fingerprint differs"


def _sequences(recorded: Iterable[SequenceOf], restored: Restored, scope: Scope) -> Iterable[str]:
    """A sequence is no part of a snapshot: pg_dump reads it later than the manifest does, and finds it further."""
    here = {(one.schema_, one.name): one for one in restored.sequences}
    for one in recorded:
        if not scope.has(one.schema_):
            continue
        there = here.get((one.schema_, one.name))
        shown = f"sequence {one.schema_}.{one.name}"
        if there is None:
            yield f"{shown} is missing"
            continue
        further = there.last_value - one.last_value
        if (one.schema_, one.name) in restored.descending:
            further = -further
        if further < 0 or (further == 0 and one.is_called and not there.is_called):
            yield f"{shown} stands at {there.last_value}, and had come to {one.last_value}"


def _objects(recorded: Iterable[Object], found: Iterable[Object], scope: Scope) -> Iterable[str]:
    here = {(one.kind, one.identity) for one in found}
    for one in recorded:
        if not scope.has(one.schema_) or one.kind in ("table column", "large object"):  # there for privileges alone
            continue
        if (one.kind, one.identity) not in here:
            yield f"{one.shown} is missing"


def _definitions(recorded: Iterable[Object], found: Iterable[Object], scope: Scope) -> Iterable[str]:
    here = {(one.kind, one.identity): one.definition for one in found}
    for one in recorded:
        if scope.has(one.schema_) and here.get((one.kind, one.identity), one.definition) != one.definition:
            yield f"{one.shown} is there, and the server words its definition otherwise: see whether it means the same"


def _large_objects(manifest: Manifest, objects: Objects, restored: Restored) -> Iterable[str]:
    was, found = objects.large_objects, restored.large_objects
    if was != found:
        yield f"there are {found} large objects, and were {was}"
    elif manifest.large_objects_fingerprint != restored.large_objects_fingerprint:
        yield f"there are as many large objects, {was}, but what they hold is otherwise: their fingerprint differs"
