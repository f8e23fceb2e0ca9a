"""One ServiceDatabase: observe, plan, execute, report. Safe to be killed between any two lines."""

from collections.abc import Iterator
from typing import Any

from servicedb import metrics
from servicedb.api.common import ACKNOWLEDGE, HANDLED_LENGTH, RECONCILE_AT
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import NeedsDecision, Problem, Retryable, Terminal
from servicedb.kube import events
from servicedb.kube.resources import DATABASE_SERVERS, Key
from servicedb.plan.conditions import Finding, of_problem
from servicedb.plan.leaving import next_retirement
from servicedb.plan.lines import Listed, drift_line
from servicedb.plan.marker import Marker
from servicedb.plan.observed import ServerScan
from servicedb.plan.resolve import app_secret, namespace_allowed, resolve
from servicedb.plan.secret import check_metadata
from servicedb.plan.steps import CreateDatabase
from servicedb.plan.wanted import Wanted
from servicedb.reconcile.begun import see_to_what_has_begun
from servicedb.reconcile.credentials import Credentials
from servicedb.reconcile.drift import list_drift
from servicedb.reconcile.preview import preview
from servicedb.reconcile.queue import TryAgain
from servicedb.reconcile.report import begin, report
from servicedb.reconcile.work import Outcome, Work, carry_out, is_in_sync, recent_scan
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
        await report(world, key, sdb, found, _handled(sdb))
        return None
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
    server = await _usable_server(sdb, world)
    marker = await marker_of(sdb, server, world)
    wanted = resolve(sdb, server.resource, marker)
    assert server.admin is not None
    check_same_server(sdb, server)
    if sdb.spec.suspend:
        await report(world, key, sdb, [Finding("Reconciling", "False", "Suspended", "spec.suspend is true")])
        return await _while_suspended(key, sdb, wanted, server, world), None
    check_limits(wanted, server)
    if sdb.spec.mode == "Apply":
        server.markers.setdefault(wanted.database, marker)  # two at once must not both take the last place
    begun = world.now()
    credentials = checked_credentials(key, sdb, wanted, server, world)
    work = Work(key, sdb, wanted, server, server.admin, world, credentials)
    if sdb.spec.mode == "Plan":
        await credentials.read()
        seconds = await see_to_what_has_begun(work)
        await _report_plan(work)
        return seconds, None
    seen = recent_scan(work)
    if seen is not None and await is_in_sync(work, seen):
        outcome = Outcome(seen, awaited=world.insides[key].awaited)
    elif sdb.spec.drift_policy == "Report" and work.was_applied:
        outcome = await list_drift(work)
    else:
        outcome = await carry_out(work)
    await _report_ready(work, outcome)
    told = outcome.problem if isinstance(outcome.problem, Retryable) else None
    roles = outcome.seen.roles
    retirement = next_retirement(wanted, roles, after=begun)
    due = [time for time in (retirement, credentials.next_rotation(roles)) if time is not None]
    return max(0.0, (min(due) - world.now()).total_seconds()) if due else None, told


def checked_credentials(key: Key, sdb: ServiceDatabase, wanted: Wanted, server: Server, world: World) -> Credentials:
    """The object's credentials, not read yet. Raises Terminal where they may not be written as asked."""
    spec = sdb.spec.credentials
    check_metadata(spec.secret_labels, spec.secret_annotations, world.settings.secret_metadata_prefixes)
    return Credentials(key, sdb, wanted, server, world)


async def _while_suspended(
    key: Key, sdb: ServiceDatabase, wanted: Wanted, server: Server, world: World
) -> float | None:
    """What is wrong is for later to say: the object's conditions keep speaking of the spec that was applied."""
    assert server.admin is not None
    try:
        credentials = checked_credentials(key, sdb, wanted, server, world)
        await credentials.read()
        return await see_to_what_has_begun(Work(key, sdb, wanted, server, server.admin, world, credentials))
    except Retryable as problem:
        raise TryAgain from problem
    except Problem:
        return None


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


async def _report_ready(work: Work, outcome: Outcome) -> None:
    world, sdb, wanted = work.world, work.sdb, work.wanted
    if work.was_applied and outcome.repaired:
        await _tell_of_repair(work, outcome)
    if any(isinstance(step, CreateDatabase) for step in outcome.done):
        world.enqueue_after(Key(DATABASE_SERVERS, "", work.server.name), _COUNT_SECONDS)
    database = outcome.seen.databases[wanted.database]
    found = [
        Finding("Ready", "True", "Ready"),
        Finding("DatabaseReady", "True", "Open"),
        Finding("RolesReady", "True", "AsInSpec", "; ".join(work.unfinished)),
        Finding("CredentialsReady", "True", "LoginsProved", "; ".join(_on_rotation(work, outcome.seen))),
        _in_sync(outcome),
        *_not_yet(work, outcome.seen),
        *(of_problem(outcome.problem) if outcome.problem is not None else ()),
    ]
    drift = Listed.of(outcome.drift)
    if new := [line for line in drift.lines if line not in sdb.status.drift]:
        metrics.DRIFT_LISTED.labels(work.server.name).inc(len(new))
        await _tell(work, "Drifted", f'database "{wanted.database}" differs from its spec: {"; ".join(new)}')
    work.server.markers[wanted.database] = wanted.marker.with_oid(database.oid)
    await report(
        world,
        work.key,
        sdb,
        found,
        {
            "appliedGeneration": sdb.metadata.generation,
            "databaseName": wanted.database,
            "databaseOid": str(database.oid),
            "systemIdentifier": outcome.seen.system_identifier,
            "roles": work.credentials.status(),
            "binding": {"name": app_secret(sdb)},
            "drift": list(drift.lines),
            "plan": [],
            "truncated": drift.truncated or None,
            **_handled(sdb, rotate_at=work.credentials.handled()),
        },
    )


def _on_rotation(work: Work, seen: ServerScan) -> Iterator[str]:
    fixed = [login.halves[0] for login in work.wanted.logins if len(login.halves) == 1]
    if fixed:
        yield (
            f"{', '.join(fixed)}: a login with a fixed name gets its new password in place at a rotation; from then on "
            "the old one fails"
        )
    for rotation in work.credentials.rotations(seen.roles):
        if rotation.waits:
            yield f"{rotation.login.role} is rotated when the last rotation's overlap is over: {rotation.reason}"


def _not_yet(work: Work, seen: ServerScan) -> list[Finding]:
    """What an access that waits turns: the logins work, but not as the spec says."""
    earlier = work.credentials.as_it_stands(seen.roles).earlier
    waiting = [due.login.role for due in work.credentials.rotations(seen.roles) if due.waits and due.active in earlier]
    if not waiting:
        return []
    message = (
        f"the access of {', '.join(waiting)} changes when the overlap of the last rotation is over: "
        "until then there is no login to make the change with"
    )
    return [
        Finding("Ready", "False", "OverlapNotOver", message),
        Finding("RolesReady", "False", "OverlapNotOver", message),
        Finding("Reconciling", "True", "OverlapNotOver", message),
    ]


async def _tell_of_repair(work: Work, outcome: Outcome) -> None:
    for step in outcome.repaired:
        metrics.DRIFT.labels(work.server.name, type(step).__name__).inc()
    lines = Listed.of(drift_line(step) for step in outcome.repaired).lines
    message = (
        f'{len(outcome.repaired)} changes by hand to database "{work.wanted.database}" were taken back: '
        f"{'; '.join(lines)}"
    )
    await _tell(work, "DriftRepaired", message)


async def _tell(work: Work, reason: str, message: str) -> None:
    await events.post(work.world.kube, work.key, work.sdb.metadata.uid, warning=True, reason=reason, message=message)


def _in_sync(outcome: Outcome) -> Finding:
    waiting = f"waiting for tables that overrides name: {', '.join(outcome.awaited)}" if outcome.awaited else ""
    if not outcome.drift:
        return Finding("InSync", "True", "InSync", waiting)
    count = len(outcome.drift)
    message = f"{count} difference{'s' * (count > 1)} from the spec, listed in status.drift; {waiting}".rstrip("; ")
    return Finding("InSync", "False", "Drifted", message)


async def _report_plan(work: Work) -> None:
    """Ready keeps its last truth, and the generation that it speaks of."""
    planned = Listed.of(line.text for line in await preview(work))
    count = f"{len(planned.lines)}{' or more' if planned.truncated else ''}"
    message = f"spec.mode is Plan: {count} steps would be taken, see status.plan"
    found = [Finding("Reconciling", "False", "Planned", message)]
    if work.sdb.status.applied_generation is None:
        found.append(Finding("Ready", "Unknown", "Planned", "nothing has been made yet: spec.mode is Plan"))
    await report(
        work.world,
        work.key,
        work.sdb,
        found,
        {"plan": list(planned.lines), "truncated": planned.truncated or None, **_handled(work.sdb)},
    )


def _handled(sdb: ServiceDatabase, *, rotate_at: str | None = None) -> dict[str, Any]:
    """`rotate_at`: the value that all logins have been rotated for."""
    value = sdb.metadata.annotations.get(RECONCILE_AT)
    new = {"reconcileAt": value[:HANDLED_LENGTH] if value is not None else None, "rotateAt": rotate_at}
    handled = {**sdb.status.handled.as_json(), **{name: value for name, value in new.items() if value is not None}}
    return {"handled": handled} if handled else {}
