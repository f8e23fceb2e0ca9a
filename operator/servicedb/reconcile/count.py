"""How many databases stand on each server: told soon after one was made, without another look at the server."""

import asyncio
import logging

from servicedb import metrics
from servicedb.reconcile.world import Server, World

_log = logging.getLogger(__name__)

_COUNT_SECONDS = 2.0


async def keep_counting(world: World) -> None:
    """Bring each server's status.databases up to date with what was made or let go since it was looked at."""
    while True:
        await asyncio.sleep(_COUNT_SECONDS)
        told = (_tell(server, world) for server in list(world.servers.values()) if server.counted is not None)
        for failure in await asyncio.gather(*told, return_exceptions=True):
            if failure is not None:  # the next time says it, too
                _log.info("the databases of a server could not be counted: %s", failure)


def count(server: Server, world: World) -> int:
    """The databases of this cluster's objects on `server`, those that were let go left out."""
    living = [marker for marker in server.markers.values() if not (marker.let_go or marker.job)]
    mine = sum(marker.cluster == world.cluster_uid for marker in living)
    metrics.DATABASES.labels(server.name).set(mine)
    return mine


async def _tell(server: Server, world: World) -> None:
    databases = count(server, world)
    if databases == server.counted:
        return
    status = {"metadata": {"uid": server.resource.metadata.uid}, "status": {"databases": databases}}
    await world.kube.merge_patch(f"{server.key.path}/status", status)
    server.counted = databases
