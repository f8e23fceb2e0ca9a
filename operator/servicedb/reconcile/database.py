"""One ServiceDatabase: observe, plan, execute, report. Safe to be killed between any two lines."""

from dataclasses import replace

from servicedb.api.common import ACKNOWLEDGE
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import NeedsDecision, Problem, Retryable, Terminal
from servicedb.kube.resources import DATABASE_SERVERS, Key
from servicedb.plan.conditions import Finding, of_problem
from servicedb.plan.leaving import next_retirement
from servicedb.plan.marker import Marker
from servicedb.plan.noted import as_noted
from servicedb.plan.resolve import database_name, namespace_allowed, resolve
from servicedb.plan.secret import check_metadata
from servicedb.plan.set_aside import was_set_aside
from servicedb.plan.wanted import Wanted
from servicedb.reconcile.begun import see_to_what_has_begun
from servicedb.reconcile.credentials import Credentials
from servicedb.reconcile.drift import list_drift
from servicedb.reconcile.guests import as_it_is, decide
from servicedb.reconcile.queue import TryAgain
from servicedb.reconcile.report import begin, report
from servicedb.reconcile.standing import handled, report_plan, report_ready
from servicedb.reconcile.work import Outcome, Work, carry_out, is_in_sync, recent_scan
from servicedb.reconcile.world import Server, World

_LOOK_SECONDS = 5.0
"""How soon a server is looked at again of which a database has heard nothing good."""


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
        due, told = await _bring(key, sdb, world)
    except Problem as raised:
        problem = _as_seen_here(raised)
        if isinstance(problem, Retryable):
            await report(world, key, sdb, _findings(sdb, problem))  # not handled: what was asked for is yet to be done
            server = world.servers.get(sdb.spec.server_ref.name)
            if problem.ready == "Unknown" and server is not None and server.problem is None:
                world.enqueue_after(server.key, _LOOK_SECONDS)
            raise problem from raised
        found = _findings(sdb, problem)
        if len(found) > 1:
            found.append(Finding("InSync", "Unknown", problem.reason, "not looked at: see Ready"))
        await report(world, key, sdb, found, handled(sdb))
        return await _while_stalled(key, sdb, world) if isinstance(problem, Terminal) else None
    if told is not None:
        raise told
    return due


def _findings(sdb: ServiceDatabase, problem: Problem) -> list[Finding]:
    """What a problem says of the object. One with a plan has been made before: Ready keeps its last truth."""
    found = of_problem(problem)
    return found[-1:] if sdb.spec.mode == "Plan" and sdb.status.applied_generation is not None else found


def _as_seen_here(problem: Problem) -> Problem:
    """That the server's admin can't log in is the DatabaseServer's to say; here it is waited for."""
    if problem.condition != "Reachable":
        return problem
    return Retryable(problem.reason, problem.message, condition="DatabaseReady", ready="Unknown")


async def _bring(key: Key, sdb: ServiceDatabase, world: World) -> tuple[float | None, Retryable | None]:
    """The seconds until something falls due by itself, None where nothing does; and what is to be tried again, but
    has been reported already."""
    server = await usable_server(sdb, world)
    marker = await marker_of(sdb, server, world)
    check_same_server(sdb, server)
    asked = await decide(sdb, server, world)
    wanted = resolve(sdb, server.resource, marker, asked.guests)
    if was_set_aside(wanted.database, wanted.known_oid, server.markers.values()):
        wanted = replace(wanted, known_oid=None)
    if wanted.is_restored_into:  # what the restore has begun may have been dropped, to begin again
        wanted = replace(wanted, recreate=wanted.known_oid)
    assert server.admin is not None
    if sdb.spec.suspend:
        await report(world, key, sdb, [Finding("Reconciling", "False", "Suspended", "spec.suspend is true")])
        return await _at_rest(key, sdb, wanted, server, world), None
    check_limits(wanted, server)
    if sdb.spec.mode == "Apply":
        server.markers.setdefault(wanted.database, marker)  # two at once must not both take the last place
    begun = world.now()
    credentials = checked_credentials(key, sdb, wanted, server, world)
    work = Work(key, sdb, wanted, server, server.admin, world, credentials, asked)
    if sdb.spec.mode == "Plan":
        await credentials.read()
        seconds = await see_to_what_has_begun(work)
        await report_plan(work)
        return seconds, None
    seen = recent_scan(work)
    if seen is not None and await is_in_sync(work, seen):
        outcome = Outcome(seen, awaited=world.insides[key].awaited, isolation=world.insides[key].isolation)
    elif sdb.spec.drift_policy == "Report" and work.was_applied:
        outcome = await list_drift(work)
    else:
        outcome = await carry_out(work)
    await report_ready(work, outcome)
    told = outcome.problem if isinstance(outcome.problem, Retryable) else None
    roles = outcome.seen.roles
    due = (next_retirement(wanted, roles, after=begun), credentials.next_rotation(roles))
    return world.seconds_until(*due), told


def checked_credentials(key: Key, sdb: ServiceDatabase, wanted: Wanted, server: Server, world: World) -> Credentials:
    """The object's credentials, not read yet. Raises Terminal where they may not be written as asked."""
    spec = sdb.spec.credentials
    check_metadata(spec.secret_labels, spec.secret_annotations, world.settings.secret_metadata_prefixes)
    return Credentials(key, sdb, wanted, server, world)


async def _while_stalled(key: Key, sdb: ServiceDatabase, world: World) -> float | None:
    """What was begun before is brought to its end, by what stands on the server: the spec may be no guide."""
    server = world.servers.get(sdb.spec.server_ref.name)
    if server is None or server.problem is not None or server.admin is None or server.scan is None:
        return None
    try:
        marker = await marker_of(sdb, server, world)
        check_same_server(sdb, server)
    except Problem:
        return None
    database = database_name(sdb, server.resource)
    wanted = as_noted(database, marker, server.scan.of(database), known_oid=sdb.status.database_oid)
    return await _at_rest(key, sdb, wanted, server, world)


async def _at_rest(key: Key, sdb: ServiceDatabase, wanted: Wanted, server: Server, world: World) -> float | None:
    """Begin nothing. What is wrong is for later to say: the object's conditions speak of something else."""
    assert server.admin is not None
    try:
        credentials = Credentials(key, sdb, wanted, server, world)
        await credentials.read()
        asked = as_it_is(sdb, server, world)
        return await see_to_what_has_begun(Work(key, sdb, wanted, server, server.admin, world, credentials, asked))
    except Retryable as problem:
        raise TryAgain from problem
    except Problem:
        return None


async def usable_server(sdb: ServiceDatabase, world: World) -> Server:
    """The server that the object names, looked at and in order; raises a Problem or TryAgain where it is not."""
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


async def marker_of(sdb: ServiceDatabase, server: Server, world: World) -> Marker:
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


def check_same_server(sdb: ServiceDatabase, server: Server) -> None:
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


def check_limits(wanted: Wanted, server: Server) -> None:
    """Raise Terminal where the server has no place for another database."""
    if wanted.database in server.markers:
        return
    limits = server.resource.spec.limits
    living = [marker for marker in server.markers.values() if not (marker.let_go or marker.job)]
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
