"""What every reconcile works with: the API server, the servers' admins, the queue, the clock. No decisions.

Only what a restart can build again is kept here: the latest scan of each server, and when each login was last proved.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from servicedb import metrics
from servicedb.api.database_server import DatabaseServer
from servicedb.errors import Problem, Retryable
from servicedb.kube import resources
from servicedb.kube.client import KubeClient
from servicedb.kube.resources import DATABASE_RESTORES, Key
from servicedb.plan.asking import Asking
from servicedb.plan.backups.deletion import Wish
from servicedb.plan.marker import Marker
from servicedb.plan.narrow import Narrowed
from servicedb.plan.release import CrdState
from servicedb.plan.server import ServerFacts
from servicedb.plan.steps import Step
from servicedb.postgres.connections import Endpoint
from servicedb.postgres.session import AdminServer
from servicedb.settings import Settings

_log = logging.getLogger(__name__)

_NAMESPACE_SECONDS = 15.0


@dataclass(slots=True)
class Server:
    """A DatabaseServer as it was last looked at. `problem` says why it can't be used, None when it can.

    `markers` follows what is made between two scans, so that limits hold. `absent` is when each object was first
    found gone, `done` are scratch databases that nobody needs any more, `counted` how many databases the status speaks
    of.
    """

    name: str
    resource: DatabaseServer
    admin: AdminServer | None = None
    client_endpoint: Endpoint | None = None
    ca_certificate: str | None = None
    system_identifier: str | None = None
    problem: Problem | None = None
    facts: ServerFacts | None = None
    scan: Narrowed | None = None
    scanned_at: float = 0.0
    markers: dict[str, Marker] = field(default_factory=dict)
    absent: dict[str, datetime] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    counted: int | None = None

    @property
    def key(self) -> Key:
        return Key(resources.DATABASE_SERVERS, "", self.name)

    def mark_of(self, database: str) -> str:
        """How a Secret is known to be of `database`: by the server itself, since a DatabaseServer can be renamed."""
        return f"{self.system_identifier}/{database}"

    def former_marks_of(self, database: str, known_identifier: str | None = None) -> tuple[str, ...]:
        """Marks from before: by the DatabaseServer's name, and by a server that this one is known to replace."""
        identifiers = (known_identifier,) if known_identifier not in (None, self.system_identifier) else ()
        return tuple(f"{of}/{database}" for of in (self.name, *identifiers))

    def must_be(self, system_identifier: str, world: "World") -> None:
        """Raise when a session turns out to be with another server than the one that was looked at last."""
        if system_identifier != self.system_identifier:
            world.enqueue(self.key)
            raise Retryable(
                "ServerChanged",
                f'DatabaseServer "{self.name}" answers with the system identifier {system_identifier}, not with '
                f"{self.system_identifier}; nothing is done before it has been looked at",
                condition="DatabaseReady",
                ready="Unknown",
            )


@dataclass(frozen=True, slots=True)
class Namespace:
    uid: str
    labels: dict[str, str]
    terminating: bool


@dataclass(frozen=True, slots=True)
class Noticed:
    """A ServiceDatabase as the watch or the relist showed it last, as far as the loop needs it.

    `restore` is the UID of the restore about which it was decided, with what was.
    """

    server: str
    uid: str
    generation: int = 0
    ready: bool = False
    restore: str = ""


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look inside a database, or a login, was made with: while it is the same there is no need for another.

    `awaited`: tables that were not there yet. `isolation`: what kept tenants from being kept apart, None where that was
    not seen.
    """

    version: object
    at: float
    awaited: tuple[str, ...] = ()
    isolation: tuple[str, ...] | None = None


def ignore(*_: object) -> None:
    """A listener that does nothing."""


@dataclass(slots=True)
class World:
    """One operator. `on_step` is told of every step before it is carried out."""

    kube: KubeClient
    settings: Settings
    cluster_uid: str
    enqueue: Callable[[Key], None] = ignore
    enqueue_after: Callable[[Key, float], None] = ignore
    on_step: Callable[[Step], None] = ignore
    servers: dict[str, Server] = field(default_factory=dict)
    databases: dict[Key, Noticed] = field(default_factory=dict)
    runs: dict[Key, Key] = field(default_factory=dict)
    """Each MigrationRun, and its ServiceDatabase."""
    asking: dict[Key, Asking] = field(default_factory=dict)
    """What schedules, orders and restores ask of ServiceDatabases."""
    wishes: dict[Key, list[Wish]] = field(default_factory=dict)
    """For a BackupSchedule, what deletions of DatabaseBackups were seen that nothing was done about yet."""
    insides: dict[Key, Looked] = field(default_factory=dict)
    logins: dict[tuple[Key, str], Looked] = field(default_factory=dict)
    _namespaces: dict[str, tuple[float, Namespace]] = field(default_factory=dict)
    _crd: tuple[float, CrdState | None] = (0.0, None)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def seconds_until(self, *times: datetime | None) -> float | None:
        """Until the first of `times`, 0 where it has passed; None where none is known."""
        known = [time for time in times if time is not None]
        return max(0.0, (min(known) - self.now()).total_seconds()) if known else None

    def step(self, step: Step) -> None:
        """Note that `step` is about to be carried out."""
        metrics.STEPS.labels(type(step).__name__).inc()
        _log.debug("%s: %s", type(step).__name__, step.reason)
        self.on_step(step)

    def of_server(self, name: str) -> list[Key]:
        return [key for key, noticed in self.databases.items() if noticed.server == name]

    def runs_of(self, database: Key) -> list[Key]:
        return [run for run, of in self.runs.items() if of == database]

    def restores_into(self, database: Key) -> list[Key]:
        """The DatabaseRestores that ask for `database`."""
        return [
            key
            for key, one in self.asking.items()
            if key.plural == DATABASE_RESTORES and key.namespace == database.namespace and database.name in one.names
        ]

    def beside(self, run: Key) -> list[Key]:
        """The other MigrationRuns of the database that `run` is for; none where it is none."""
        database = self.runs.get(run)
        return [one for one in self.runs_of(database) if one != run] if database is not None else []

    def look_inside_again(self, database: Key) -> None:
        """Have the inside of a database looked at soon: somebody worked in it."""
        if (looked := self.insides.get(database)) is not None:
            self.insides[database] = replace(looked, version=None)
        self.enqueue(database)

    def forget(self, key: Key) -> None:
        """Drop what is kept of an object that is gone."""
        self.databases.pop(key, None)
        self.insides.pop(key, None)
        for proof in [proof for proof in self.logins if proof[0] == key]:
            del self.logins[proof]

    async def namespace(self, name: str, *, fresh: bool = False) -> Namespace | None:
        """The namespace, at most a few seconds old."""
        cached = self._namespaces.get(name)
        if cached is not None and not fresh and time.monotonic() - cached[0] < _NAMESPACE_SECONDS:
            return cached[1]
        body = await self.kube.get(resources.namespace(name))
        if body is None:
            self._namespaces.pop(name, None)
            return None
        metadata = body["metadata"]
        found = Namespace(metadata["uid"], metadata.get("labels") or {}, "deletionTimestamp" in metadata)
        self._namespaces[name] = (time.monotonic(), found)
        return found

    async def crd(self, *, fresh: bool = False) -> CrdState | None:
        """The CustomResourceDefinition of ServiceDatabases, at most a few seconds old."""
        if not fresh and self._crd[1] is not None and time.monotonic() - self._crd[0] < _NAMESPACE_SECONDS:
            return self._crd[1]
        body = await self.kube.get(resources.crd(resources.SERVICE_DATABASES))
        state = None
        if body is not None:
            conditions = {c["type"]: c["status"] for c in (body.get("status") or {}).get("conditions") or ()}
            state = CrdState(
                body["metadata"]["uid"],
                established=conditions.get("Established") == "True",
                terminating="deletionTimestamp" in body["metadata"],
            )
        self._crd = (time.monotonic(), state)
        return state

    async def close(self) -> None:
        await asyncio.gather(*(server.admin.close() for server in self.servers.values() if server.admin is not None))
        await self.kube.close()


async def cluster_uid(kube: KubeClient) -> str:
    """The UID of the namespace kube-system, which stands for the cluster."""
    body = await kube.get(resources.namespace("kube-system"))
    if body is None:
        raise Retryable("ApiServerBusy", "the namespace kube-system is not there yet")
    return str(body["metadata"]["uid"])
