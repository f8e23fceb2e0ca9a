"""Databases whose object is gone: logins closed, the marker says so, Secrets go; with policy Delete sessions end, too.

Nothing is dropped here: `drop.py` does that, when the grace of a database with policy Delete is over.
"""

import logging
from dataclasses import replace
from datetime import datetime, timedelta

from servicedb.api.common import ACKNOWLEDGE
from servicedb.errors import Busy, Problem
from servicedb.kube import secrets
from servicedb.kube.client import ApiError
from servicedb.naming import RoleNames
from servicedb.plan.conditions import Finding
from servicedb.plan.deletion import due_at
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import ServerScan
from servicedb.plan.release import Absence, marker_of_gone, releases
from servicedb.plan.steps import AlterRole, CommentOnRole, DeleteSecret, EndSessions, RoleStep
from servicedb.postgres.apply import Executor
from servicedb.postgres.catalog import scan_database
from servicedb.postgres.drop import clock, end_sessions, with_sessions
from servicedb.postgres.session import Session
from servicedb.reconcile.gone import key_of, object_is_gone, tell
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
            if marker.let_go and marker.cluster == world.cluster_uid:
                await _finish(server, world, database, marker)
            elif not await object_is_gone(server, world, database, marker):
                continue
            elif marker.job is not None:  # nothing of anybody's is in it
                await _release(server, world, Absence(database, marker, now), now)
            else:
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
        f"{len(databases)} ServiceDatabases {what} ({names}): nothing of them is released or dropped until they are "
        f'back, or you annotate this server with {ACKNOWLEDGE}="{token}"',
    )


async def _of_an_earlier_crd(server: Server, world: World) -> list[str]:
    """Databases whose object went with an earlier CRD and has not come back: one cannot tell a deletion from that."""
    crd = await world.crd()
    return [
        database
        for database, marker in server.markers.items()
        if marker.cluster == world.cluster_uid
        and marker.released is None
        and marker.job is None
        and crd is not None
        and marker.crd != crd.uid
        and key_of(marker) not in world.databases
    ]


async def _release(server: Server, world: World, absence: Absence, now: datetime) -> None:
    """Under the lock, after one more look: no login any more, and the marker says since when."""
    assert server.admin is not None
    database, names = absence.database, RoleNames(absence.database)
    async with server.admin.locked(database) as connection:
        seen = await scan_database(connection, database, roles=_known_roles(server, database))
        server.must_be(seen.system_identifier, world)
        owner = seen.roles.get(names.owner)
        marker = Marker.read(owner.comment) if owner is not None else None
        if marker != absence.marker or not await object_is_gone(server, world, database, absence.marker):
            return
        let_go = marker_of_gone(absence.marker, max(now, await clock(connection)))
        await Executor(seen.admin, seen.admin_superuser, world.step).roles(
            connection, release_steps(seen, names, let_go), {}
        )
    server.markers[database] = let_go
    server.absent.pop(database, None)
    await _say(server, world, database, let_go)
    await _finish(server, world, database, let_go)


async def _say(server: Server, world: World, database: str, marker: Marker) -> None:
    if marker.job is not None:
        return
    where = f'database "{database}" on server "{server.name}"'
    due = due_at(marker)
    if marker.deleted_at is None:
        reason, message = "Released", f"{where} stays with its data, its logins closed, since its object is gone"
    elif due is None:
        reason = "DropScheduled"
        message = f'{where} is never dropped: its gracePeriod "{marker.grace}" can\'t be read; its logins are closed'
    else:
        reason = "DropScheduled"
        message = (
            f"{where} is dropped with its data, not before {due:%Y-%m-%dT%H:%M:%SZ}, since its object is gone; "
            "make the object again until then to keep it"
        )
    _log.info("released: %s (%s)", message, marker.holder)
    await tell(server, world, marker, reason, message)


def release_steps(seen: ServerScan, names: RoleNames, let_go: Marker) -> list[RoleStep]:
    """The marker first, then NOLOGIN for every login that carries a note of this database."""
    steps: list[RoleStep] = [CommentOnRole("its object is gone", names.owner, let_go.comment())]
    for role in sorted(seen.roles.values(), key=lambda role: role.name):
        note = RoleNote.read(role.comment)
        if note is not None and note.owner == names.owner and role.login:
            steps.append(AlterRole("its object is gone", role.name, ("NOLOGIN",)))
    return steps


def _known_roles(server: Server, database: str) -> list[str]:
    """What the last scan of the server knew to be this database's: fixed login names are found by nothing else."""
    assert server.scan is not None
    return sorted({RoleNames(database).owner, *server.scan.of(database).roles})


async def _finish(server: Server, world: World, database: str, marker: Marker) -> None:
    """What comes after the release: with policy Delete sessions are ended; the Secrets that the logins' notes name are
    deleted, and then the names taken out of the notes: done once.

    Under the lock, and only while the marker still says so: an object made again may be at work anew.
    """
    assert server.admin is not None
    assert server.scan is not None
    owner = RoleNames(database).owner
    noted_then = _noted(server.scan.of(database), owner)
    sessions: tuple[str, ...] = ()
    if marker.deleted_at is not None:
        async with server.admin.session() as connection:
            sessions = await with_sessions(connection, list(noted_then))
    if not sessions and not any(note.secret for note in noted_then.values()):
        return
    async with server.admin.locked(database) as connection:
        seen = await scan_database(connection, database, roles=_known_roles(server, database))
        there = seen.roles.get(owner)
        if there is None or Marker.read(there.comment) != marker:
            return
        execute = Executor(seen.admin, seen.admin_superuser, world.step)
        noted = _noted(seen, owner)
        if marker.deleted_at is not None:
            await _end_sessions(execute, connection, list(noted))
        await _delete_secrets(execute, connection, server, world, database, marker, noted)


async def _end_sessions(execute: Executor, connection: Session, logins: list[str]) -> None:
    roles = await with_sessions(connection, logins)
    if roles:
        await end_sessions(execute, connection, EndSessions("its object is gone", roles))


async def _delete_secrets(
    execute: Executor,
    connection: Session,
    server: Server,
    world: World,
    database: str,
    marker: Marker,
    noted: dict[str, RoleNote],
) -> None:
    named = {name: note for name, note in noted.items() if note.secrets}
    namespace = await world.namespace(marker.namespace, fresh=True)
    if namespace is not None and namespace.uid == marker.namespace_uid:
        for role, secret in sorted({(note.role, secret) for note in named.values() for secret in note.secrets}):
            mark, formerly = server.mark_of(database), server.former_marks_of(database)
            world.step(DeleteSecret("its object is gone", role, secret))
            await secrets.delete(world.kube, secrets.Address(marker.namespace, secret, mark, role, formerly))
    steps = [
        CommentOnRole("its Secret is deleted", name, replace(note, secret=None, left=(), awaited=()).comment())
        for name, note in named.items()
    ]
    if steps:
        await execute.roles(connection, steps, {})


def _noted(seen: ServerScan, owner: str) -> dict[str, RoleNote]:
    """Login -> its note."""
    notes = {name: RoleNote.read(role.comment) for name, role in seen.roles.items()}
    return {name: note for name, note in notes.items() if note is not None and note.owner == owner}
