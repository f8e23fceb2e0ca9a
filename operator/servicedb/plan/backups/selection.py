"""Some tables of a backup, and what has to come along with them.

What a dump's entries depend on stands in its table of contents, and so decides: types, functions and schemas that a
table needs come with it, as do its own indexes, keys, triggers and policies. What would need a table that is not asked
for is left out, and told.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from servicedb.errors import Terminal
from servicedb.plan.backups.manifest import Manifest, Totals
from servicedb.plan.backups.objects import Objects
from servicedb.plan.backups.toc import Entry

_CLASS: Final = 1259
"""The oid of pg_class, which is the same in every release."""
_ROWS: Final = ("TABLE ", "FOREIGN TABLE ", "VIEW ", "MATERIALIZED VIEW ")
_ATTACH: Final = "TABLE ATTACH "
_OF_A_TABLE: Final = (
    "CHECK CONSTRAINT ",
    "COMMENT ",
    "CONSTRAINT ",
    "DEFAULT ",
    "FK CONSTRAINT ",
    "INDEX ",
    "POLICY ",
    "ROW SECURITY ",
    "RULE ",
    "SEQUENCE ",
    "STATISTICS ",
    "TRIGGER ",
    _ATTACH,
)


_NAME = r'("(?:[^"]|"")+"|[^".]+)'
_QUALIFIED: Final = re.compile(rf"{_NAME}\.{_NAME}", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Selection:
    """`entries` are those of the dump that are restored, by their numbers; `tables` and `objects` what they make, by
    oids of the database that was dumped, objects with their catalog. `left_out` are sentences."""

    entries: frozenset[int]
    tables: frozenset[int]
    objects: frozenset[tuple[int, int]]
    left_out: tuple[str, ...]

    def of(self, objects: Objects) -> Objects:
        """Those that are restored, and have to be there afterwards."""
        return objects.model_copy(
            update={
                "objects": tuple(one for one in objects.objects if (one.catalog, one.oid) in self.objects),
                "policies": tuple(one for one in objects.policies if (_POLICIES, one.oid) in self.objects),
                "default_privileges": (),
                "large_objects": 0,
                "wrappers": (),
            }
        )

    def of_manifest(self, manifest: Manifest, objects: Objects) -> Manifest:
        """The manifest, with tables and sequences that are restored alone."""
        here = {parts(one.identity) for one in objects.objects if (_CLASS, one.oid) in self.objects}
        tables = tuple(one for one in manifest.tables if (one.schema_, one.name) in here)
        sequences = tuple(one for one in manifest.sequences if (one.schema_, one.name) in here)
        totals = Totals(
            rows=sum(one.rows for one in tables),
            size_bytes=manifest.totals.size_bytes,
            raw_bytes=manifest.totals.raw_bytes,
        )
        return manifest.model_copy(update={"tables": tables, "sequences": sequences, "totals": totals})


_POLICIES: Final = 3256


def select(listed: Sequence[Entry], objects: Objects, tables: Iterable[str], schemas: Collection[str]) -> Selection:
    """What is restored of `listed`, a whole dump without its rows, where only `tables` are asked for.

    They are written as schema.table, with quotation marks where a name holds a dot. All partitions of a table come with
    it, as it does with one of them. Raises Terminal for one that the backup does not have, or that is in none of
    `schemas` (none: all).
    """
    by_id = {one.id: one for one in listed}
    by_oid = {one.oid: one.id for one in listed if _holds_rows(one)}
    tables_of = _tables_of(objects)
    chosen = _with_partitions(listed, {by_oid[oid] for oid in _oids(objects, by_oid, tables, schemas)})
    entries = _needed(by_id, chosen)
    others = {oid for oid, number in by_oid.items() if number not in entries}
    left_out: dict[int, str] = {}
    grown = True
    while grown:
        grown = False
        for one in listed:
            if one.id in entries or one.id in left_out or not one.what.startswith(_OF_A_TABLE):
                continue
            if not any(_is_of(one, by_id[each]) for each in one.needs if each in entries):
                continue
            if tables_of.get((one.catalog, one.oid)) in others:
                continue
            needed = _needed(by_id, {one.id})
            if missing := [by_id[each].what for each in needed - entries if _holds_rows(by_id[each])]:
                why = f"it needs {_shown(missing[0])}, which is not asked for"
                left_out[one.id] = f"{_shown(one.what)} is left out: {why}"
                continue
            entries |= needed
            grown = True
    made = frozenset(by_id[each].oid for each in entries if _holds_rows(by_id[each]))
    return Selection(frozenset(entries), made, _objects(listed, objects, entries, made), tuple(left_out.values()))


def parts(identity: str) -> tuple[str, str] | None:
    """Schema and name of what the server (or a person) calls so; None where it is not of that form."""
    match = _QUALIFIED.fullmatch(identity)
    if match is None:
        return None
    schema, name = (_unquoted(one) for one in match.groups())
    return schema, name


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _holds_rows(one: Entry) -> bool:
    return one.catalog == _CLASS and one.what.startswith(_ROWS)


def _is_of(one: Entry, other: Entry) -> bool:
    """Whether an entry that needs the `other` belongs to it, and does not merely use it."""
    return _holds_rows(other) or other.what.startswith(_OF_A_TABLE) or one.what.startswith("COMMENT ")


def _shown(what: str) -> str:
    """Without the owner, who stands last."""
    return what.rpartition(" ")[0]


def _oids(
    objects: Objects, by_oid: Mapping[int, int], tables: Iterable[str], schemas: Collection[str]
) -> Iterable[int]:
    there = {
        parts(one.identity): one.oid
        for one in objects.objects
        if one.catalog == _CLASS and one.kind == "table" and one.oid in by_oid
    }
    for table in tables:
        named = parts(table)
        if named is None:
            raise Terminal("NoSuchTable", f"{table} names no table: write it as schema.table")
        if named not in there:
            raise Terminal(
                "NoSuchTable", f"the backup has no table {table}; look at how it is written, and where it is"
            )
        if schemas and named[0] not in schemas:
            raise Terminal(
                "NoSuchTable", f"table {table} is in none of the schemas that are asked for; name its schema"
            )
        yield there[named]


def _tables_of(objects: Objects) -> dict[tuple[int, int], int]:
    """The table of what belongs to one, by oids: triggers and policies are called `name on schema.table`."""
    named = {parts(one.identity): one.oid for one in objects.objects if one.catalog == _CLASS and one.kind == "table"}
    found = {}
    for one in objects.objects:
        table = one.table or named.get(parts(one.identity.rpartition(" on ")[2]))
        if table is not None and (" on " in one.identity or one.table):
            found[one.catalog, one.oid] = table
    return found


def _with_partitions(listed: Sequence[Entry], chosen: set[int]) -> set[int]:
    attached = [one.needs for one in listed if one.what.startswith(_ATTACH)]
    found = set(chosen)
    while more := {each for needs in attached if set(needs) & found for each in needs} - found:
        found |= more
    return found


def _needed(by_id: Mapping[int, Entry], of: Collection[int]) -> set[int]:
    """Those of the dump that have to be there, with `of` themselves."""
    found: set[int] = set()
    waiting = [each for each in of if each in by_id]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += [each for each in by_id[one].needs if each in by_id]
    return found


def _objects(
    listed: Sequence[Entry], objects: Objects, entries: Collection[int], tables: Collection[int]
) -> frozenset[tuple[int, int]]:
    """What stands in the list as an entry, and what comes in the words of a table that is restored."""
    of_entries = {(one.catalog, one.oid): one.id for one in listed}
    return frozenset(
        place
        for one in objects.objects
        if (of_entries[place] in entries if (place := (one.catalog, one.oid)) in of_entries else one.table in tables)
    ) | frozenset(place for place, number in of_entries.items() if number in entries)
