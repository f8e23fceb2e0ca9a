"""`servicedb adopt`: after a cluster was rebuilt, its databases are marked as those of the new one, all at once."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from servicedb.api.database_server import DatabaseServer
from servicedb.errors import Busy, Problem, Terminal
from servicedb.kube import resources
from servicedb.kube.client import ApiError, KubeClient
from servicedb.kube.resources import DATABASE_SERVERS
from servicedb.naming import RoleNames
from servicedb.plan.adoption import Adoption, Here, obstacle
from servicedb.plan.marker import Marker
from servicedb.postgres.apply import Executor
from servicedb.postgres.catalog import scan_database
from servicedb.reconcile.gone import key_of, live_object
from servicedb.reconcile.server import open_server
from servicedb.reconcile.world import Server, World, cluster_uid
from servicedb.settings import Settings


@asynccontextmanager
async def world_of(settings: Settings, kubeconfig: str | None) -> AsyncIterator[World]:
    """This cluster, for one command."""
    kube = await KubeClient.load(kubeconfig)
    try:
        world = World(kube, settings, await cluster_uid(kube))
        try:
            yield world
        finally:
            await world.close()
    finally:
        await kube.close()


async def adoptions(world: World, from_cluster: str, *, only: str | None = None) -> tuple[list[Adoption], list[str]]:
    """Every database that carries the mark of `from_cluster` on any DatabaseServer, or on `only` that one; and what
    went wrong with a server, as sentences. Raises a Problem where nothing can be looked at."""
    if from_cluster == world.cluster_uid:
        raise Terminal("Conflict", f"{from_cluster} is this cluster itself; name the one that is no more")
    faults = await _open_servers(world, only)
    found = [
        await _adoption(world, server, database, marker)
        for server in world.servers.values()
        for database, marker in sorted(server.markers.items())
        if marker.cluster == from_cluster
    ]
    return found, faults


async def adopt(world: World, adoption: Adoption) -> None:
    """Under the lock, after one more look at everything. Raises a Problem, and changes nothing then."""
    server, owner = world.servers[adoption.server], RoleNames(adoption.database).owner
    crd = await world.crd()
    assert crd is not None  # or there would be no ServiceDatabase
    assert server.admin is not None
    async with server.admin.locked(adoption.database) as connection:
        seen = await scan_database(connection, adoption.database, roles=[owner])
        server.must_be(seen.system_identifier, world)
        role = seen.roles.get(owner)
        if role is None or Marker.read(role.comment) != adoption.marker:
            raise Busy("Conflict", "its marker changed meanwhile: is the other cluster's operator at work?")
        now = await _adoption(world, server, adoption.database, adoption.marker)
        if now.obstacle is not None:
            raise Terminal("Conflict", now.obstacle)
        marker = now.marker_here(cluster=world.cluster_uid, crd=crd.uid)
        await Executor(seen.admin, seen.admin_superuser, world.step).roles(connection, [now.step(marker)], {})


async def _open_servers(world: World, only: str | None) -> list[str]:
    faults = []
    async for body in world.kube.list(resources.collection(DATABASE_SERVERS)):
        resource = DatabaseServer.parse(body)
        name = resource.metadata.name
        if only not in (None, name):
            continue
        server = world.servers[name] = Server(name, resource)
        try:
            await open_server(server, world)
        except (Problem, ApiError) as problem:
            faults.append(f"DatabaseServer {name} was not looked at: {problem}")
    if only is not None and only not in world.servers:
        raise Terminal("ServerNotFound", f"there is no DatabaseServer {only} in this cluster")
    return faults


async def _adoption(world: World, server: Server, database: str, marker: Marker) -> Adoption:
    namespace = await world.namespace(marker.namespace, fresh=True)
    body = await world.kube.get(key_of(marker).path) if namespace is not None else None
    here = Here(
        namespace_uid=namespace.uid if namespace is not None else None,
        object_uid=body["metadata"]["uid"] if body is not None else None,
        live=live_object(body, world) if body is not None else None,
    )
    why_not = obstacle(database, marker, here, server_identifier=server.system_identifier or "")
    return Adoption(server.name, database, marker, here, why_not)
