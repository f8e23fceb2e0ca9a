"""Is each server still there? Asked far more often than everything is looked at, on a session that is open anyway."""

import asyncio
import logging

from servicedb.errors import Retryable
from servicedb.reconcile.world import Server, World

_log = logging.getLogger(__name__)


async def keep_probing(world: World) -> None:
    """Have each server looked at soon after it stopped answering, and soon after it may be back."""
    while True:
        await asyncio.sleep(world.settings.probe)
        servers = list(world.servers.values())
        for failure in await asyncio.gather(*(probe(server, world) for server in servers), return_exceptions=True):
            if failure is not None:  # without this task no outage is noticed
                _log.error("a server could not be asked whether it is there", exc_info=failure)


async def probe(server: Server, world: World) -> None:
    """Have `server` looked at where it does not answer, or did not when it was looked at last.

    What else can be wrong with one waits for a person, who is not in such a hurry.
    """
    if isinstance(server.problem, Retryable):
        world.enqueue(server.key)
    elif server.problem is None and server.admin is not None and not await server.admin.answers():
        _log.warning("%s does not answer", server.admin.endpoint)
        world.enqueue(server.key)
