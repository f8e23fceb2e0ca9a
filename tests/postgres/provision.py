"""The operator on a real server without Kubernetes: its own reconciles, on objects that stand in a file.

site = Site.new(server, server.admin, directory)
site.want("orders", full_spec("orders"))
async with Operator(site.objects) as operator:
    first = await operator.bring("orders")
assert first.ready.reason == "Ready"
site.login("orders", "app").execute("SELECT 1")
"""

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self, TypeVar

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from servicedb.api.common import GROUP, Condition
from servicedb.errors import Problem
from servicedb.kube import resources
from servicedb.kube.client import Json
from servicedb.kube.resources import DATABASE_SERVERS, SERVICE_DATABASES, Key
from servicedb.plan.steps import ProveLogin, Step
from servicedb.reconcile import database, server
from servicedb.reconcile.guests import forget_asking, note_asking
from servicedb.reconcile.queue import TryAgain
from servicedb.reconcile.server import ADMIN_LABEL
from servicedb.reconcile.world import World, ignore
from servicedb.settings import Settings

from tests.postgres.objects import NAMESPACE, OPERATOR_NAMESPACE, Objects
from tests.postgres.server import Login, Server

T = TypeVar("T")

AT_ONCE = Settings(resync=0.001)
"""With these an object is believed to be gone at the second look, however soon that comes."""

SERVER = Key(DATABASE_SERVERS, "", "main")


def run(work: Coroutine[Any, Any, T]) -> T:
    """What `work` returns, also where an event loop runs already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _key_at(path: str) -> Key:
    """The object at `path`; of its own namespace, where it is in one."""
    parts = path.split("/")
    return Key(parts[-2], parts[-3] if parts[-4] == "namespaces" else "", parts[-1])


def unused_name(stem: str) -> str:
    """A database name that no other test uses on a shared server."""
    return f"{stem}_{secrets.token_hex(4)}"


def full_spec(name: str, **changes: Any) -> Json:
    """A spec with every kind of login, under `name`; `changes` are further fields of the spec."""
    logins = {
        role: {"secretName": f"{name.replace('_', '-')}-{role.lower()}"} for role in ("app", "migrator", "readOnly")
    }
    extra = [{"name": "keeper", "access": "Owner", "secretName": f"{name.replace('_', '-')}-keeper"}]
    return {
        "serverRef": {"name": SERVER.name},
        "databaseName": name,
        "roles": {**logins, "extra": extra},
        **changes,
    }


def key_of(name: str) -> Key:
    """The ServiceDatabase that stands for the database `name`."""
    return Key(SERVICE_DATABASES, NAMESPACE, name.replace("_", "-"))


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster's objects, and the real server that its DatabaseServer `main` stands for."""

    objects: Objects
    server: Server
    admin: Login

    @classmethod
    def new(cls, server: Server, admin: Login, directory: Path, **spec: Any) -> Self:
        """A cluster of its own, which uses `server` as `admin`. `spec` goes over that of the DatabaseServer."""
        site = cls(Objects.new(directory / f"{secrets.token_hex(4)}.json"), server, admin)
        tls: Json = {"mode": "Disable"}
        if server.ca_certificate is not None:
            authority = {"namespace": OPERATOR_NAMESPACE, "name": "postgres-ca", "key": "ca.crt"}
            tls = {"mode": "VerifyFull", "caSecretRef": authority}
            site.put_admin_secret("postgres-ca", {"ca.crt": server.ca_certificate.read_text()})
        site.put_admin_secret("postgres-admin", {"username": admin.name, "password": admin.password})
        site.serve(
            **{
                "host": server.host,
                "port": server.port,
                "adminSecretRef": {"namespace": OPERATOR_NAMESPACE, "name": "postgres-admin"},
                "tls": tls,
                "allowedNamespaces": {"from": "All"},
                **spec,
            }
        )
        return site

    def serve(self, **spec: Any) -> None:
        """Change the DatabaseServer's spec."""
        there = self.objects.read().get(SERVER.path, {}).get("spec", {})
        self.objects.put(SERVER.path, {"metadata": {"name": SERVER.name}, "spec": {**there, **spec}})

    def put_admin_secret(self, name: str, data: Mapping[str, str]) -> None:
        self.objects.put_secret(OPERATOR_NAMESPACE, name, data, {ADMIN_LABEL: "true"})

    def want(self, name: str, spec: Json | None = None, annotations: Mapping[str, str] | None = None) -> None:
        """Apply a ServiceDatabase. `annotations` go without the servicedb.io/ in front."""
        asked = {f"{GROUP}/{key}": value for key, value in (annotations or {}).items()}
        metadata = {"name": name.replace("_", "-"), "namespace": NAMESPACE, "annotations": asked}
        self.objects.put(key_of(name).path, {"metadata": metadata, "spec": spec or full_spec(name)})

    def secret(self, name: str, role: str) -> dict[str, str]:
        """What the Secret of `role` (as in spec.roles: app, migrator, readOnly, or an extra one's name) holds."""
        return self.objects.secret(f"{name.replace('_', '-')}-{role.lower()}")

    def passwords(self) -> set[str]:
        """Every password in any Secret."""
        bodies = self.objects.read()
        found: set[str] = set()
        for path in bodies:
            if path.startswith(resources.secrets(NAMESPACE)):
                held = self.objects.secret(path.rpartition("/")[2])
                found |= {held[key] for key in ("password", "pending-password") if key in held}
        return found

    def login(self, name: str, role: str, dbname: str | None = None) -> psycopg.Connection[TupleRow]:
        """A session as the application has it that reads the Secret of `role`."""
        held = self.secret(name, role)
        return self.server.connect(held["user"], held["password"], dbname or held["dbname"])

    def as_superuser(self, dbname: str = "postgres") -> psycopg.Connection[TupleRow]:
        return self.server.connect(dbname=dbname)

    def provision(self, name: str, spec: Json | None = None) -> "Round":
        """Apply a ServiceDatabase, and let an operator that was just started bring it to Ready."""
        self.want(name, spec)
        done = run(self._one_round(name))
        assert done.ready.status == "True", done.ready
        return done

    def drop(self, name: str) -> None:
        """Remove the database and its roles, whoever's they are by now."""
        with self.as_superuser() as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            roles = connection.execute(
                "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", (f"{name}__",)
            ).fetchall()
            for (role,) in roles:
                connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
            for (role,) in roles:
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))

    async def _one_round(self, name: str) -> "Round":
        async with Operator(self.objects) as operator:
            return await operator.bring(name)


@dataclass(frozen=True, slots=True)
class Round:
    """What one look of the operator's at a server and a database led to."""

    steps: tuple[Step, ...]
    conditions: Mapping[str, Condition]
    due: timedelta | None = None
    """Until something falls due by itself, where it does."""
    status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def drift(self) -> list[str]:
        """The differences that are listed."""
        return list(self.status.get("drift", ()))

    @property
    def plan(self) -> list[str]:
        return list(self.status.get("plan", ()))

    @property
    def in_sync(self) -> bool:
        return self.conditions["InSync"].status == "True"

    @property
    def ready(self) -> Condition:
        return self.conditions["Ready"]

    @property
    def reason(self) -> str:
        """Why the work could not be finished; Ready's reason where it could."""
        for kind in ("Stalled", "Reconciling", "Ready"):
            if kind in self.conditions:
                return self.conditions[kind].reason
        raise KeyError("Ready")

    @property
    def message(self) -> str:
        return next(
            self.conditions[kind].message for kind in ("Stalled", "Reconciling", "Ready") if kind in self.conditions
        )

    @property
    def stalled(self) -> bool:
        """Whether only a person can go on: the problem was Terminal or a NeedsDecision."""
        return "Stalled" in self.conditions

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that changed anything: a login that was tried does not."""
        return tuple(step for step in self.steps if not isinstance(step, ProveLogin))

    def kinds(self) -> set[str]:
        return {type(step).__name__ for step in self.changes}


@dataclass(slots=True)
class _World(World):
    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass(slots=True)
class Operator:
    """One operator from its start on. `on_step` hears of each step before it is carried out."""

    objects: Objects
    on_step: Callable[[Step], None] = ignore
    settings: Settings = field(default_factory=Settings)
    world: _World = field(init=False)
    _steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.world = _World(self.objects, self.settings, self.objects.cluster_uid, on_step=self._note)

    async def bring(self, name: str, *, heard: bool = True) -> Round:
        """Look at the server, then at the database `name`. Not `heard`: the watch has told nothing yet."""
        self._steps.clear()
        if heard:
            self.notice()
        await self.look()
        due = None
        with contextlib.suppress(Problem, TryAgain):  # it stands in the status
            due = await database.reconcile(key_of(name), self.world)
        status = self.objects.read()[key_of(name).path].get("status", {})
        return Round(
            tuple(self._steps),
            self._conditions(key_of(name)),
            timedelta(seconds=due) if due is not None else None,
            status,
        )

    async def look(self) -> dict[str, Condition]:
        """Look at the server; its conditions."""
        with contextlib.suppress(Problem):
            await server.reconcile(SERVER, self.world)
        return self._conditions(SERVER)

    def notice(self) -> None:
        """Hear of what asks something of databases, as the watch would tell."""
        bodies = {_key_at(path): body for path, body in self.objects.read().items()}
        for key in {*self.world.asking} - {*bodies}:
            forget_asking(self.world, key)
        for key, body in bodies.items():
            note_asking(self.world, key, body)

    def let_pass(self, time: timedelta) -> None:
        """Let the operator's clock go ahead."""
        self.world.ahead += time

    def _conditions(self, key: Key) -> dict[str, Condition]:
        written = self.objects.read()[key.path].get("status", {}).get("conditions", ())
        return {body["type"]: Condition.model_validate(body) for body in written}

    def _note(self, step: Step) -> None:
        self._steps.append(step)
        self.on_step(step)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.world.close()
