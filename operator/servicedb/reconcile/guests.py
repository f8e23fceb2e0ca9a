"""Who asks a ServiceDatabase for a login that its spec does not name: noted from the watch, made sure of where it ends.

What the watch has told is a memory of this process alone. It is enough to make a login by; before one is taken back the
API server is asked.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from servicedb.api.service_database import ServiceDatabase
from servicedb.kube import resources
from servicedb.kube.client import ApiError
from servicedb.kube.resources import Key
from servicedb.plan.asking import (
    Asking,
    asked_by_backup,
    asked_by_policy,
    asked_by_restore,
    asked_by_schedule,
    in_turn,
)
from servicedb.plan.backup_access import BackupAccess, backup_access
from servicedb.plan.guests import Guests, Table
from servicedb.plan.marker import RoleNote
from servicedb.plan.resolve import database_name
from servicedb.plan.wanted import BACKUP, GUESTS, RESTORE, RETAIN, Access
from servicedb.reconcile.restoring import Admission, admission
from servicedb.reconcile.world import Server, World

_log = logging.getLogger(__name__)

_ASKED: Mapping[str, Callable[[Mapping[str, Any]], Asking | None]] = {
    "backupschedules": asked_by_schedule,
    "databasebackups": asked_by_backup,
    "databaserestores": asked_by_restore,
    resources.RETENTION_POLICIES: asked_by_policy,
}


_ASKED_FOR = frozenset({BACKUP, RESTORE, RETAIN})
"""The logins that are asked for by name; that for partitions comes and goes with RETAIN."""


def note_asking(world: World, key: Key, body: Mapping[str, Any]) -> None:
    """Remember what an object asks, and have those looked at that it concerns, or concerned."""
    if (read := _ASKED.get(key.plural)) is not None:
        _keep(world, key, read(body))


def forget_asking(world: World, key: Key) -> None:
    """The object is gone."""
    if key.plural in _ASKED:
        _keep(world, key, None)


def _keep(world: World, key: Key, asking: Asking | None) -> None:
    before = world.asking.pop(key, None)
    if asking is not None:
        world.asking[key] = asking
    if before == asking:
        return
    for one in (before, asking):
        if one is None:
            continue
        for database in world.databases:
            if database.namespace == key.namespace and (one.labels or database.name in one.names):
                world.enqueue(database)


async def asked_of(sdb: ServiceDatabase, server: Server, world: World) -> list[Asking]:
    """All that is asked of `sdb`, who asked first coming first. Raises ApiError where that has to be made sure of, and
    can't be."""
    namespace = sdb.metadata.namespace
    asking = _told(sdb, world)
    missing = _there(sdb, server) - {one.login for one in asking}
    if not missing:
        return asking
    live: list[Asking] = []
    for plural, read in _ASKED.items():
        async for body in world.kube.list(resources.collection_in(namespace, plural)):
            if (one := read(body)) is not None:
                live.append(one)
    return _concerning(sdb, live)


def _told(sdb: ServiceDatabase, world: World) -> list[Asking]:
    """Who asks `sdb` for something, as far as the watch has told."""
    here = sdb.metadata.namespace
    return _concerning(sdb, (one for key, one in world.asking.items() if key.namespace == here))


def _concerning(sdb: ServiceDatabase, asking: Iterable[Asking]) -> list[Asking]:
    return in_turn(one for one in asking if one.concerns(sdb.metadata.name, sdb.metadata.labels))


def _there(sdb: ServiceDatabase, server: Server) -> set[str]:
    """Which of these logins the database has, and is not about to lose."""
    there = {row.name for row in sdb.status.roles} & _ASKED_FOR
    return there | {
        role for role, note in noted_guests(sdb, server).items() if note.retire_at is None and role in _ASKED_FOR
    }


def noted_guests(sdb: ServiceDatabase, server: Server) -> dict[str, RoleNote]:
    """The logins of this kind that the last scan showed, with the note on one of their halves that may log in."""
    assert server.scan is not None
    roles = server.scan.of(database_name(sdb, server.resource)).roles
    notes = [RoleNote.read(role.comment) for role in roles.values() if role.login and "__" in role.name]
    return {note.role: note for note in notes if note is not None and note.role in GUESTS}


async def hear_policies(world: World, namespace: str) -> None:
    """Have the RetentionPolicies of `namespace` noted, where nothing is watched. Without its CRD there is none."""
    try:
        async for body in world.kube.list(resources.collection_in(namespace, resources.RETENTION_POLICIES)):
            note_asking(world, Key(resources.RETENTION_POLICIES, namespace, body["metadata"]["name"]), body)
    except ApiError as error:
        if error.status != 404:
            raise


@dataclass(frozen=True, slots=True)
class Asked:
    """What the database's guests are to be. `backups`: how its login for backups reads; `restore`: what was decided
    about one; `retain`: the tables whose rows are archived and deleted; each None where nobody asks."""

    backups: BackupAccess | None = None
    restore: Admission | None = None
    retain: frozenset[Table] | None = None

    @property
    def guests(self) -> Guests:
        admitted = self.restore is not None and self.restore.state == "Admitted"
        return Guests(
            self.backups.access if self.backups is not None else None,
            self.restore.uid if admitted and self.restore is not None else None,
            self.retain,
        )


async def decide(sdb: ServiceDatabase, server: Server, world: World) -> Asked:
    """See who asks, and whether they get it. Where that can't be made sure of, all stays as it is.

    Raises a Problem where the server can't be looked at.
    """
    assert server.facts is not None
    try:
        asking = await asked_of(sdb, server, world)
    except ApiError as error:
        _log.warning("who asks for backups and restores can't be told, and is taken to be unchanged: %s", error)
        return as_it_is(sdb, server, world)
    begin = sdb.spec.mode == "Apply" and not sdb.spec.suspend
    backups = any(one.login == BACKUP for one in asking)
    return Asked(
        backup_access(server.facts) if backups else None,
        await admission(sdb, server, world, asking, begin=begin),
        _tables(asking),
    )


def _tables(asking: Iterable[Asking]) -> frozenset[Table] | None:
    policies = [one.tables for one in asking if one.login == RETAIN]
    return frozenset().union(*policies) if policies else None


def as_it_is(sdb: ServiceDatabase, server: Server, world: World) -> Asked:
    """The guests that the database has, by the notes on their logins; of which tables, by what the watch has told."""
    notes = noted_guests(sdb, server)
    backup, restore = notes.get(BACKUP), notes.get(RESTORE)
    access = Access.ALL_DATA if backup is not None and backup.access == Access.ALL_DATA else Access.OWNER
    return Asked(
        BackupAccess(access) if backup is not None else None,
        Admission("", restore.asked_by, "Admitted") if restore is not None and restore.asked_by else None,
        (_tables(_told(sdb, world)) or frozenset()) if RETAIN in notes else None,
    )
