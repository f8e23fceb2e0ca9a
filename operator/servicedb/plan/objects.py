"""Who owns the tables, sequences, routines and types in a tenant's schemas, and who else may use them.

What a migration grants to the database's own roles, or takes from them, is its decision and stays. What is taken back:
objects of other owners, privileges of PUBLIC and of roles that are not of this database, and the right to pass
privileges on. Grants are given where nobody has decided anything yet.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Self

from servicedb.naming import HISTORY_SCHEMA, RETENTION_SCHEMA
from servicedb.plan.foreign import is_left_alone
from servicedb.plan.inside import privileges_by_access
from servicedb.plan.marker import RoleNote
from servicedb.plan.observed import PUBLIC, ColumnPrivileges, ObjectGroup, ObjectName, ObjectScan, Privilege, Role
from servicedb.plan.roles import group_note
from servicedb.plan.steps import ChangeObjectOwner, GrantOnObjects, InsideStep, NoteGranted, ObjectStep, RevokeOnObjects
from servicedb.plan.wanted import Access, Group, Wanted

_AT_ONCE = 200
"""Objects in one statement: few enough to be read, many enough to be quick."""

_TYPES = {"TABLE": "TABLES", "SEQUENCE": "SEQUENCES", "ROUTINE": "ROUTINES"}
"""Kind of an object -> its type, as ALTER DEFAULT PRIVILEGES calls it."""

_IN_A_NULL_ACL = {"ROUTINE": frozenset({Privilege(PUBLIC, "EXECUTE")})}
"""What others may do without any GRANT. Source: PostgreSQL documentation, "Privileges"."""

_EVERYTHING = {
    "TABLE": frozenset({"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"}),
    "SEQUENCE": frozenset({"SELECT", "USAGE", "UPDATE"}),
    "ROUTINE": frozenset({"EXECUTE"}),
}

_SHUT = frozenset({HISTORY_SCHEMA, RETENTION_SCHEMA})
"""Schemas of our own in the database, in which nobody holds more than our own work takes."""

_LEDGER = {"TABLE": frozenset({"SELECT", "INSERT"})}
"""The most that the login that archives and deletes may do with its ledger: what stands there stands there for good."""

_LOCKS = frozenset({"UPDATE"})
"""What SELECT ... FOR UPDATE takes, on one column at least. Source: PostgreSQL documentation, SELECT, "The Locking
Clause"."""

_STRANGER = "held by a role that is not of this database"


@dataclass(frozen=True, slots=True)
class Holders:
    """The roles of one database. `granted` are the groups that have had their first grants."""

    wanted: Wanted
    own: frozenset[str]
    granted: frozenset[str]

    @classmethod
    def of(cls, wanted: Wanted, roles: Mapping[str, Role], *, anew: bool) -> Self:
        """`anew`: the database is yet to be made, and `roles` may be, too."""
        notes = {name: RoleNote.read(role.comment) for name, role in roles.items()}
        leaving = {name for name, note in notes.items() if note is not None and note.owner == wanted.names.owner}
        granted = {group.name for group in wanted.all_groups if group_note(wanted, group, roles, anew=anew).granted}
        return cls(wanted, frozenset({*wanted.role_names, *leaving}), frozenset(granted))


def object_steps(
    wanted: Wanted, seen: ObjectScan, roles: Mapping[str, Role], *, anew: bool = False
) -> Iterator[InsideStep]:
    """Yield what leads from `seen` to `wanted`, and the note on groups that get their first grants by it."""
    holders = Holders.of(wanted, roles, anew=anew)
    groups, at_once = seen.groups, _AT_ONCE
    if wanted.shared_with is not None:
        yield from _before_hands_change(holders, groups)
        groups, at_once = tuple(sorted(groups, key=_place)), 1  # no more is locked at once than one object
    for group in groups:
        for part in _parts(group, at_once):
            yield from _group_steps(holders, part)
    for column in seen.columns:
        yield from _column_steps(holders, column, seen.keys)
    yield from _locking(holders, seen)
    for own_group in wanted.all_groups:
        if own_group.name not in holders.granted:
            note = replace(group_note(wanted, own_group, roles), granted=True)
            yield NoteGranted("has its grants on what is there", own_group.name, note.comment())


def to_be_named(wanted: Wanted, seen: ObjectScan, roles: Mapping[str, Role]) -> frozenset[int]:
    """The samples of those groups in which something has to be done, so that their objects' names are needed."""
    holders = Holders.of(wanted, roles, anew=False)
    return frozenset(
        group.sample
        for group in seen.groups
        if not group.names and next(_group_steps(holders, group), None) is not None
    )


def overridden(wanted: Wanted) -> list[tuple[str, str]]:
    """Schema and name of each table that some override names."""
    return sorted({table for group in wanted.all_groups for table in group.overrides or ()})


def awaited(wanted: Wanted, seen: ObjectScan) -> list[str]:
    """The tables that overrides name and that are not there yet."""
    there = {(name.schema, name.name) for group in seen.groups if group.kind == "TABLE" for name in group.names}
    return [f"{schema}.{name}" for schema, name in overridden(wanted) if (schema, name) not in there]


def _before_hands_change(holders: Holders, groups: Iterable[ObjectGroup]) -> Iterator[GrantOnObjects]:
    """What the owner role needs beforehand: a view or a function that it has been given already reads, as its owner,
    what it is yet to be given."""
    owner = holders.wanted.names.owner
    for group in groups:
        if group.kind not in _TYPES or not _changes_hands(holders, group):
            continue
        held = {one.privilege for one in group.privileges or () if one.grantee == owner}
        if missing := _EVERYTHING[group.kind] - held:
            for part in _parts(group, _AT_ONCE):
                acting_for = None if part.reached else part.owner
                yield GrantOnObjects("it is about to own them", part.names, owner, _sorted(missing), acting_for)


def _place(group: ObjectGroup) -> int:
    """Tables first: row security passes over their owner alone, and a view or a function that has been given away
    before them would see fewer rows. Sequences of columns after the tables that they follow."""
    return 1 if group.view or group.kind == "ROUTINE" else 2 if group.linked else 0


def _changes_hands(holders: Holders, group: ObjectGroup) -> bool:
    alone = is_left_alone(holders.wanted, group.owner, by_superuser=group.by_superuser)
    return group.owner != holders.wanted.names.owner and not alone


def _parts(group: ObjectGroup, at_once: int) -> Iterator[ObjectGroup]:
    """A group of many objects in pieces of a size for one statement."""
    for start in range(0, len(group.names), at_once):
        yield replace(group, names=group.names[start : start + at_once])


def _group_steps(holders: Holders, seen: ObjectGroup) -> Iterator[ObjectStep]:
    if is_left_alone(holders.wanted, seen.owner, by_superuser=seen.by_superuser):
        return
    owner = holders.wanted.names.owner
    elsewhere = seen.owner != owner
    if elsewhere and not seen.linked:
        yield ChangeObjectOwner("owned by another role", seen.names, owner, seen.owner, not seen.reached)
    if seen.kind not in _TYPES:
        return
    privileges = seen.privileges if seen.privileges is not None else _IN_A_NULL_ACL.get(seen.kind, frozenset())
    privileges = frozenset(one for one in privileges if one.grantee not in (owner, seen.owner))
    yield from _taken_back(holders, seen.names, privileges)
    undecided = seen.privileges is None or elsewhere
    for group in holders.wanted.all_groups:
        held = {one.privilege for one in privileges if one.grantee == group.name}
        exact = seen.schema in _SHUT or (seen.kind == "TABLE" and group.overrides is not None)
        goal = _goal(group, seen)
        if exact and held - goal:
            yield RevokeOnObjects("beyond its access or override", seen.names, group.name, _sorted(held - goal))
        given = seen.schema in _SHUT  # by our own work, which knows its tables
        if goal - held and not given and (exact or undecided or group.name not in holders.granted):
            yield GrantOnObjects("missing", seen.names, group.name, _sorted(goal - held))


def _goal(group: Group, seen: ObjectGroup) -> frozenset[str]:
    """What `group` is to hold. Objects that an override names are seen one by one."""
    if seen.schema in _SHUT:
        keeps_it = seen.schema == RETENTION_SCHEMA and group.access is Access.NAMED_TABLES
        return _LEDGER.get(seen.kind, frozenset()) if keeps_it else frozenset()
    if seen.kind == "TABLE" and len(seen.names) == 1:
        table = (seen.schema, seen.names[0].name)
        if table in (group.overrides or ()):
            return (group.overrides or {})[table]
    return frozenset(privileges_by_access(group.access, _TYPES[seen.kind]))


def _column_steps(
    holders: Holders, seen: ColumnPrivileges, keys: Mapping[tuple[str, str], str]
) -> Iterator[ObjectStep]:
    """A group with overrides holds whole tables alone: a column's privilege would go around them. What it locks rows
    by stays."""
    exact = {group.name for group in holders.wanted.all_groups if group.overrides is not None}
    yield from _taken_back(holders, (seen.table,), seen.privileges, columns=(seen.column,))
    for grantee in sorted(exact):
        held = {one.privilege for one in seen.privileges if one.grantee == grantee}
        table = (seen.table.schema, seen.table.name)
        if grantee in _lockers(holders.wanted, table) and keys.get(table) == seen.column:
            held -= _LOCKS
        if held:
            yield RevokeOnObjects(
                "beyond its access or override", (seen.table,), grantee, _sorted(held), columns=(seen.column,)
            )


def _lockers(wanted: Wanted, table: tuple[str, str]) -> set[str]:
    """The groups that lock rows of `table`."""
    return {
        group.name
        for group in wanted.all_groups
        if group.access is Access.NAMED_TABLES and table in (group.overrides or ())
    }


def _locking(holders: Holders, seen: ObjectScan) -> Iterator[ObjectStep]:
    """Who deletes rows has to lock them, which takes UPDATE on one column: that of the key."""
    held = {
        (one.table.schema, one.table.name, one.column, privilege.grantee)
        for one in seen.columns
        for privilege in one.privileges
        if privilege.privilege in _LOCKS
    }
    for table, column in sorted(seen.keys.items()):
        for group in sorted(_lockers(holders.wanted, table)):
            if (*table, column, group) not in held:
                name = ObjectName("TABLE", *table)
                yield GrantOnObjects("missing", (name,), group, _sorted(_LOCKS), columns=(column,))


def _taken_back(
    holders: Holders, objects: tuple[ObjectName, ...], seen: Iterable[Privilege], *, columns: tuple[str, ...] = ()
) -> Iterator[ObjectStep]:
    """The right to pass on goes first, and with it whatever was passed on."""
    grantable, strangers = defaultdict(set), defaultdict(set)
    for privilege in seen:
        if privilege.grantee not in holders.own:
            if holders.wanted.shared_with is not None:
                continue
            strangers[privilege.grantee].add(privilege.privilege)
        elif privilege.grantable and privilege.grantee != holders.wanted.names.owner:
            grantable[privilege.grantee].add(privilege.privilege)
    for grantee, privileges in sorted(grantable.items()):
        yield RevokeOnObjects(
            "could be passed on", objects, grantee, _sorted(privileges), columns=columns, only_grant_option=True
        )
    for grantee, privileges in sorted(strangers.items()):
        yield RevokeOnObjects(_STRANGER, objects, grantee, _sorted(privileges), columns=columns)


def _sorted(privileges: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(privileges))
