"""Databases whose object is gone: logins closed, the marker says so, the Secrets go. Nothing is dropped."""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from servicedb.api.common import ACKNOWLEDGE, Unreadable
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Busy, Problem
from servicedb.kube import secrets
from servicedb.kube.client import ApiError, Json
from servicedb.kube.resources import SERVICE_DATABASES, Key
from servicedb.naming import RoleNames
from servicedb.plan.conditions import Finding
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import ServerScan
from servicedb.plan.release import Absence, LiveObject, is_gone, releases
from servicedb.plan.resolve import database_name
from servicedb.plan.steps import AlterRole, CommentOnRole, RoleStep
from servicedb.postgres.apply import Executor
from servicedb.postgres.catalog import scan_database
from servicedb.reconcile.world import Server, World

_log = logging.getLogger(__name__)


async def release_what_is_gone(server: Server, world: World) -> Finding | None:
    """Release what has been gone at two scans. Returns how Ready reads when something keeps that from being done.

    What goes wrong with one database is no reason to stop using the server for the others.
    """
    now, failures = world.now(), []
    absent: dict[str, datetime] = {}
    for database, marker in list(server.markers.items()):
        try:
            if marker.released is not None and marker.cluster == world.cluster_uid:
                await _delete_secrets(server, world, database, marker)
            elif await _gone(server, world, database, marker):
                absent[database] = server.absent.get(database, now)
        except Busy as problem:
            _log.info("not released now: %s: %s", database, problem)
        except (Problem, ApiError) as problem:
            failures.append(f"{database}: {problem}")
    server.absent = absent
    decision = releases(
        [Absence(database, server.markers[database], since) for database, since in absent.items()],
        total=sum(marker.cluster == world.cluster_uid for marker in server.markers.values()),
        max_releases=server.resource.spec.deletion_guard.max_releases,
        acknowledged=server.resource.metadata.annotations.get(ACKNOWLEDGE),
        now=now,
        confirmation=timedelta(seconds=world.settings.resync * 0.5),
    )
    for absence in decision.due:
        try:
            await _release(server, world, absence, now)
        except Busy as problem:
            _log.info("not released now: %s: %s", absence.database, problem)
        except (Problem, ApiError) as problem:
            failures.append(f"{absence.database}: {problem}")
    for failure in failures:
        _log.warning("not released: %s", failure)
    if decision.held:
        return _held([absence.database for absence in decision.held], decision.token, "are gone at once")
    earlier = await _of_an_earlier_crd(server, world)
    if earlier:
        crd = await world.crd()
        return _held(
            earlier, crd.uid if crd is not None else "", "were there before the CRD was made anew, and are not"
        )
    if failures:
        return Finding(
            "Ready", "True", "ReleaseFailed", f"databases whose object is gone: {'; '.join(failures)[:1000]}"
        )
    return None


def _held(databases: list[str], token: str, what: str) -> Finding:
    names = ", ".join(sorted(databases)[:5]) + (", ..." if len(databases) > 5 else "")
    return Finding(
        "Ready",
        "True",
        "ReleasesHeld",
        f"{len(databases)} ServiceDatabases {what} ({names}): nothing of them is released until they are back, "
        f'or you annotate this server with {ACKNOWLEDGE}="{token}"',
    )


async def _of_an_earlier_crd(server: Server, world: World) -> list[str]:
    """Databases whose object went with an earlier CRD and has not come back: one cannot tell a deletion from that."""
    crd = await world.crd()
    return [
        database
        for database, marker in server.markers.items()
        if marker.cluster == world.cluster_uid
        and marker.released is None
        and crd is not None
        and marker.crd != crd.uid
        and Key(SERVICE_DATABASES, marker.namespace, marker.name) not in world.databases
    ]


async def _gone(server: Server, world: World, database: str, marker: Marker) -> bool:
    """A live look: the API server's own word about the CRD, the namespace and the object, never a cache's."""
    if marker.cluster != world.cluster_uid:
        return False
    known = Key(SERVICE_DATABASES, marker.namespace, marker.name)
    noticed = world.databases.get(known)
    if noticed is not None and noticed.uid == marker.uid and database not in server.absent:
        return False
    namespace = await world.namespace(marker.namespace, fresh=True)
    live = None
    if namespace is not None:
        body = await world.kube.get(known.path)
        if body is not None:
            live = _live(body, world)
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


def _live(body: Json, world: World) -> LiveObject:
    """An object that can't be read is there all the same."""
    try:
        sdb = ServiceDatabase.parse(body)
    except Unreadable:
        return LiveObject(None, "")
    server = world.servers.get(sdb.spec.server_ref.name)
    if server is None:
        return LiveObject(None, "")
    return LiveObject(server.system_identifier, database_name(sdb, server.resource))


async def _release(server: Server, world: World, absence: Absence, now: datetime) -> None:
    """Under the lock, after one more look: no login any more, and the marker says since when."""
    assert server.admin is not None
    names = RoleNames(absence.database)
    async with server.admin.locked(absence.database) as connection:
        seen = await scan_database(connection, absence.database, roles=[names.owner])
        owner = seen.roles.get(names.owner)
        marker = Marker.read(owner.comment) if owner is not None else None
        if marker != absence.marker or not await _gone(server, world, absence.database, absence.marker):
            return
        released = replace(absence.marker, released=now.isoformat(timespec="seconds"))
        await Executor(seen.admin, seen.admin_superuser, world.step).roles(
            connection, release_steps(seen, names, released), {}
        )
    _log.info("released database %s: %s is gone", absence.database, absence.marker.holder)
    server.markers[absence.database] = released
    server.absent.pop(absence.database, None)
    await _delete_secrets(server, world, absence.database, released)


def release_steps(seen: ServerScan, names: RoleNames, released: Marker) -> list[RoleStep]:
    """The marker first, then NOLOGIN for every login that carries a note of this database."""
    steps: list[RoleStep] = [CommentOnRole("its object is gone", names.owner, released.comment())]
    for role in sorted(seen.roles.values(), key=lambda role: role.name):
        note = RoleNote.read(role.comment)
        if note is not None and note.owner == names.owner and role.login:
            steps.append(AlterRole("its object is gone", role.name, ("NOLOGIN",)))
    return steps


async def _delete_secrets(server: Server, world: World, database: str, marker: Marker) -> None:
    """Delete the Secrets that the logins' notes name, then take the name out of the notes: done once.

    Under the lock, and only while the marker still says released: an object made again may be writing them anew.
    """
    assert server.admin is not None
    assert server.scan is not None
    owner = RoleNames(database).owner
    if not _noted(server.scan.of(database), owner):
        return
    async with server.admin.locked(database) as connection:
        seen = await scan_database(connection, database, roles=[owner])
        there = seen.roles.get(owner)
        if there is None or Marker.read(there.comment) != marker:
            return
        noted = _noted(seen, owner)
        namespace = await world.namespace(marker.namespace, fresh=True)
        if namespace is not None and namespace.uid == marker.namespace_uid:
            for role, secret in {(note.role, secret) for note in noted.values() for secret in note.secrets}:
                address = secrets.Address(marker.namespace, secret, f"{server.name}/{database}", role)
                await secrets.delete(world.kube, address)
        steps = [
            CommentOnRole("its Secret is deleted", name, replace(note, secret=None, left=()).comment())
            for name, note in noted.items()
        ]
        await Executor(seen.admin, seen.admin_superuser, world.step).roles(connection, steps, {})


def _noted(seen: ServerScan, owner: str) -> dict[str, RoleNote]:
    """Login -> its note, where that still names a Secret."""
    notes = {name: RoleNote.read(role.comment) for name, role in seen.roles.items()}
    return {name: note for name, note in notes.items() if note is not None and note.owner == owner and note.secrets}
