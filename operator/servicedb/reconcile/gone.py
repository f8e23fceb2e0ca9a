"""A live look at whether an object is gone: the API server's own word, never a cache's."""

from servicedb.api.common import ACKNOWLEDGE, Unreadable
from servicedb.api.service_database import ServiceDatabase
from servicedb.kube import events, resources
from servicedb.kube.client import Json
from servicedb.kube.resources import SERVICE_DATABASES, Key
from servicedb.plan.job_status import job_state
from servicedb.plan.marker import Marker
from servicedb.plan.release import LiveObject, is_gone
from servicedb.plan.resolve import database_name
from servicedb.plan.scratch import is_forgotten
from servicedb.reconcile.world import Server, World


def key_of(marker: Marker) -> Key:
    """The object that `marker` names."""
    return Key(SERVICE_DATABASES, marker.namespace, marker.name)


async def object_is_gone(server: Server, world: World, database: str, marker: Marker) -> bool:
    """Whether the object is gone now, by the CRD, the namespace and the object as the API server gives them."""
    if marker.cluster != world.cluster_uid:
        return False
    if marker.job is not None:
        return database in server.done or await _job_is_gone(marker, world)
    noticed = world.databases.get(key_of(marker))
    if noticed is not None and noticed.uid == marker.uid and database not in server.absent:
        return False
    namespace = await world.namespace(marker.namespace, fresh=True)
    live = None
    if namespace is not None:
        body = await world.kube.get(key_of(marker).path)
        if body is not None:
            live = live_object(body, world)
    return is_gone(
        database,
        marker,
        server=server.system_identifier or "",
        cluster=world.cluster_uid,
        crd=await world.crd(fresh=True),
        acknowledged=server.resource.metadata.annotations.get(ACKNOWLEDGE),
        namespace_uid=namespace.uid if namespace is not None else None,
        live=live,
    )


async def _job_is_gone(marker: Marker, world: World) -> bool:
    """Whether the Job of a scratch database has ended, or is not there although it has had time to come."""
    job = await world.kube.get(resources.job(marker.namespace, marker.job or ""))
    return job_state(job) != "Running" if job is not None else is_forgotten(marker, world.now())


def live_object(body: Json, world: World) -> LiveObject:
    """An object that can't be read is there all the same."""
    try:
        sdb = ServiceDatabase.parse(body)
    except Unreadable:
        return LiveObject(None, "")
    server = world.servers.get(sdb.spec.server_ref.name)
    if server is None:
        return LiveObject(None, "")
    return LiveObject(server.system_identifier, database_name(sdb, server.resource))


async def tell(
    server: Server, world: World, marker: Marker, reason: str, message: str, *, warning: bool = False
) -> None:
    """Events about a database whose object is gone: for the admins, and for the team where its namespace is there. A
    scratch database comes and goes without a word."""
    if marker.job is not None:
        return
    told = [(server.key, server.resource.metadata.uid)]
    namespace = await world.namespace(marker.namespace)
    if namespace is not None and namespace.uid == marker.namespace_uid and not namespace.terminating:
        told.append((key_of(marker), marker.uid))
    for key, uid in told:
        await events.post(world.kube, key, uid, warning=warning, reason=reason, message=message)
