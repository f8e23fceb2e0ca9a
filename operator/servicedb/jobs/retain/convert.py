"""Dividing a plain table by time while it is used: look, decide, and take what steps are left.

Each step is a transaction of its own. Killed between any two, the table is as it was but for a CHECK, and the same
command goes on from there.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from servicedb.errors import Problem, Retryable, Terminal
from servicedb.jobs.outcome import Outcome
from servicedb.jobs.progress import SILENT, Progress
from servicedb.plan.retention.calendar import Interval
from servicedb.plan.retention.convert import LOCKS, Conversion, Step, conversion, conversion_refusals
from servicedb.plan.retention.rule import Name
from servicedb.postgres.backups.session import Way
from servicedb.postgres.retention.convert import statements, take_step
from servicedb.postgres.retention.divisible import divisible, taken, youngest
from servicedb.postgres.retention.observe import observe
from servicedb.postgres.retention.session import Sessions, translated

_ATTEMPTS: Final = 10
_PAUSE_SECONDS: Final = 1.0
_PASSING: Final = ("LockTimeout", "ServerBusy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`premake` partitions, one or more, are made beside the old table; `only_plan` changes nothing."""

    name: Name
    column: str
    interval: Interval
    premake: int
    only_plan: bool = False
    wait: float | None = None


@dataclass(slots=True, kw_only=True)
class StepPlan:
    step: str
    lock: str
    statements: list[str]
    done: bool = False


@dataclass(slots=True, kw_only=True)
class Result(Outcome):
    """`until` is the end of what the `old` table holds as a partition, `partitions` are those ahead of it."""

    action: str = "retain convert"
    table: str = ""
    old: str | None = None
    until: str | None = None
    partitions: list[str] = field(default_factory=list)
    steps: list[StepPlan] = field(default_factory=list)

    def as_json(self, listed: int | None = None) -> dict[str, Any]:
        """With names as in an API; briefly in a pod's last message."""
        return Outcome.as_json(self, listed)


def convert(
    request: Request, way: Way, progress: Progress = SILENT, sleep: Callable[[float], None] = time.sleep
) -> Result:
    """Divide the table, or go on with it. Never raises a Problem: the result holds it."""
    result = Result(table=str(request.name))
    try:
        with Sessions.open(way, None, wait=request.wait, tell=progress.tell) as sessions:
            found = _looked_at(sessions, request)
            if found is None:
                result.message = f'table {request.name} is divided by range of "{request.column}" already'
                return result
            _describe(found, result)
            if not request.only_plan:
                _take_steps(sessions, found, result, progress, sleep)
    except Problem as problem:
        result.failed_with(problem)
        if _check_stands(result):
            result.message += (
                f"; a CHECK of {request.name} refuses rows from {result.until} on until the same command has come to "
                "its end"
            )
    return result


def _check_stands(result: Result) -> bool:
    left = {one.step for one in result.steps if not one.done}
    return bool(result.steps) and Step.ADD_CHECK not in left and Step.SWAP in left


def _looked_at(sessions: Sessions, request: Request) -> Conversion | None:
    """What is to be done; None where the table is as wanted. Raises Terminal where it can't be."""
    with translated():
        table = observe(sessions.work, request.name, request.column)
        if table is not None and table.strategy == "r" and table.partition_key == (request.column,):
            return None
        whole = None if table is None else divisible(sessions.work, table)
        if faults := conversion_refusals(request.name, whole, request.column):
            raise Terminal("NotConvertible", "; ".join(faults))
        assert whole is not None
        at = youngest(sessions.work, request.name, request.column)
        if at is None:
            raise Terminal(
                "NotConvertible",
                f'table {request.name}: a row\'s "{request.column}" lies after the year 9000; give such rows a time',
            )
        found = conversion(whole, request.column, request.interval, request.premake, at)
        if used := taken(sessions.work, found.new_names):
            raise Terminal(
                "NotConvertible",
                f"table {request.name}: the name {', '.join(map(str, used))}, which a partition would get, is in use; "
                "rename that",
            )
    return found


def _describe(found: Conversion, result: Result) -> None:
    result.old, result.until = str(found.old), found.until.isoformat(sep=" ")
    result.partitions = [str(one.name) for one in found.ahead]
    result.steps = [
        StepPlan(step=step, lock=LOCKS[step], statements=[one.as_string() for one in statements(found, step)])
        for step in found.steps
    ]


def _take_steps(
    sessions: Sessions, found: Conversion, result: Result, progress: Progress, sleep: Callable[[float], None]
) -> None:
    for step, said in zip(found.steps, result.steps, strict=True):
        progress.tell(f"{found.table.name}: {step}")
        _take(sessions, found, step, sleep)
        said.done = True


def _take(sessions: Sessions, found: Conversion, step: Step, sleep: Callable[[float], None]) -> None:
    for left in reversed(range(_ATTEMPTS)):
        try:
            with translated():
                take_step(sessions.work, found, step)
            return
        except Retryable as problem:
            if problem.reason not in _PASSING or not left:
                raise
            sleep(_PAUSE_SECONDS)
