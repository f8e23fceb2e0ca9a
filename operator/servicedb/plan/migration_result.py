"""What a migration's Job has come to: its pod's last message, or what Kubernetes says where there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from servicedb.errors import Problem, Retryable
from servicedb.plan.job_status import Left, endings, job_state, left_in, not_understood, why
from servicedb.plan.migration_image import copy_problem

_LISTED = 20


@dataclass(frozen=True, slots=True)
class Result:
    """A run as its pod tells it; `applied`, `failed`, `seeds` and `tenants` are as the status shows them.

    `problem` None: it went well.
    """

    reason: str
    message: str = ""
    problem: Problem | None = None
    from_version: str | None = None
    version: str | None = None
    pending: int | None = None
    applied: tuple[Mapping[str, Any], ...] = ()
    failed: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[Mapping[str, Any], ...] = ()
    tenants: Mapping[str, Any] | None = None
    source_digest: str | None = None


def result_of(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Result:
    """The result of a Job that has ended, by the newest pod that left a message.

    A message that was lost is asked for again: what was done is in the database's history, and is not done twice.
    """
    for ended in endings(pods):
        if (left := left_in(ended)) is not None and (read := _read(left)) is not None:
            return read
    problem = copy_problem(job, pods)
    if problem is None and job_state(job) == "Complete":
        problem = Retryable("ResultLost", "what the Job has done was not kept; the database is asked again")
    problem = problem or not_understood(pods)
    if problem is None:
        sentence = f"the Job ended without a result: {why(job, pods)}; it is tried again"
        problem = Retryable("JobFailed", sentence)
    return Result(problem.reason, problem.message, problem)


def _read(left: Left) -> Result | None:
    """What a pod has left; None for what is no message of a migration's."""
    told = left.values
    try:
        return Result(
            reason=left.reason,
            message=left.message,
            problem=left.problem,
            from_version=told.get("from_version"),
            version=told.get("version"),
            pending=told.get("pending_count"),
            applied=tuple(
                {name: value for name, value in one.items() if value is not None} for one in told.get("applied") or ()
            )[-_LISTED:],
            failed={name: value for name, value in (told.get("failed") or {}).items() if value is not None},
            seeds=tuple(told.get("seeds") or ()),
            tenants=told.get("tenants"),
            source_digest=told.get("source_digest"),
        )
    except (TypeError, AttributeError):
        return None
