"""How a RetentionPolicy stands: conditions and status from what its Jobs have come to."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from servicedb.api.retention_policy import MOST_RULES, RetentionPolicy
from servicedb.api.retention_status import MOST_LINES, RulePlan, RuleRun
from servicedb.errors import Problem, Retryable, Terminal
from servicedb.plan.backups.progress import Ended
from servicedb.plan.conditions import READY, STALLED, Finding, condition_of, of_problem
from servicedb.plan.retention_due import shown

LAST_RUN: Final = "LastRunSucceeded"
AHEAD: Final = "PartitionsAhead"

_LIMITS = {
    "DeadlineExceeded": "the Job had not ended when its time was over; look at what holds its locks, raise "
    "spec.limits.maxDuration, or run it in parts with other rules",
    "OutOfMemory": "each pod of the Job ran out of memory; raise memory in spec.job.resources.limits",
}
"""What is to be done where Kubernetes has ended the Job, in the words of a policy."""


def ended(run: Ended) -> list[Finding]:
    """The conditions that a run makes which has come to its end."""
    problem = problem_of(run)
    if problem is not None:
        return [Finding(LAST_RUN, "False", problem.reason, problem.message), *_ahead(run)]
    message = run.told.text("message") or "the latest run has come to its end"
    return [Finding(LAST_RUN, "True", run.told.text("reason") or "Retained", message), *_ahead(run)]


def problem_of(run: Ended) -> Problem | None:
    """Why the run failed, as a policy says it."""
    problem = run.told.problem
    if problem is not None and problem.reason in _LIMITS:
        return Terminal(problem.reason, _LIMITS[problem.reason])
    return problem


def _ahead(run: Ended) -> Iterator[Finding]:
    """Whether partitions are made ahead, where the run has looked at that."""
    ahead = run.told.values.get("partitionsAhead")
    if ahead is False:
        said = [str(one["problem"]) for one in run.told.parts("rules") if one.get("problem")]
        yield Finding(AHEAD, "False", "NotMade", "; ".join(said) or "the latest run could not make all partitions")
    elif ahead is True:
        yield Finding(AHEAD, "True", "Made", "partitions are made ahead as far as spec.rules says")


def standing(policy: RetentionPolicy, found: Sequence[Finding], next_run: str) -> list[Finding]:
    """`found` of the latest run (where it is still there) with Ready, which is False while anything is: what was found
    of an earlier run stands until there is another."""
    before = policy.status.conditions
    latest = {one.type: one for one in found}
    kinds = (LAST_RUN, AHEAD) if _has_partitions(policy) else (LAST_RUN,)
    for kind in kinds:
        if kind not in latest and (stood := condition_of(before, kind)) is not None:
            latest[kind] = Finding(kind, stood.status, stood.reason, stood.message)
    result = [latest[kind] for kind in kinds if kind in latest]
    failed = next((one for one in result if one.status == "False"), None)
    if failed is not None:
        return [Finding(READY, "False", failed.reason, failed.message), *result]
    if LAST_RUN not in latest:
        result.append(Finding(LAST_RUN, "Unknown", "NotRunYet", "there was no run yet"))
    return [Finding(READY, "True", "Ready", f"the next run: {next_run}"), *result]


def over(policy: RetentionPolicy) -> tuple[str, ...]:
    """Conditions that the spec asks for no more."""
    return () if _has_partitions(policy) else (AHEAD,)


def _has_partitions(policy: RetentionPolicy) -> bool:
    return any(rule.partition is not None for rule in policy.spec.rules)


def with_problem(found: Sequence[Finding], problem: Problem) -> list[Finding]:
    """`found`, of which Ready is what `problem` says."""
    told = {one.type: one for one in (*found, *of_problem(problem))}
    return list(told.values())


def failed_for_good(run: Ended) -> Finding | None:
    """Stalled, where only a person can have the next run end otherwise."""
    problem = problem_of(run)
    if problem is None or isinstance(problem, Retryable):
        return None
    return Finding(STALLED, "True", problem.reason, problem.message)


def last_run(run: Ended) -> dict[str, Any]:
    """status.lastRun, every field of it, so that nothing of the run before is left. What a run that failed has done
    counts as well."""
    rules = [rule.as_json() for part in run.told.parts("rules")[:MOST_RULES] if (rule := _read(RuleRun, part))]
    return {
        "started": run.job["metadata"]["creationTimestamp"],
        "completed": shown(run.at),
        "archivedRows": _total(run, rules, "archivedRows"),
        "deletedRows": _total(run, rules, "deletedRows"),
        "rules": rules,
        "warnings": run.told.lines("warnings", MOST_LINES),
    }


def plan(run: Ended) -> dict[str, Any]:
    """status.plan."""
    rules = [rule.as_json() for part in run.told.parts("rules")[:MOST_RULES] if (rule := _read(RulePlan, part))]
    return {"at": shown(run.at), "rules": rules}


def _total(run: Ended, rules: Sequence[Mapping[str, Any]], name: str) -> int:
    """Of all rules: the message lists as many as it has room for."""
    totals = run.told.values.get("totals")
    told = totals.get(name) if isinstance(totals, Mapping) else None
    return told if isinstance(told, int) else sum(rule.get(name, 0) for rule in rules)


_Rule = TypeVar("_Rule", RuleRun, RulePlan)


def _read(model: type[_Rule], part: Mapping[str, Any]) -> _Rule | None:
    known = {name: value for name, value in part.items() if value is not None}
    try:
        return model.model_validate(
            {name: value[:MOST_LINES] if isinstance(value, list) else value for name, value in known.items()}
        )
    except ValidationError:
        return None
