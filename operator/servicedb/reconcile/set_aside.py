"""A database that is kept under another name, since a restore is to have its own. Safe to be killed between any two
lines: the names change in one transaction."""

import logging

from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import NeedsDecision
from servicedb.kube import events
from servicedb.kube.resources import SERVICE_DATABASES, Key
from servicedb.naming import RoleNames
from servicedb.plan.asking import Asking
from servicedb.plan.marker import Marker
from servicedb.plan.resolve import database_name
from servicedb.plan.set_aside import closing_steps, logins_of, marker_aside, name_aside, set_aside_steps
from servicedb.plan.steps import EndSessions
from servicedb.postgres.apply import Executor
from servicedb.postgres.catalog import scan_database
from servicedb.postgres.drop import end_sessions, with_sessions
from servicedb.reconcile.world import Server, World

_log = logging.getLogger(__name__)


async def set_aside(sdb: ServiceDatabase, server: Server, world: World, restore: Asking) -> None:
    """Give the database of `sdb` another name, and close it, for `restore`. What holds its old name then is made anew.
    A database that holds what `restore` is to bring is left as it is.

    Raises NeedsDecision where it is not this object's alone, Busy where somebody is in it who can't be put out.
    """
    assert server.admin is not None
    database = database_name(sdb, server.resource)
    aside = name_aside(database, restore.uid)
    async with server.admin.locked(database) as connection:
        seen = await scan_database(connection, database, roles=())
        server.must_be(seen.system_identifier, world)
        owner = seen.roles.get(RoleNames(database).owner)
        marker = Marker.read(owner.comment) if owner is not None else None
        there = seen.databases.get(database)
        if marker is None or there is None or marker.oid != there.oid or not _is_of(marker, sdb, world):
            return  # whose it is, is said where that is looked at
        if marker.holds(restore.name, restore.key, there.oid):
            return  # written down since it was looked at; the DatabaseRestore finds it done
        if marker.shared_with is not None:
            raise NeedsDecision(
                "DatabaseShared",
                f'database "{database}" on server "{server.name}" was adopted, and those who had it before go on using '
                f"it, so it can't be renamed; take its entry out of spec.adoptable of DatabaseServer {server.name}, or "
                "restore into another ServiceDatabase",
                condition="DatabaseReady",
            )
        execute = Executor(seen.admin, seen.admin_superuser, world.step)
        closing = list(closing_steps(database, seen))
        if closing:
            await execute.roles(connection, closing, {})
        if roles := await with_sessions(connection, logins_of(database, seen)):
            await end_sessions(execute, connection, EndSessions("a restore is to have its name", roles))
        await execute.together(connection, set_aside_steps(database, aside, marker, seen, world.now()))
    server.markers.pop(database, None)
    server.markers[aside] = marker_aside(database, marker, world.now())
    message = (
        f'what database "{database}" on server "{server.name}" held is kept there as database "{aside}", closed; an '
        "admin can hand it to another ServiceDatabase by spec.adoptable, or drop it"
    )
    _log.info("set aside: %s (%s)", message, marker.holder)
    key = Key(SERVICE_DATABASES, sdb.metadata.namespace, sdb.metadata.name)
    await events.post(world.kube, key, sdb.metadata.uid, warning=False, reason="SetAside", message=message)


def _is_of(marker: Marker, sdb: ServiceDatabase, world: World) -> bool:
    object_of = (marker.cluster, marker.namespace, marker.name)
    return object_of == (world.cluster_uid, sdb.metadata.namespace, sdb.metadata.name) and not marker.let_go
