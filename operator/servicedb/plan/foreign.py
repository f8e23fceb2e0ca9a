"""A database that servicedb never made: whether it may be adopted, and who goes on using it as before.

As long as spec.adoptable of the DatabaseServer lists it, nothing is taken from anybody: who owned something in it is a
member of the owner role, which owns it from then on. Without the entry whatever does not fit the spec is drift.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from servicedb.errors import Terminal
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import Membership, ObjectScan, OwnerInside, ServerScan
from servicedb.plan.steps import InsideStep, NoteGranted, ObjectStep
from servicedb.plan.wanted import Wanted


def is_foreign(wanted: Wanted, seen: ServerScan) -> bool:
    """Whether the database is one that servicedb never made, and is about to be adopted."""
    database = seen.databases.get(wanted.database)
    return (
        wanted.adoptable and wanted.known_oid is None and database is not None and wanted.names.owner not in seen.roles
    )


def check_adoptable(wanted: Wanted, seen: ServerScan, *, server: str) -> None:
    """Raise Terminal, with all that has to be done first, where the database can't be adopted whole."""
    obstacles = [each for owner in seen.databases[wanted.database].owners for each in _obstacles(seen, owner)]
    if obstacles:
        raise Terminal(
            "NotAdoptable",
            f'database "{wanted.database}" on server "{server}" can\'t be adopted yet, and nothing was changed: '
            f"{'; '.join(obstacles)}",
            condition="DatabaseReady",
        )


def shared(wanted: Wanted, seen: ServerScan) -> Wanted:
    """`wanted`, with those who keep what they could do in the database for the time being.

    The marker knows them. Before there is one they are those who own something; where it was lost, those who are
    members of the owner role without being this database's.
    """
    names = _sharing(wanted, seen) if wanted.adoptable else None
    return replace(wanted, marker=replace(wanted.marker, shared_with=names)) if names is not None else wanted


def shared_memberships(wanted: Wanted, seen: ServerScan) -> frozenset[Membership]:
    """Who shares the database may do what its owner role may. A superuser may anyhow."""
    roles = [seen.roles[name] for name in wanted.shared_with or () if name in seen.roles]
    by_option = seen.version >= 16_00_00  # before, the member's own attribute decides
    return frozenset(
        Membership(wanted.names.owner, role.name, inherit=by_option or role.inherit, set_role=True)
        for role in roles
        if not role.superuser
    )


def strangers_objects(wanted: Wanted, seen: ObjectScan) -> Iterator[str]:
    """A line for each role whose objects are left to it: it owned nothing when the database was adopted."""
    for group in seen.groups:
        if is_left_alone(wanted, group.owner, by_superuser=group.by_superuser):
            yield (
                f"{group.kind.lower()}: {group.count} in schema {group.schema} owned by {group.owner}, not by "
                f"{wanted.names.owner}; left alone as long as spec.adoptable lists the database"
            )


def apart(steps: Sequence[InsideStep]) -> list[list[InsideStep]]:
    """`steps` in the transactions in which they go out where others are at work: what concerns no objects, then object
    by object, each with its new owner and its grants, and at last the note that all have their grants."""

    def concerned(step: InsideStep) -> object:
        return step.objects if isinstance(step, ObjectStep) else type(step) is NoteGranted

    return [[*group] for _, group in groupby(steps, concerned)]


def is_left_alone(wanted: Wanted, owner: str, *, by_superuser: bool) -> bool:
    """Whether what `owner` owns stays its own: as a member of the owner role it would have got more than it had."""
    return (
        wanted.shared_with is not None and owner not in (*wanted.role_names, *wanted.shared_with) and not by_superuser
    )


def _sharing(wanted: Wanted, seen: ServerScan) -> tuple[str, ...] | None:
    if is_foreign(wanted, seen):
        owners = seen.databases[wanted.database].owners
        return tuple(sorted(owner.role.name for owner in owners if not owner.role.superuser))
    owner_role = seen.roles.get(wanted.names.owner)
    marker = Marker.read(owner_role.comment) if owner_role is not None else None
    if marker is not None:
        return marker.shared_with
    members = {membership.member for membership in seen.memberships if membership.group == wanted.names.owner}
    strangers = [name for name in members - {*wanted.role_names} if not _is_ours(seen, name)]
    return tuple(sorted(strangers)) or None


def _is_ours(seen: ServerScan, role: str) -> bool:
    comment = seen.roles[role].comment if role in seen.roles else None
    return RoleNote.read(comment) is not None or Marker.read(comment) is not None


def _obstacles(seen: ServerScan, owner: OwnerInside) -> Iterator[str]:
    role, example = owner.role, owner.example
    if RoleNote.read(role.comment) is not None or Marker.read(role.comment) is not None:
        yield (
            f'{example} belongs to role "{role.name}" of another database of servicedb: give all that it owns there '
            "to another role, or drop it"
        )
    elif role.superuser and not seen.admin_superuser:
        yield (
            f'{example} belongs to the superuser "{role.name}", and the admin "{seen.admin}" is none: have a superuser '
            f'give all that "{role.name}" owns there to another role (ALTER ... OWNER TO)'
        )
    elif not owner.reached:
        yield (
            f'the admin "{seen.admin}" can\'t act for role "{role.name}", which owns {example}: have a superuser run '
            f'GRANT "{role.name}" TO "{seen.admin}" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE'
        )
    elif seen.version < 16_00_00 and not role.inherit and not role.superuser:
        yield (
            f'role "{role.name}", which owns {example}, does not inherit, so it would lose what it can do there: '
            f'have it run ALTER ROLE "{role.name}" INHERIT'
        )
