"""What status, plan and verify say: the source beside the history, and nothing done."""

from servicedb.errors import Problem
from servicedb.jobs.migrate.engine import planned
from servicedb.jobs.migrate.request import Action, Request
from servicedb.jobs.migrate.result import Result, Row
from servicedb.plan.migrations.history import History, State
from servicedb.plan.migrations.source import Source
from servicedb.plan.migrations.up import Apply, UpPlan


def compare(request: Request, source: Source, history: History, result: Result) -> None:
    """Raises nothing: what is wrong is said in `result`."""
    result.from_version = result.version = None if history.version is None else str(history.version)
    result.reason = {Action.STATUS: "Status", Action.PLAN: "Planned", Action.VERIFY: "Verified"}[request.action]
    plan, problem = UpPlan(()), None
    try:
        plan = planned(request, source, history)
    except Problem as found:
        problem = found
    result.pending = [step.migration.key for step in plan.steps if isinstance(step, Apply)]
    shown = rows(source, history)
    result.rows = [row for row in shown if row.state != "applied"] if request.action is Action.PLAN else shown
    if problem is not None:
        result.failed_with(problem)
    elif plan.ahead:
        result.reason = "DatabaseAhead"


def rows(source: Source, history: History) -> list[Row]:
    """Every migration of either, in order, and where it stands."""
    found = []
    for migration in source.migrations:
        applied = history.find(migration.key)
        if applied is None:
            state = "pending"
        elif applied.state is not State.APPLIED:
            state = str(applied.state)
        else:
            state = "applied" if applied.checksum in (None, migration.checksum) else "changed"
        found.append(Row(migration.key, migration.name, state, applied.milliseconds if applied else None))
    known = {migration.key for migration in source.migrations}
    found += [
        Row(one.key, one.name, "missing" if one.state is State.APPLIED else str(one.state), one.milliseconds)
        for one in history.applied
        if one.key not in known
    ]
    return found
