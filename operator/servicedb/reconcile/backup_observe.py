"""What a BackupSchedule is looked at with: its databases, its backups, and the Jobs that work for it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from servicedb.api.backup_schedule import MOST_DATABASES, BackupSchedule, Failure
from servicedb.api.database_backup import DatabaseBackup
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Problem, Terminal
from servicedb.kube import jobs, resources
from servicedb.kube.client import Json
from servicedb.kube.resources import DATABASE_BACKUPS, SERVICE_DATABASES, Key
from servicedb.plan.backups.entries import belongs_to, is_stored, shown_seconds
from servicedb.plan.backups.pod import Owner
from servicedb.plan.backups.progress import Ended, ended
from servicedb.plan.conditions import Finding
from servicedb.plan.steps import BeginWork, EndWork
from servicedb.reconcile.world import World


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step has done: what it has `handled` (fields of status.handled), when it has to be looked at again, and
    what stands in its way, or what it has `found`."""

    handled: Mapping[str, object] = field(default_factory=dict)
    again: Sequence[datetime] = ()
    problems: Sequence[Problem] = ()
    found: Sequence[Finding] = ()


@dataclass(slots=True)
class Seen:
    """One look at a schedule. `names` are those of its databases, of which `databases` are there; `backups` are its
    own, `in_namespace` those of all schedules; `made` says that this look has made or deleted a Job, so that the next
    one has to come soon. `not_begun`: why a verification could not be begun, by the database's name."""

    key: Key
    schedule: BackupSchedule
    world: World
    names: list[str]
    databases: dict[str, ServiceDatabase]
    backups: list[DatabaseBackup]
    in_namespace: list[DatabaseBackup]
    jobs: list[Json]
    pods: list[Json]
    cron_jobs: list[Json]
    done: list[Ended]
    made: bool = False
    not_begun: dict[str, Failure] = field(default_factory=dict)

    @property
    def owner(self) -> Owner:
        metadata = self.schedule.metadata
        return Owner("BackupSchedule", metadata.namespace, metadata.name, metadata.uid)

    @property
    def stored(self) -> list[DatabaseBackup]:
        return [one for one in self.backups if is_stored(one)]

    def backups_of(self, database: str) -> list[DatabaseBackup]:
        return [
            one for one in self.backups if one.spec.database_ref is not None and one.spec.database_ref.name == database
        ]

    def job(self, name: str) -> Json | None:
        return next((one for one in self.jobs if one["metadata"]["name"] == name), None)

    def ended(self, name: str) -> Ended | None:
        return next((one for one in self.done if one.name == name), None)

    @property
    def measured_recovery(self) -> str | None:
        """How long the slowest of the verifications took whose Jobs are still there."""
        took = [
            seconds
            for one in self.done
            if one.work == "verify" and one.told.problem is None and (seconds := one.told.number("seconds")) is not None
        ]
        return shown_seconds(max(took)) if took else None

    async def make(self, manifest: Json) -> None:
        """Make a Job."""
        self.made = True
        self.world.step(BeginWork("it is due", manifest["metadata"]["name"]))
        self.jobs.append(await jobs.create(self.world.kube, manifest))

    async def drop(self, one: Ended) -> None:
        """Delete a Job that has been read."""
        self.made = True
        self.world.step(EndWork("it was read", one.name))
        await jobs.delete(self.world.kube, dict(one.job))


async def observe(key: Key, schedule: BackupSchedule, world: World) -> Seen:
    """Raises a Problem where something may not be looked at, or there are too many databases."""
    kube, namespace, uid = world.kube, schedule.metadata.namespace, schedule.metadata.uid
    found = await jobs.owned_by(kube, namespace, uid)
    pods = await jobs.owned_by(kube, namespace, uid, resources.pods) if found else []
    databases = await _databases(schedule, world)
    names = [one.name for one in schedule.spec.database_refs] or sorted(databases)
    if len(names) > MOST_DATABASES:
        raise Terminal(
            "TooManyDatabases",
            f"spec.selector takes {len(names)} ServiceDatabases, and a schedule may have {MOST_DATABASES}; make "
            "several with narrower selectors",
        )
    path = resources.collection_in(namespace, DATABASE_BACKUPS)
    every = [DatabaseBackup.parse(body) async for body in kube.list(path)]
    backups = [one for one in every if belongs_to(schedule, one)]
    return Seen(
        key,
        schedule,
        world,
        names,
        databases,
        backups,
        every,
        found,
        pods,
        await jobs.owned_by(kube, namespace, uid, resources.cron_jobs),
        ended(found, pods),
    )


async def _databases(schedule: BackupSchedule, world: World) -> dict[str, ServiceDatabase]:
    namespace, kube = schedule.metadata.namespace, world.kube
    found: list[dict[str, Any]] = []
    if (selector := schedule.spec.selector) is not None:
        labels = ",".join(f"{name}={value}" for name, value in sorted(selector.match_labels.items()))
        path = resources.collection_in(namespace, SERVICE_DATABASES)
        found = [body async for body in kube.list(path, labelSelector=labels)]
    for reference in schedule.spec.database_refs:
        if (body := await kube.get(Key(SERVICE_DATABASES, namespace, reference.name).path)) is not None:
            found.append(body)
    there = [ServiceDatabase.parse(body) for body in found if not body["metadata"].get("deletionTimestamp")]
    return {one.metadata.name: one for one in there}
