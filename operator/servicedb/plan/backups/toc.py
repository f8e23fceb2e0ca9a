"""The table of contents of a dump, as pg_restore lists it: which of its entries are restored, and in what order.

Source: PostgreSQL documentation, pg_restore, "--use-list".
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from servicedb.plan.backups.objects import Objects
from servicedb.plan.backups.privileges import Names

_LINE = re.compile(r"(?P<id>[0-9]+); (?P<catalog>[0-9]+) (?P<oid>[0-9]+) (?P<what>.*)")
_NEEDS = re.compile(r";\tdepends on:(?P<ids>( [0-9]+)+)")

_NAMESPACE = 2615
"""The oid of pg_namespace, which is the same in every release, as are those below."""
_POLICY = 3256
_PUBLICATION = 6104

_NEVER = (
    "EXTENSION ",
    "COMMENT - EXTENSION ",
    "EVENT TRIGGER ",
    "COMMENT - EVENT TRIGGER ",
    "SUBSCRIPTION ",
    "USER MAPPING ",
    "PUBLICATION TABLES IN SCHEMA ",
    "DATABASE ",
    "DATABASE PROPERTIES ",
    "COMMENT - DATABASE ",
)
"""Extensions are made beforehand, by who may; the others nobody but an admin may make, and some hold passwords."""

_BY_TABLE = re.compile(r"(INDEX|CONSTRAINT) ")
"""What can be made for several tables at once. FK CONSTRAINT and INDEX ATTACH need two of them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the list. `what` begins with the kind; the names in it are cut at no certain place, oids are sure.

    `id` is its number in the dump, `needs` those of what it depends on: these are in a list made with --verbose alone.
    """

    line: str
    catalog: int
    oid: int
    what: str
    id: int = 0
    needs: tuple[int, ...] = ()


def entries(listing: str) -> tuple[Entry, ...]:
    """The entries of what `pg_restore --list` writes."""
    found: list[Entry] = []
    for line in listing.splitlines():
        if one := _LINE.fullmatch(line):
            found.append(Entry(one[0], int(one["catalog"]), int(one["oid"]), one["what"], int(one["id"])))
        elif found and (needs := _NEEDS.fullmatch(line)):
            found[-1] = replace(found[-1], needs=tuple(map(int, needs["ids"].split())))
    return tuple(found)


def wanted(listed: Sequence[Entry], objects: Objects, schemas: Collection[str], names: Names) -> tuple[Entry, ...]:
    """Those to restore: none of `schemas`, which are there, no policy for roles that go by other names here, and no
    publication that only a superuser may make: `objects` does not have it. Nor
    the comments on either."""
    there = {one.oid: one.schema_ for one in objects.objects if one.catalog == _NAMESPACE}
    policies = {policy.oid for policy in objects.policies if not named_alike(policy.roles, names)}
    known = {one.oid for one in objects.objects if one.catalog == _PUBLICATION}
    superusers = {one.what for one in listed if one.catalog == _PUBLICATION and one.oid not in known}
    left_out = {
        one.id
        for one in listed
        if one.what.startswith(_NEVER) or one.what in superusers or (one.catalog == _POLICY and one.oid in policies)
    }
    return tuple(
        one
        for one in listed
        if one.id not in left_out
        and not (one.catalog == _NAMESPACE and there.get(one.oid) in schemas)
        and not _is_comment_on(one, left_out)
    )


def _is_comment_on(one: Entry, ids: Collection[int]) -> bool:
    return one.what.startswith("COMMENT ") and not set(one.needs).isdisjoint(ids)


def named_alike(roles: Iterable[str], names: Names) -> bool:
    """Whether `roles` (empty: PUBLIC) go by the same names here."""
    return all(names.here(role) == role for role in roles)


def by_table(listed: Sequence[Entry], tables: dict[int, int], parallel: int) -> tuple[list[list[Entry]], list[Entry]]:
    """Indexes and keys in at most `parallel` groups, a table's all in one; and the rest, which comes after them.

    `tables` gives the table of an index or constraint, by its oid; what it does not hold is in the rest. An index of a
    table whose index before is still being made would wait for it anyway.
    """
    groups: dict[int, list[Entry]] = {}
    rest = []
    for one in listed:
        if _BY_TABLE.match(one.what) and not one.what.startswith("INDEX ATTACH ") and one.oid in tables:
            groups.setdefault(tables[one.oid], []).append(one)
        else:
            rest.append(one)
    shared: list[list[Entry]] = [[] for _ in range(parallel)]
    for group in sorted(groups.values(), key=len, reverse=True):
        min(shared, key=len).extend(group)
    return [group for group in shared if group], rest
