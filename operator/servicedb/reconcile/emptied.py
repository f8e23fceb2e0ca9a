"""A database that a restore was cut off in, made empty again: nothing stood in it before that restore.

Safe to be killed between any two lines: a database that is missing while a restore has it is made anew.
"""

from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Retryable, Terminal
from servicedb.kube.resources import SERVICE_DATABASES, Key
from servicedb.naming import RoleNames
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import ServerScan
from servicedb.plan.steps import DropDatabase, EndSessions
from servicedb.plan.wanted import RESTORE
from servicedb.postgres.apply import Executor
from servicedb.postgres.catalog import scan_database
from servicedb.postgres.drop import drop_database, end_sessions, with_sessions
from servicedb.reconcile.world import World

_WHY = "the restore that filled it was cut off, and begins again"


async def empty_again(world: World, sdb: ServiceDatabase, restore_uid: str) -> None:
    """Drop the database that the DatabaseRestore `restore_uid` has to itself, for the object to make it anew.

    Raises Terminal where that restore does not have it, or anything was restored into it already; Retryable while it
    can't be dropped.
    """
    server, database = world.servers.get(sdb.spec.server_ref.name), sdb.status.database_name or ""
    if server is None or server.admin is None or server.problem is not None:
        raise Retryable("ServerUnreachable", "the database's server can't be used now", ready="Unknown")
    async with server.admin.locked(database) as connection:
        seen = await scan_database(connection, database, roles=())
        server.must_be(seen.system_identifier, world)
        login = _login_of(seen, database, restore_uid)
        owner = seen.roles.get(RoleNames(database).owner)
        marker = Marker.read(owner.comment) if owner is not None else None
        there = seen.databases.get(database)
        if login is None or marker is None or (marker.cluster, marker.uid) != (world.cluster_uid, sdb.metadata.uid):
            raise Terminal("NotRestoring", f'database "{database}" is not that of the restore, and is left as it is')
        if there is None:
            return
        if marker.restored is not None or marker.oid != there.oid:
            raise Terminal(
                "NotRestoring", f'database "{database}" holds what was restored into it, and is left as it is'
            )
        execute = Executor(seen.admin, seen.admin_superuser, world.step)
        if roles := await with_sessions(connection, login):
            await end_sessions(execute, connection, EndSessions(_WHY, roles))
        await drop_database(execute, connection, DropDatabase(_WHY, database))
    world.enqueue(Key(SERVICE_DATABASES, sdb.metadata.namespace, sdb.metadata.name))


def _login_of(seen: ServerScan, database: str, restore_uid: str) -> tuple[str, ...] | None:
    """The halves of the login that the restore has; None where it has none."""
    notes = {name: RoleNote.read(role.comment) for name, role in seen.roles.items()}
    owner = RoleNames(database).owner
    halves = [
        name
        for name, note in notes.items()
        if note is not None and note.owner == owner and note.role == RESTORE and note.asked_by == restore_uid
    ]
    return tuple(sorted(halves)) or None
