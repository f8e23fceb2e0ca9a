"""Whether a DatabaseRestore gets a database to itself: never one that holds anything.

What was decided stands in the note of the login that the restore gets, so that a half restored database is not taken
for somebody's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from servicedb.api.service_database import ServiceDatabase
from servicedb.naming import RoleNames
from servicedb.plan.asking import Asking
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import ServerScan
from servicedb.plan.resolve import database_name
from servicedb.plan.steps import EndSessions, Step
from servicedb.plan.wanted import RESTORE, Wanted
from servicedb.postgres.apply import Executor
from servicedb.postgres.catalog import scan_database
from servicedb.postgres.contents import an_object
from servicedb.postgres.drop import end_sessions, with_sessions
from servicedb.postgres.session import Session
from servicedb.reconcile.set_aside import set_aside
from servicedb.reconcile.world import Server, World

Decision = Literal["Admitted", "Refused"]

_DONE = "the backup was restored into the database already, by a DatabaseRestore of that name"


@dataclass(frozen=True, slots=True)
class Admission:
    """What was decided about the DatabaseRestore `name`."""

    name: str
    uid: str
    state: Decision
    message: str = ""

    def as_json(self) -> dict[str, Any]:
        message = {"message": self.message} if self.message else {}
        return {"name": self.name, "uid": self.uid, "state": self.state, **message}


async def admission(
    sdb: ServiceDatabase, server: Server, world: World, asking: Sequence[Asking], *, begin: bool
) -> Admission | None:
    """The restore that has, or gets, the database of `sdb` to itself, or the first one that can't; None where there is
    none to decide about. Without `begin` only one that has it already counts."""
    restores = [one for one in asking if one.login == RESTORE]
    if not restores:
        return None
    assert server.admin is not None
    database = database_name(sdb, server.resource)
    async with server.admin.session() as connection:
        seen = await scan_database(connection, database, roles=())
        present = _present(seen)
        for one in restores:
            if present == one.uid:
                return Admission(one.name, one.uid, "Admitted")
        first = next((one for one in restores if not one.failed), None)
        if first is None or present is not None or not begin:
            return None  # the login of an earlier restore goes first
        there = seen.databases.get(database)
        if there is not None and _is_done(first, database, there.oid, seen):
            return Admission(first.name, first.uid, "Refused", _DONE)
        if there is None or not there.allow_connections:
            return Admission(first.name, first.uid, "Admitted")
        async with server.admin.inside(database) as inside:
            held = await an_object(inside)
    if held is not None and first.rename_old:
        await set_aside(sdb, server, world, first)
    elif held is not None:
        return _refused(first, database, server, held)
    return Admission(first.name, first.uid, "Admitted")


def _is_done(first: Asking, database: str, oid: int, seen: ServerScan) -> bool:
    """Whether the restore was carried out before: then the database is in use, and nobody is kept out of it."""
    owner = seen.roles.get(RoleNames(database).owner)
    marker = Marker.read(owner.comment) if owner is not None else None
    return marker is not None and marker.holds(first.name, first.key, oid)


def _refused(first: Asking, database: str, server: Server, held: str) -> Admission:
    return Admission(
        first.name,
        first.uid,
        "Refused",
        f'database "{database}" on server "{server.name}" is not empty (it holds {held}, for one), and a restore '
        "writes into none that holds anything; restore into a new ServiceDatabase, or make the DatabaseRestore anew "
        "with overwrite: RenameOld, which keeps this database under another name",
    )


async def leave_alone(wanted: Wanted, connection: Session, execute: Executor) -> list[Step]:
    """End the sessions of all who are not to be in the database while it is restored into."""
    closed = [half for login in wanted.logins if wanted.is_closed(login) for half in login.halves]
    roles = await with_sessions(connection, closed) if closed else ()
    if not roles:
        return []
    step = EndSessions("a restore has the database to itself", roles)
    await end_sessions(execute, connection, step)
    return [step]


def _present(seen: ServerScan) -> str | None:
    """The UID of the restore whose login is there."""
    notes = [RoleNote.read(role.comment) for role in seen.roles.values()]
    of_restore = [note.asked_by for note in notes if note is not None and note.role == RESTORE and not note.retire_at]
    return next((uid for uid in of_restore if uid is not None), None)
