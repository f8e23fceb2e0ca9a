"""How a MigrationRun stands: conditions and status from what its Job has come to."""

from collections.abc import Mapping
from typing import Any

from servicedb.api.migration_run import LISTED_MIGRATIONS, LISTED_SEEDS, FailedMigration, MigrationRun
from servicedb.errors import NeedsDecision, Problem, Terminal
from servicedb.plan.conditions import READY, Finding, condition_of, of_problem
from servicedb.plan.migration_result import Result

SUCCEEDED = "Succeeded"
_WORTH_SAYING = frozenset({"DatabaseAhead", "AlreadyDone", "Planned", "Verified"})
"""Reasons that Ready gives instead of its usual one."""


def is_settled(run: MigrationRun, key: str) -> bool:
    """Whether the run `key` came to its end, well or not."""
    succeeded = condition_of(run.status.conditions, SUCCEEDED)
    return run.status.run_key == key and succeeded is not None and succeeded.status != "Unknown"


def settled(run: MigrationRun) -> list[Finding]:
    """The conditions of a run that has ended, whatever was found of its surroundings since."""
    succeeded = condition_of(run.status.conditions, SUCCEEDED)
    assert succeeded is not None
    if succeeded.status == "True":
        return went_well(succeeded.reason, succeeded.message)
    return of_problem(Terminal(succeeded.reason, succeeded.message))


def went_well(reason: str, message: str) -> list[Finding]:
    ready = reason if reason in _WORTH_SAYING else "Ready"
    return [Finding(READY, "True", ready, message), Finding(SUCCEEDED, "True", reason, message)]


def ended(result: Result) -> list[Finding]:
    """The conditions that a result makes. One that is tried again says nothing of Succeeded yet."""
    problem = result.problem
    if problem is None:
        return went_well(result.reason, result.message)
    found = of_problem(problem)
    if isinstance(problem, Terminal | NeedsDecision):
        found.append(Finding(SUCCEEDED, "False", problem.reason, problem.message))
    return found


def refused(run: MigrationRun, problem: Problem) -> list[Finding]:
    """The conditions of a problem before there is a Job. How an earlier run for the same spec ended still stands."""
    found = of_problem(problem)
    succeeded = condition_of(run.status.conditions, SUCCEEDED)
    if succeeded is None or succeeded.status == "Unknown" or succeeded.observed_generation != run.metadata.generation:
        found.append(Finding(SUCCEEDED, "Unknown", problem.reason, problem.message))
    return found


def seen_in(run: MigrationRun, result: Result) -> dict[str, Any]:
    """The fields of the status that a result fills in."""
    return {
        "fromVersion": result.from_version,
        "version": result.version,
        "pending": result.pending,
        "applied": _applied(run, result),
        "failed": {name: result.failed.get(name) for name in FailedMigration.model_fields} if result.failed else None,
        "seeds": _seeds(run, result),
        "tenants": result.tenants,
    }


def _seeds(run: MigrationRun, result: Result) -> list[Mapping[str, Any]]:
    """What each file of seeds has put in at its last time; nothing once they were cleared."""
    if run.spec.action == "ClearSeeds" and result.problem is None:
        return []
    new = {one["file"]: one for one in result.seeds}
    before = {one.file: one.as_json() for one in run.status.seeds}
    return list({**before, **new}.values())[-LISTED_SEEDS:]


def _applied(run: MigrationRun, result: Result) -> list[Mapping[str, Any]]:
    """The last migrations: what was listed before and what came, or less what was taken back. One that went over many
    schemas is listed once."""
    touched = {one["version"]: one for one in result.applied}
    before = [one.as_json() for one in run.status.applied if one.version not in touched]
    new = [] if run.spec.action == "Down" else touched.values()
    return [*before, *new][-LISTED_MIGRATIONS:]
