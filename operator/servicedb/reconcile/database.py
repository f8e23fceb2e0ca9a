"""One ServiceDatabase: observe, plan, execute, report. Safe to be killed between any two lines."""

import time
from dataclasses import dataclass
from typing import Any

from servicedb import metrics
from servicedb.api.common import ACKNOWLEDGE, RECONCILE_AT
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import NeedsDecision, Problem, Retryable, Terminal
from servicedb.kube import events
from servicedb.kube.resources import DATABASE_SERVERS, Key
from servicedb.plan.claim import claim
from servicedb.plan.conditions import Finding, condition_of, of_problem
from servicedb.plan.database import current_marker, database_steps
from servicedb.plan.inside import inside_steps
from servicedb.plan.marker import Marker
from servicedb.plan.memberships import membership_steps, wanted_memberships
from servicedb.plan.observed import ServerScan
from servicedb.plan.resolve import app_secret, namespace_allowed, resolve
from servicedb.plan.roles import leaving, next_retirement, role_steps
from servicedb.plan.steps import CreateDatabase, DatabaseStep, InsideStep, RoleStep, Step
from servicedb.plan.wanted import Wanted
from servicedb.postgres.apply import Executor
from servicedb.postgres.catalog import scan_database, scan_inside
from servicedb.postgres.session import AdminServer, Session
from servicedb.reconcile.credentials import Credentials
from servicedb.reconcile.queue import TryAgain
from servicedb.reconcile.report import begin, report
from servicedb.reconcile.world import Looked, Server, World

_DAY = 86_400.0
_COUNT_SECONDS = 2.0
"""How soon a server's status counts a new database in."""


async def reconcile(key: Key, world: World) -> float | None:
    """Bring one ServiceDatabase to its spec, and say how it stands.

    Raises the Retryable that came in between, after it was reported.
    """
    body = await world.kube.get(key.path)
    if body is None:
        world.forget(key)
        return None
    sdb = ServiceDatabase.parse(body)
    if sdb.metadata.deletion_timestamp is not None:
        return None
    await begin(world, key, sdb)
    try:
        return await _bring(key, sdb, world)
    except Problem as problem:
        await report(world, key, sdb, of_problem(problem), _handled(sdb))
        if isinstance(problem, Retryable):
            raise
        return None


@dataclass(frozen=True, slots=True)
class Work:
    """One object with all that its work needs."""

    key: Key
    sdb: ServiceDatabase
    wanted: Wanted
    server: Server
    admin: AdminServer
    world: World
    credentials: Credentials

    @property
    def was_in_sync(self) -> bool:
        """Whether this very spec had been carried out before: what differs now was changed by somebody else."""
        ready = condition_of(self.sdb.status.conditions, "InSync")
        return (
            ready is not None and ready.status == "True" and ready.observed_generation == self.sdb.metadata.generation
        )


async def _bring(key: Key, sdb: ServiceDatabase, world: World) -> float | None:
    """Returns the seconds until something falls due by itself, None where nothing does."""
    server = await _usable_server(sdb, world)
    marker = await _marker(sdb, server, world)
    wanted = resolve(sdb, server.resource, marker)
    assert server.admin is not None
    _check_same_server(sdb, server)
    if sdb.spec.suspend:
        await report(world, key, sdb, [Finding("Reconciling", "False", "Suspended", "spec.suspend is true")])
        return None
    _check_limits(wanted, server)
    credentials = await Credentials.read(key, sdb, wanted, server, world)
    work = Work(key, sdb, wanted, server, server.admin, world, credentials)
    seen = _recent_scan(work)
    done: list[Step] = []
    if seen is None or not await _is_in_sync(work, seen):
        seen, done = await _work(work)
    await _report_ready(work, seen, done)
    retirement = next_retirement(wanted, seen.roles)
    return max(0.0, (retirement - world.now()).total_seconds()) if retirement is not None else None


async def _usable_server(sdb: ServiceDatabase, world: World) -> Server:
    name = sdb.spec.server_ref.name
    server = world.servers.get(name)
    if server is None:
        key = Key(DATABASE_SERVERS, "", name)
        if await world.kube.get(key.path) is None:
            raise Retryable(
                "ServerNotFound",
                f'there is no DatabaseServer "{name}"; create it, or make this object anew with another spec.serverRef',
                condition="DatabaseReady",
            )
        world.enqueue(key)
        raise TryAgain
    if server.problem is not None:
        kind = NeedsDecision if isinstance(server.problem, NeedsDecision) else Retryable
        raise kind(
            server.problem.reason,
            f"DatabaseServer {name} can't be used: {server.problem.message}",
            condition="DatabaseReady",
            ready="Unknown",
        )
    if server.admin is None or server.scan is None:
        raise TryAgain
    return server


async def _marker(sdb: ServiceDatabase, server: Server, world: World) -> Marker:
    """Whose the database is to be; raises where the namespace may have none."""
    namespace = await world.namespace(sdb.metadata.namespace)
    crd = await world.crd()
    if namespace is None or crd is None:
        raise TryAgain
    if namespace.terminating:
        raise Terminal(
            "NamespaceTerminating", f'namespace "{sdb.metadata.namespace}" is being deleted; nothing is made in it'
        )
    if not namespace_allowed(server.resource, sdb.metadata.namespace, namespace.labels):
        raise Terminal(
            "NamespaceNotAllowed",
            f'namespace "{sdb.metadata.namespace}" may not have databases on server "{server.name}"; have an admin '
            f"allow it under spec.allowedNamespaces of DatabaseServer {server.name}",
            condition="DatabaseReady",
        )
    return Marker(
        cluster=world.cluster_uid,
        crd=crd.uid,
        namespace=sdb.metadata.namespace,
        namespace_uid=namespace.uid,
        name=sdb.metadata.name,
        uid=sdb.metadata.uid,
        policy=sdb.spec.deletion.policy,
        grace=str(sdb.spec.deletion.grace_period),
    )


def _check_same_server(sdb: ServiceDatabase, server: Server) -> None:
    """The object's own memory of its server: it outlives a DatabaseServer that was deleted and made anew."""
    known, now = sdb.status.system_identifier, server.system_identifier
    acknowledged = {
        sdb.metadata.annotations.get(ACKNOWLEDGE),
        server.resource.metadata.annotations.get(ACKNOWLEDGE),
    }
    if known is not None and known != now and now not in acknowledged:
        raise NeedsDecision(
            "ServerChanged",
            f'the database is on the server with system identifier {known}, but DatabaseServer "{server.name}" now '
            f"means {now}; point it back, or, if the change is meant, annotate this object with "
            f'{ACKNOWLEDGE}="{now}"',
            condition="DatabaseReady",
        )


def _check_limits(wanted: Wanted, server: Server) -> None:
    """Counts this database in at once: two objects at work at the same time must not both take the last place."""
    if wanted.database in server.markers:
        return
    limits = server.resource.spec.limits
    living = [marker for marker in server.markers.values() if marker.released is None]
    of_namespace = sum(
        (marker.cluster, marker.namespace) == (wanted.marker.cluster, wanted.marker.namespace) for marker in living
    )
    for field, count, limit in (
        ("maxDatabases", len(living), limits.max_databases),
        ("maxDatabasesPerNamespace", of_namespace, limits.max_databases_per_namespace),
    ):
        if count >= limit:
            raise Terminal(
                "LimitReached",
                f'server "{server.name}" is full: spec.limits.{field} is {limit}; have an admin raise it on '
                f"DatabaseServer {server.name}, or delete a ServiceDatabase",
                condition="DatabaseReady",
            )
    server.markers[wanted.database] = wanted.marker


def _recent_scan(work: Work) -> ServerScan | None:
    """The part of the server's last scan that is this database's; None where it is too old to go by."""
    scan, scanned_at = work.server.scan, work.server.scanned_at
    looked = work.world.insides.get(work.key)
    if scan is None or looked is None or scanned_at < looked.at or not work.was_in_sync:
        return None
    if time.monotonic() - scanned_at > 1.5 * work.world.settings.resync:
        return None
    return scan.of(work.wanted.database, also=work.wanted.role_names)


async def _is_in_sync(work: Work, seen: ServerScan) -> bool:
    """Whether nothing has to be done, as far as can be told without a connection."""
    try:
        marker = claim(work.wanted, seen, server=work.server.name)
    except Problem:
        return False  # to be seen afresh, under the lock, before it is said
    if marker is None or marker.released is not None:
        return False
    database = seen.databases.get(work.wanted.database)
    looked = work.world.insides.get(work.key)
    if database is None or looked is None or time.monotonic() - looked.at > _DAY:
        return False
    if looked.version != (work.sdb.metadata.generation, database.changes):
        return False
    return not (
        work.credentials.steps(seen.roles)
        or work.credentials.unproved()
        or work.credentials.outdated()
        or _role_steps(work, seen)
        or list(database_steps(work.wanted, seen))
    )


def _role_steps(work: Work, seen: ServerScan) -> list[RoleStep]:
    steps: list[RoleStep] = [
        *role_steps(
            work.wanted,
            current_marker(work.wanted, seen),
            work.credentials.states(),
            seen.roles,
            now=work.world.now(),
            overlap=work.sdb.spec.credentials.overlap.timedelta,
        ),
        *membership_steps(wanted_memberships(work.wanted), seen.memberships, leaving=leaving(work.wanted, seen.roles)),
    ]
    return steps


async def _work(work: Work) -> tuple[ServerScan, list[Step]]:
    """Carry out what is missing, under the lock on the database's name."""
    wanted, world = work.wanted, work.world
    done: list[Step] = []
    async with work.admin.locked(wanted.database) as connection:
        seen = await _observe(work, connection)
        claim(wanted, seen, server=work.server.name)
        execute = Executor(seen.admin, seen.admin_superuser, world.step)
        done += await work.credentials.prepare(seen.roles)
        done += await _change_server(work, connection, seen, execute)
        async with work.admin.inside(wanted.database) as inside:
            there = await scan_inside(
                inside, owner=wanted.names.owner, extensions=[extension.name for extension in wanted.extensions]
            )
            steps: list[InsideStep] = list(
                inside_steps(wanted, there, admin=seen.admin, admin_superuser=seen.admin_superuser)
            )
            if steps:
                await execute.inside(inside, steps, wanted.names.owner)
                done += steps
        done += await work.credentials.prove_and_activate(connection)
        seen = await _observe(work, connection)
        if work.credentials.refused:
            done += await work.credentials.prepare(seen.roles)
        if following := _role_steps(work, seen):  # a new password, or the half that a login has moved away from
            await execute.roles(connection, following, work.credentials.pending_passwords())
            done += [*following, *await work.credentials.prove_and_activate(connection)]
            seen = await _observe(work, connection)
        _check_effect(work, [*_role_steps(work, seen), *database_steps(wanted, seen)], done)
    world.insides[work.key] = Looked(
        (work.sdb.metadata.generation, seen.databases[wanted.database].changes), time.monotonic()
    )
    return seen, done


def _check_effect(work: Work, planned: list[Step], done: list[Step]) -> None:
    """Raise Terminal for a step that is planned again right after it was carried out: it would be so for ever."""
    without = {type(step).__name__: step.reason for step in planned if step in done}
    if without:
        kinds = ", ".join(f"{kind} ({reason})" for kind, reason in sorted(without.items()))
        raise Terminal(
            "WithoutEffect",
            f'changes to database "{work.wanted.database}" on {work.admin.endpoint} were carried out without any '
            f"effect: {kinds}; another role granted what the admin may not take away: have a superuser look at the "
            f'memberships and privileges of the roles whose names begin with "{work.wanted.database}__"',
            condition="RolesReady",
        )


async def _observe(work: Work, connection: Session) -> ServerScan:
    """The shared catalogues as far as they are this database's, also by the OID that it is known under."""
    wanted = work.wanted
    oids = {int(wanted.known_oid)} if wanted.known_oid is not None else set()
    seen = await scan_database(connection, wanted.database, roles=wanted.role_names, oids=oids)
    owner = seen.roles.get(wanted.names.owner)
    marker = Marker.read(owner.comment) if owner is not None else None
    if marker is None or marker.oid is None or seen.database_with_oid(marker.oid) is not None:
        return seen
    return await scan_database(connection, wanted.database, roles=wanted.role_names, oids={*oids, marker.oid})


async def _change_server(work: Work, connection: Session, seen: ServerScan, execute: Executor) -> list[Step]:
    wanted = work.wanted
    roles = _role_steps(work, seen)
    if roles:
        await execute.roles(connection, roles, work.credentials.pending_passwords())
    steps: list[Step] = list(database_steps(wanted, seen))
    for step in steps:
        if isinstance(step, CreateDatabase):
            await execute.alone(connection, step)
    together = [step for step in steps if isinstance(step, DatabaseStep)]
    if together:
        await execute.database(connection, together, wanted.names.owner)
    return [*roles, *steps]


async def _report_ready(work: Work, seen: ServerScan, done: list[Step]) -> None:
    world, sdb, wanted = work.world, work.sdb, work.wanted
    repaired = [step for step in done if isinstance(step, RoleStep | DatabaseStep | InsideStep)]
    if work.was_in_sync and repaired:
        for step in repaired:
            metrics.DRIFT.labels(work.server.name, type(step).__name__).inc()
        kinds = ", ".join(sorted({type(step).__name__ for step in repaired}))
        message = f'{len(repaired)} changes by hand to database "{wanted.database}" were taken back: {kinds}'
        await events.post(world.kube, work.key, sdb.metadata.uid, warning=True, reason="DriftRepaired", message=message)
    if any(isinstance(step, CreateDatabase) for step in done):
        world.enqueue_after(Key(DATABASE_SERVERS, "", work.server.name), _COUNT_SECONDS)
    database = seen.databases[wanted.database]
    found = [
        Finding("Ready", "True", "Ready"),
        Finding("DatabaseReady", "True", "Open"),
        Finding("RolesReady", "True", "AsInSpec"),
        Finding("CredentialsReady", "True", "LoginsProved"),
        Finding("InSync", "True", "InSync"),
    ]
    work.server.markers[wanted.database] = wanted.marker.with_oid(database.oid)
    await report(
        world,
        work.key,
        sdb,
        found,
        {
            "databaseName": wanted.database,
            "databaseOid": str(database.oid),
            "systemIdentifier": seen.system_identifier,
            "roles": work.credentials.status(),
            "binding": {"name": app_secret(sdb)},
            **_handled(sdb),
        },
    )


def _handled(sdb: ServiceDatabase) -> dict[str, Any]:
    value = sdb.metadata.annotations.get(RECONCILE_AT)
    return {"handled": {"reconcileAt": value[:256]}} if value is not None else {}
