"""One ServiceDatabase: observe, plan, execute, report. Safe to be killed between any two lines."""

from typing import Any

from servicedb import metrics
from servicedb.api.common import ACKNOWLEDGE, RECONCILE_AT
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import NeedsDecision, Problem, Retryable, Terminal
from servicedb.kube import events
from servicedb.kube.resources import DATABASE_SERVERS, Key
from servicedb.plan.conditions import Finding, of_problem
from servicedb.plan.marker import Marker
from servicedb.plan.observed import ServerScan
from servicedb.plan.resolve import app_secret, namespace_allowed, resolve
from servicedb.plan.roles import next_retirement
from servicedb.plan.steps import CreateDatabase, DatabaseStep, InsideStep, RoleStep, Step
from servicedb.plan.wanted import Wanted
from servicedb.reconcile.credentials import Credentials
from servicedb.reconcile.queue import TryAgain
from servicedb.reconcile.report import begin, report
from servicedb.reconcile.work import Work, carry_out, is_in_sync, recent_scan
from servicedb.reconcile.world import Server, World

_LOOK_SECONDS = 5.0
"""How soon a server is looked at again of which a database has heard nothing good."""
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
    except Problem as raised:
        problem = _as_seen_here(raised)
        if isinstance(problem, Retryable):
            await report(world, key, sdb, of_problem(problem))  # not handled: what was asked for has not been done
            server = world.servers.get(sdb.spec.server_ref.name)
            if problem.ready == "Unknown" and server is not None and server.problem is None:
                world.enqueue_after(server.key, _LOOK_SECONDS)
            raise problem from raised
        unknown = Finding("InSync", "Unknown", problem.reason, "not looked at: see Ready")
        await report(world, key, sdb, [*of_problem(problem), unknown], _handled(sdb))
        return None


def _as_seen_here(problem: Problem) -> Problem:
    """That the server's admin can't log in is the DatabaseServer's to say; here it is waited for."""
    if problem.condition != "Reachable":
        return problem
    return Retryable(problem.reason, problem.message, condition="DatabaseReady", ready="Unknown")


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
    seen = recent_scan(work)
    done: list[Step] = []
    if seen is None or not await is_in_sync(work, seen):
        seen, done = await carry_out(work)
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
    living = [marker for marker in server.markers.values() if not marker.let_go]
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
