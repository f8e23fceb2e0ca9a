"""The status of an object: patched only where it differs, with an event when Ready's reason changes."""

from collections.abc import Collection, Sequence
from typing import Any

from servicedb.api.backup_schedule import BackupSchedule
from servicedb.api.common import Condition
from servicedb.api.database_backup import DatabaseBackup
from servicedb.api.database_restore import DatabaseRestore
from servicedb.api.database_server import DatabaseServer
from servicedb.api.migration_run import MigrationRun
from servicedb.api.retention_policy import RetentionPolicy
from servicedb.api.service_database import ServiceDatabase
from servicedb.kube import events
from servicedb.kube.client import ApiError
from servicedb.kube.resources import Key
from servicedb.plan.conditions import READY, Finding, condition_of, merged
from servicedb.reconcile.world import World

Resource = (
    DatabaseServer
    | ServiceDatabase
    | MigrationRun
    | BackupSchedule
    | DatabaseBackup
    | DatabaseRestore
    | RetentionPolicy
)

WORKING = (Finding("Reconciling", "True", "Working", "the spec is being carried out"),)


async def report(
    world: World,
    key: Key,
    resource: Resource,
    findings: Sequence[Finding],
    fields: dict[str, Any] | None = None,
    *,
    over: Collection[str] = (),
) -> None:
    """Write `findings` as conditions and `fields` (camelCase; None removes one) into the status of `resource`.

    `over` are types of conditions that the spec asks for no more.
    """
    before = resource.status.conditions
    generation = resource.metadata.generation
    conditions = merged(before, findings, generation=generation, now=world.now(), over=over)
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": [condition.as_json() for condition in conditions],
        **(fields or {}),
    }
    seen = resource.status.as_json()
    change = {name: value for name, value in status.items() if seen.get(name) != value}
    if not change:
        return
    try:
        await world.kube.merge_patch(
            f"{key.path}/status", {"metadata": {"uid": resource.metadata.uid}, "status": change}
        )
    except ApiError as error:
        if error.status in (404, 409):  # gone, or another object by now: it will be looked at on its own
            return
        raise
    await _tell(world, key, resource, before, conditions)


async def begin(world: World, key: Key, resource: Resource) -> None:
    """Say at the first visit to a new spec that it is being worked on."""
    if resource.status.observed_generation == resource.metadata.generation:
        return
    ready = condition_of(resource.status.conditions, READY)
    first = (Finding(READY, "Unknown", "Working", WORKING[0].message),) if ready is None else ()
    await report(world, key, resource, (*first, *WORKING))


async def _tell(
    world: World, key: Key, resource: Resource, before: Sequence[Condition], after: Sequence[Condition]
) -> None:
    old, new = condition_of(before, READY), condition_of(after, READY)
    if new is None or new.reason == "Working" or (old and (old.status, old.reason) == (new.status, new.reason)):
        return
    message = new.message or f"{key.name} is ready"
    warning = new.status != "True"
    await events.post(world.kube, key, resource.metadata.uid, warning=warning, reason=new.reason, message=message)
