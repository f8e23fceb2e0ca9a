"""Scratch databases, made and given up: by the way on which all databases come and go.

No memory but their markers knows of them. One that nobody gives up is found by the look at its server: it goes when
its Job has ended, or is not there.
"""

from dataclasses import replace

from servicedb.api.common import API_VERSION
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Retryable
from servicedb.kube.resources import Key
from servicedb.naming import SCRATCH_PREFIX
from servicedb.plan.scratch import Scratch, check_fits, scratch_database, wanted_scratch
from servicedb.postgres.contents import size_of_databases
from servicedb.reconcile.credentials import Credentials
from servicedb.reconcile.database import marker_of, usable_server
from servicedb.reconcile.guests import Asked
from servicedb.reconcile.work import Work, carry_out
from servicedb.reconcile.world import World


async def open_scratch(world: World, scratch: Scratch) -> str:
    """Make the Job's database, with a login that was proved, and give the name of the Secret that holds it.

    Safe to be killed anywhere, and to be called again. Raises a Problem where it can't be had, or not yet.
    """
    sdb = _stand_in(scratch)
    server = await usable_server(sdb, world)
    assert server.admin is not None
    database = scratch_database(world.cluster_uid, scratch.namespace, scratch.job)
    there = server.markers.get(database)
    if there is not None and there.let_go:
        raise Retryable(
            "BeingDropped", f'the scratch database of Job "{scratch.job}" is being dropped; name the Job anew'
        )
    marker = await marker_of(sdb, server, world)
    wanted = wanted_scratch(
        scratch,
        database,
        replace(marker, since=there.since if there is not None else None),
        now=world.now(),
        untrusted_allowed=frozenset(server.resource.spec.extensions.allowed),
    )
    async with server.admin.session() as connection:
        check_fits(scratch, await size_of_databases(connection, SCRATCH_PREFIX, but=database))
    server.markers[database] = wanted.marker
    key = _key(scratch)
    credentials = Credentials(key, sdb, wanted, server, world)
    await carry_out(Work(key, sdb, wanted, server, server.admin, world, credentials, Asked()))
    return scratch.secret_name


def give_up_scratch(world: World, scratch: Scratch) -> None:
    """Have the Job's database dropped now, and its Secret deleted."""
    world.forget(_key(scratch))
    server = world.servers.get(scratch.server)
    if server is not None:
        server.done.add(scratch_database(world.cluster_uid, scratch.namespace, scratch.job))
        world.enqueue(server.key)


def _key(scratch: Scratch) -> Key:
    """What is remembered of looks and logins goes by this; there is no such object."""
    return Key("scratch", scratch.namespace, scratch.job)


def _stand_in(scratch: Scratch) -> ServiceDatabase:
    """A ServiceDatabase as it would be for this database. Nobody ever sees it."""
    return ServiceDatabase.parse(
        {
            "apiVersion": API_VERSION,
            "kind": "ServiceDatabase",
            "metadata": {"name": scratch.job, "namespace": scratch.namespace, "uid": f"job/{scratch.job}"},
            "spec": {
                "serverRef": {"name": scratch.server},
                "roles": {"app": {"secretName": scratch.secret_name}},
                "deletion": {"policy": "Delete", "gracePeriod": "0s"},
            },
        }
    )
