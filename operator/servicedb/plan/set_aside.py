"""Setting a database aside: it goes on standing under another name, closed, and its own name is free for a new one.

The roles that own what is in it and hold the grants on it take the new name with it, so that nothing inside has to be
touched; the logins stay behind, for the new one. To the server it is then a database whose object let it go: an admin
can hand it to another ServiceDatabase by spec.adoptable.

Source: PostgreSQL documentation, ALTER DATABASE and ALTER ROLE (RENAME TO): both can stand in a transaction.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from servicedb.naming import NAME_BYTES, RoleNames
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import PUBLIC, ServerScan
from servicedb.plan.steps import (
    CloseDatabase,
    CloseLogin,
    CommentOnRole,
    RenameDatabase,
    RenameRole,
    RevokeOnDatabase,
    Step,
)

_LONGEST_SUFFIX = len("__migrator_a")
_HASH = 8
_WHY = "a restore is to have its name"


def name_aside(database: str, uid: str) -> str:
    """The name under which `database` is kept when the DatabaseRestore `uid` takes its place: one that an object may
    ask for."""
    suffix = f"_old_{hashlib.sha256(uid.encode()).hexdigest()[:_HASH]}"
    return database[: NAME_BYTES - _LONGEST_SUFFIX - len(suffix)].rstrip("_") + suffix


def closing_steps(database: str, seen: ServerScan) -> Iterator[CloseLogin]:
    """Yield what keeps everybody out before it goes: a database that is in use can't be renamed."""
    for name in _noted(database, seen):
        if seen.roles[name].login:
            yield CloseLogin(_WHY, name)


def set_aside_steps(database: str, aside: str, marker: Marker, seen: ServerScan, now: datetime) -> Iterator[Step]:
    """Yield what gives the database its other name, in one transaction. `marker` is the one that it carries."""
    before, after = RoleNames(database), RoleNames(aside)
    notes = _noted(database, seen)
    logins = logins_of(database, seen)
    for privilege in sorted(seen.databases[database].privileges):
        if privilege.grantee in logins or privilege.grantee == PUBLIC:
            yield RevokeOnDatabase(_WHY, database, privilege)
    yield RenameDatabase(_WHY, database, aside)
    for name, note in notes.items():
        if name not in logins:
            renamed = after.database + name.removeprefix(before.database)
            yield RenameRole(_WHY, name, renamed)
            yield CommentOnRole(_WHY, renamed, replace(note, owner=after.owner).comment())
    yield RenameRole(_WHY, before.owner, after.owner)
    yield CloseDatabase(_WHY, aside, after.owner, marker_aside(database, marker, now).comment())


def marker_aside(database: str, marker: Marker, now: datetime) -> Marker:
    """The marker of what was `database`: nobody's any more, and never dropped."""
    return replace(marker, policy="Retain", released=now.isoformat(timespec="seconds"), aside_of=database)


def was_set_aside(database: str, oid: str | None, markers: Iterable[Marker]) -> bool:
    """Whether the database that was known as `database`, by its OID, stands under another name on purpose."""
    return oid is not None and any(one.aside_of == database and str(one.oid) == oid for one in markers)


def logins_of(database: str, seen: ServerScan) -> list[str]:
    """Its logins, which are not renamed: under their names applications know them."""
    return [
        name for name in _noted(database, seen) if not name.startswith(f"{database}__") or name.endswith(("_a", "_b"))
    ]


def _noted(database: str, seen: ServerScan) -> Mapping[str, RoleNote]:
    """The roles of the database but its owner, with their notes."""
    owner = RoleNames(database).owner
    notes = {name: RoleNote.read(role.comment) for name, role in sorted(seen.roles.items())}
    return {name: note for name, note in notes.items() if note is not None and note.owner == owner and name != owner}
