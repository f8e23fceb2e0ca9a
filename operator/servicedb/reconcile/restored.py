"""What was restored into a database, recorded in its marker: an object that is made again finds it done already.

The marker stands on the server, where no tenant can write it, and goes with the database.
"""

from dataclasses import replace

from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Retryable
from servicedb.naming import RoleNames
from servicedb.plan.marker import Marker, Restored
from servicedb.plan.steps import CommentOnRole
from servicedb.postgres.apply import Executor
from servicedb.postgres.catalog import scan_database
from servicedb.reconcile.world import Server, World


async def record(world: World, sdb: ServiceDatabase, restored: Restored) -> None:
    """Write down that the restore has succeeded, before anything else says so. Doing it again changes nothing.

    Raises a Problem where the server can't be used now.
    """
    server, database = _server(world, sdb), sdb.status.database_name or ""
    assert server.admin is not None
    async with server.admin.locked(database) as connection:
        seen = await scan_database(connection, database, roles=())
        server.must_be(seen.system_identifier, world)
        marker = _marker(sdb, seen.roles[RoleNames(database).owner].comment, world)
        if marker.restored is not None and replace(marker.restored, at=restored.at) == restored:
            return
        recorded_now = replace(marker, restored=restored)
        step = CommentOnRole("a backup was restored", RoleNames(database).owner, recorded_now.comment())
        await Executor(seen.admin, seen.admin_superuser, world.step).roles(connection, [step], {})
    server.markers[database] = recorded_now


async def recorded(world: World, sdb: ServiceDatabase) -> Restored | None:
    """What the database says was restored into it last; None where it was not, or is not there yet."""
    database = sdb.status.database_name
    if database is None:
        return None
    server = _server(world, sdb)
    assert server.admin is not None
    async with server.admin.session() as connection:
        seen = await scan_database(connection, database, roles=())
    server.must_be(seen.system_identifier, world)
    owner = seen.roles.get(RoleNames(database).owner)
    there = seen.databases.get(database)
    if owner is None or there is None:
        return None
    marker = _marker(sdb, owner.comment, world)
    return marker.restored if marker.oid == there.oid else None


def _server(world: World, sdb: ServiceDatabase) -> Server:
    name = sdb.spec.server_ref.name
    server = world.servers.get(name)
    if server is None or server.admin is None or server.problem is not None:
        raise Retryable("ServerUnreachable", f"DatabaseServer {name} can't be used now", ready="Unknown")
    return server


def _marker(sdb: ServiceDatabase, comment: str | None, world: World) -> Marker:
    marker = Marker.read(comment)
    if marker is None or (marker.cluster, marker.uid) != (world.cluster_uid, sdb.metadata.uid):
        raise Retryable(
            "DatabaseNotReady",
            f'the database of ServiceDatabase "{sdb.metadata.name}" is not known to be its own, as its conditions say',
            ready="Unknown",
        )
    return marker
