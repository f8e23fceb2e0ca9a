"""How a ServiceDatabase stands: what its status says, and what is told of changes by hand."""

from collections.abc import Iterator
from typing import Any

from servicedb import metrics
from servicedb.api.common import HANDLED_LENGTH, RECONCILE_AT
from servicedb.api.service_database import ServiceDatabase
from servicedb.kube import events
from servicedb.plan.conditions import Finding, of_problem
from servicedb.plan.foreign import shared
from servicedb.plan.lines import Listed, drift_line
from servicedb.plan.observed import ServerScan
from servicedb.plan.resolve import app_secret
from servicedb.plan.steps import Step
from servicedb.plan.tenancy import CONDITION as ISOLATION
from servicedb.plan.tenancy import isolation_finding
from servicedb.reconcile.preview import preview
from servicedb.reconcile.report import report
from servicedb.reconcile.work import Outcome, Work


async def report_ready(work: Work, outcome: Outcome) -> None:
    world, sdb, wanted = work.world, work.sdb, work.wanted
    if work.was_applied and (repaired := outcome.repaired(wanted)):
        await _tell_of_repair(work, repaired)
    database = outcome.seen.databases[wanted.database]
    found = [
        Finding("Ready", "True", "Ready"),
        Finding("DatabaseReady", "True", "Open"),
        Finding("RolesReady", "True", "AsInSpec", "; ".join([*work.unfinished, *_on_sharing(work, outcome.seen)])),
        Finding("CredentialsReady", "True", "LoginsProved", "; ".join(_on_rotation(work, outcome.seen))),
        _in_sync(outcome),
        *([isolation_finding(outcome.isolation)] if wanted.tenancy is not None else ()),
        *_not_yet(work, outcome.seen),
        *_restoring(work),
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
            **_guests(work),
            "drift": list(drift.lines),
            "plan": [],
            "truncated": drift.truncated or None,
            **handled(sdb, rotate_at=work.credentials.handled()),
        },
        over=(ISOLATION,) if wanted.tenancy is None else (),
    )


def _on_sharing(work: Work, seen: ServerScan) -> Iterator[str]:
    names = shared(work.wanted, seen).shared_with
    if names is not None:
        yield (
            f"as long as spec.adoptable of DatabaseServer {work.server.name} lists the database, nothing is taken from "
            f"who used it before, and these may do whatever its owner role may: {', '.join(names) or 'nobody else'}"
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


def _restoring(work: Work) -> list[Finding]:
    """While a restore has the database to itself, applications wait: their logins are closed."""
    restore = work.asked.restore
    if restore is None or not work.wanted.is_restored_into:
        return []
    message = (
        f'DatabaseRestore "{restore.name}" restores into database "{work.wanted.database}": its other logins are '
        "closed until that has succeeded, or is deleted"
    )
    return [Finding("Ready", "False", "Restoring", message), Finding("Reconciling", "True", "Restoring", message)]


def _guests(work: Work) -> dict[str, Any]:
    """What is told to those who asked for a login."""
    backups, restore = work.asked.backups, work.asked.restore
    return {
        "backupAccess": backups.as_json() if backups is not None else None,
        "restore": restore.as_json() if restore is not None else None,
    }


async def _tell_of_repair(work: Work, repaired: list[Step]) -> None:
    for step in repaired:
        metrics.DRIFT.labels(work.server.name, type(step).__name__).inc()
    lines = Listed.of(drift_line(step) for step in repaired).lines
    message = (
        f'{len(repaired)} changes by hand to database "{work.wanted.database}" were taken back: {"; ".join(lines)}'
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


async def report_plan(work: Work) -> None:
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
        {"plan": list(planned.lines), "truncated": planned.truncated or None, **handled(work.sdb)},
    )


def handled(sdb: ServiceDatabase, *, rotate_at: str | None = None) -> dict[str, Any]:
    """`rotate_at`: the value that all logins have been rotated for."""
    value = sdb.metadata.annotations.get(RECONCILE_AT)
    new = {"reconcileAt": value[:HANDLED_LENGTH] if value is not None else None, "rotateAt": rotate_at}
    handled = {**sdb.status.handled.as_json(), **{name: value for name, value in new.items() if value is not None}}
    return {"handled": handled} if handled else {}
