"""The backup that a MigrationRun asks for first: found, or ordered and waited for."""

from collections.abc import Iterable
from datetime import datetime

from servicedb.api.common import API_VERSION
from servicedb.api.database_backup import DatabaseBackup
from servicedb.api.migration_run import MigrationRun, RequireBackup
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Retryable, Terminal
from servicedb.kube import resources
from servicedb.kube.client import ApiError, refusal
from servicedb.kube.resources import DATABASE_BACKUPS, Key
from servicedb.plan.backups.absence import is_missing
from servicedb.plan.backups.entries import database_of, is_stored, key_of
from servicedb.plan.backups.pod import hashed_name
from servicedb.plan.conditions import condition_of
from servicedb.plan.migration_standing import SUCCEEDED
from servicedb.postgres.contents import an_object
from servicedb.reconcile.world import World

_CHANGES = frozenset({"Up", "Down", "Seed", "ClearSeeds"})


async def check_backup(run: MigrationRun, database: ServiceDatabase, world: World) -> None:
    """See that there is a backup as young as spec.requireBackup asks. A database that holds nothing needs none.

    Raises Retryable while one is being made, Terminal where it failed.
    """
    required = run.spec.require_backup
    if required is None or run.spec.action not in _CHANGES:
        return
    backups = await _backups(run, required, world)
    latest = latest_of(backups, database)
    if latest is not None and world.now() - latest <= required.max_age.timedelta:
        return
    if await _is_empty(database, world):
        return
    name = hashed_name(run.metadata.name, run.metadata.uid, "backup", str(latest))
    order = next((one for one in backups if one.metadata.name == name), None)
    if order is None:
        await _order(run, required, name, world)
    elif (ended := condition_of(order.status.conditions, SUCCEEDED)) is not None and ended.status == "False":
        raise Terminal(
            "RequiredBackupFailed",
            f'the backup that spec.requireBackup asks for failed, see DatabaseBackup "{name}" ({ended.message}); '
            "delete that to have it tried again",
        )
    raise Retryable("WaitingForBackup", _waits(latest, required, name), ready="Unknown")


def latest_of(backups: Iterable[DatabaseBackup], database: ServiceDatabase) -> datetime | None:
    """When the newest backup of that very database was complete: not of one that had the name before, such as one that
    a restore has set aside."""
    return max(
        (
            at
            for one in backups
            if is_stored(one)
            and not is_missing(one)
            and (at := one.status.completed_at) is not None
            and (key := key_of(one)) is not None
            and database_of(key, [database]) is not None
        ),
        default=None,
    )


def _waits(latest: datetime | None, required: RequireBackup, name: str) -> str:
    age = "there is none" if latest is None else f"the newest is of {latest:%Y-%m-%d %H:%M:%S %Z}"
    return (
        f"spec.requireBackup asks for a backup that is no older than {required.max_age}, and {age}: "
        f'DatabaseBackup "{name}" orders one, which is waited for'
    )


async def _backups(run: MigrationRun, required: RequireBackup, world: World) -> list[DatabaseBackup]:
    path = resources.collection_in(run.metadata.namespace, DATABASE_BACKUPS)
    selector = f"spec.scheduleRef.name={required.schedule_ref.name},spec.databaseRef.name={run.spec.database_ref.name}"
    return [DatabaseBackup.parse(body) async for body in world.kube.list(path, fieldSelector=selector)]


async def _is_empty(database: ServiceDatabase, world: World) -> bool:
    server = world.servers.get(database.spec.server_ref.name)
    if server is None or server.admin is None or database.status.database_name is None:
        return False
    async with server.admin.inside(database.status.database_name) as inside:
        return await an_object(inside) is None


async def _order(run: MigrationRun, required: RequireBackup, name: str, world: World) -> None:
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "DatabaseBackup",
        "metadata": {"name": name, "namespace": run.metadata.namespace},
        "spec": {
            "databaseRef": {"name": run.spec.database_ref.name},
            "scheduleRef": {"name": required.schedule_ref.name},
        },
    }
    try:
        await world.kube.create(resources.collection_in(run.metadata.namespace, DATABASE_BACKUPS), manifest)
    except ApiError as error:
        raise refusal(error, namespace=run.metadata.namespace) from None
    world.enqueue(Key(DATABASE_BACKUPS, run.metadata.namespace, name))
