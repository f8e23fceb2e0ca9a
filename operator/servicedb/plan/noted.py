"""What stands on a server by its roles' notes alone: what is gone by while the spec says nothing that can be had."""

from collections import defaultdict

from servicedb.naming import RoleNames
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import Role, ServerScan
from servicedb.plan.wanted import Access, Login, Wanted, works_as

_ACCESSES = frozenset(Access)


def as_noted(database: str, marker: Marker, seen: ServerScan, *, known_oid: str | None) -> Wanted:
    """The database with the logins that are in use, as if the spec asked for these; nothing is to be made by it."""
    names = RoleNames(database)
    in_use: dict[str, list[tuple[Role, RoleNote]]] = defaultdict(list)
    for role in sorted(seen.roles.values(), key=lambda role: role.name):
        note = RoleNote.read(role.comment)
        if note is not None and note.owner == names.owner and role.login and note.retire_at is None and note.secret:
            in_use[note.role].append((role, note))
    logins = tuple(_login(names, *found[0]) for _, found in sorted(in_use.items()))
    return Wanted(database, names, logins, marker, known_oid=known_oid)


def _login(names: RoleNames, role: Role, note: RoleNote) -> Login:
    pair = names.pair(note.role)
    access = Access(note.access) if note.access in _ACCESSES else Access.READ_WRITE
    return Login(
        note.role,
        halves=pair if role.name in pair else (role.name,),
        access=access,
        works_as=works_as(names, access),
        secret_name=note.secret or "",
        connection_limit=role.connection_limit,
    )
