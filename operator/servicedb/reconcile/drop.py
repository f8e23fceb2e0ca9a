"""Databases whose grace is over are dropped, with their roles. Safe to be killed between any two lines."""

import logging
from dataclasses import replace
from datetime import datetime
from functools import partial

from servicedb import metrics
from servicedb.errors import Busy, Problem
from servicedb.kube.client import ApiError
from servicedb.naming import RoleNames
from servicedb.plan.conditions import Finding
from servicedb.plan.deletion import (
    check_is_not_shared,
    check_is_ours,
    check_nothing_is_kept,
    check_nothing_is_prepared,
    due_at,
    is_beyond_undoing,
    is_due,
    roles_to_drop,
    waiting,
)
from servicedb.plan.marker import Marker
from servicedb.plan.observed import ServerScan
from servicedb.plan.steps import CloseDatabase, DropDatabase, DropRole, EndSessions
from servicedb.postgres import drop
from servicedb.postgres.apply import Executor
from servicedb.postgres.catalog import scan_database
from servicedb.postgres.session import Session
from servicedb.reconcile.freed import Freeing, roles_of_another
from servicedb.reconcile.gone import key_of, object_is_gone, tell
from servicedb.reconcile.world import Server, World

_log = logging.getLogger(__name__)


async def drop_what_is_due(server: Server, world: World) -> Finding:
    """Drop every database whose grace is over and whose object is still gone. Returns how Ready reads then.

    What goes wrong with one database is no reason to stop using the server for the others.
    """
    failures = []
    for database, marker in _deleted(server, world).items():
        if not is_due(marker, world.now()):
            continue
        try:
            await _drop(server, world, database, marker)
        except Busy as problem:
            _log.info("not dropped now: %s: %s", database, problem)
        except (Problem, ApiError) as problem:
            _log.warning("not dropped: %s", problem)
            failures.append(str(problem))
    left = _deleted(server, world)
    metrics.DELETING.labels(server.name).set(len(left))
    metrics.DROPS_BLOCKED.labels(server.name).set(len(failures))
    _come_again(server, world, left)
    if failures:
        return Finding("Ready", "True", "DropBlocked", "; ".join(failures)[:2000])
    return Finding("Ready", "True", "Ready", waiting(left.items()))


def _deleted(server: Server, world: World) -> dict[str, Marker]:
    return {
        database: marker
        for database, marker in server.markers.items()
        if marker.deleted_at is not None and marker.cluster == world.cluster_uid
    }


def _come_again(server: Server, world: World, left: dict[str, Marker]) -> None:
    """Have the server looked at when the next grace is over, if that is before its next look anyhow."""
    seconds = [(due - world.now()).total_seconds() for marker in left.values() if (due := due_at(marker)) is not None]
    ahead = [one for one in seconds if 0 < one < world.settings.resync]
    if ahead:
        world.enqueue_after(server.key, min(ahead))


async def _drop(server: Server, world: World, database: str, marker: Marker) -> None:
    """Under the lock, after one more look at everything: the marker, the database, both clocks, the object."""
    assert server.admin is not None
    names = RoleNames(database)
    async with server.admin.locked(database) as connection:
        seen = await _scan(server, connection, database, marker)
        server.must_be(seen.system_identifier, world)
        owner = seen.roles.get(names.owner)
        if owner is None or Marker.read(owner.comment) != marker:
            return
        if not is_due(marker, world.now(), await drop.clock(connection)):
            return
        check_is_ours(database, marker, seen, server=server.name)
        check_is_not_shared(database, marker, server.resource.spec.adoptable, server=server.name)
        roles = roles_to_drop(seen, names)
        check_nothing_is_kept(database, await drop.holdings(connection, roles), server=server.name)
        check_nothing_is_prepared(database, await drop.prepared_transactions(connection, database), server=server.name)
        beyond_undoing = is_beyond_undoing(marker, seen.databases.get(database))
        if not beyond_undoing and not await object_is_gone(server, world, database, marker):
            return
        execute = Executor(seen.admin, seen.admin_superuser, world.step)
        marker = await _drop_database(execute, connection, server, database, marker, seen, roles, world.now())
        await _drop_roles(execute, connection, server, database, roles)
    server.markers.pop(database, None)
    message = (
        f'database "{database}" on server "{server.name}" is dropped with its roles: the grace of its object is over'
    )
    _log.info("dropped: %s (%s)", message, marker.holder)
    await tell(server, world, marker, "Dropped", message)
    world.enqueue(key_of(marker))  # made again meanwhile, it waits for the name


async def _scan(server: Server, connection: Session, database: str, marker: Marker) -> ServerScan:
    assert server.scan is not None
    known = {RoleNames(database).owner, *server.scan.of(database).roles}  # fixed login names are found by nothing else
    oids = [marker.oid] if marker.oid is not None else []
    return await scan_database(connection, database, roles=sorted(known), oids=oids)


async def _drop_database(
    execute: Executor,
    connection: Session,
    server: Server,
    database: str,
    marker: Marker,
    seen: ServerScan,
    roles: list[str],
    now: datetime,
) -> Marker:
    """Closed first, so that the marker says that the drop has begun; returns that marker."""
    there = seen.databases.get(database)
    if there is None:
        return marker
    why = f"its object is gone, and the grace of {marker.grace} over"
    if marker.dropping is None or there.allow_connections:
        marker = replace(marker, dropping=now.isoformat(timespec="seconds"))
        await drop.close(execute, connection, CloseDatabase(why, database, RoleNames(database).owner, marker.comment()))
        server.markers[database] = marker
    if sessions := await drop.with_sessions(connection, roles):
        await drop.end_sessions(execute, connection, EndSessions(why, sessions))
    await drop.drop_database(execute, connection, DropDatabase(why, database))
    return marker


async def _drop_roles(execute: Executor, connection: Session, server: Server, database: str, roles: list[str]) -> None:
    """Freed of what they hold elsewhere, then all at once."""
    assert server.admin is not None
    freeing = Freeing(
        execute,
        connection,
        server.admin,
        check=partial(check_nothing_is_kept, database, server=server.name),
        grantors=partial(roles_of_another, server),
        whose=f'database "{database}", which is dropped already,',
    )
    steps = [DropRole("its object is gone, and the grace over", role) for role in roles]
    held = await drop.holdings(connection, roles)
    await freeing.drop(steps, [one for one in held if one.database != database])
