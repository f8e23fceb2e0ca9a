"""What a Job has come to: its pod's last message, or what Kubernetes says where there is none."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from servicedb.errors import NeedsDecision, Problem, Retryable, Terminal
from servicedb.plan.job_pod import EXIT_USAGE
from servicedb.plan.migration_image import copy_problem, pull_problem

State = Literal["Running", "Complete", "Failed"]

_LISTED = 20
_PROBLEMS = {"Retryable": Retryable, "Terminal": Terminal, "NeedsDecision": NeedsDecision}
_WAITS_FOR_NOTHING = frozenset({"ContainerCreating", "PodInitializing"})


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


def job_state(job: Mapping[str, Any]) -> State:
    """Where the Job stands. It has failed only when none of its pods is left at work."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            return "Complete" if condition["type"] == "Complete" else "Failed"
    return "Running"


def result_of(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Result:
    """The result of a Job that has ended, by the newest pod that left a message.

    A message that was lost is asked for again: what was done is in the database's history, and is not done twice.
    """
    for pod in sorted(pods, key=_made_at, reverse=True):
        if (ended := _terminated(pod)) is not None and (read := _read(str(ended.get("message") or ""))) is not None:
            return read
    if (problem := copy_problem(job, pods)) is not None:
        return Result(problem.reason, problem.message, problem)
    if job_state(job) == "Complete":
        lost = Retryable("ResultLost", "what the Job has done was not kept; the database is asked again")
        return Result(lost.reason, lost.message, lost)
    if any((ended := _terminated(pod)) is not None and ended.get("exitCode") == EXIT_USAGE for pod in pods):
        refused = Terminal(
            "JobRefused",
            "the Job's image does not understand what it is asked, and is of another release than the operator, most "
            "likely; have an admin look at SERVICEDB_JOB_IMAGE",
        )
        return Result(refused.reason, refused.message, refused)
    failure = Retryable("JobFailed", f"the Job ended without a result: {_why(job, pods)}; it is tried again")
    return Result(failure.reason, failure.message, failure)


def waiting_for(pods: Sequence[Mapping[str, Any]]) -> str | None:
    """What keeps the newest pod from beginning, as far as it can in Kubernetes' words; None where nothing does."""
    for pod in sorted(pods, key=_made_at, reverse=True)[:1]:
        if (sentence := pull_problem(pod)) is not None:
            return sentence
        status = pod.get("status") or {}
        for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            waiting = (container.get("state") or {}).get("waiting")
            if waiting and waiting.get("reason") not in _WAITS_FOR_NOTHING:
                return f"{waiting.get('reason')}: {waiting.get('message', '')}".strip(": ")
        for condition in status.get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                return f"{condition.get('reason')}: {condition.get('message', '')}".strip(": ")
    return None


def last_words(pods: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the newest pod that has ended did so, where another is to take its place."""
    for pod in sorted(pods, key=_made_at, reverse=True):
        if (ended := _terminated(pod)) is not None:
            read = _read(str(ended.get("message") or ""))
            return read.message if read is not None and read.problem is not None else _exit(ended)
    return None


def is_at_work(pods: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a container of a pod runs, so that ending it would end a session that may be in the middle."""
    return any(
        "running" in (container.get("state") or {})
        for pod in pods
        for container in (pod.get("status") or {}).get("containerStatuses") or ()
    )


def _made_at(pod: Mapping[str, Any]) -> str:
    return str((pod.get("metadata") or {}).get("creationTimestamp", ""))


def _terminated(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        ended: Mapping[str, Any] | None = (container.get("state") or {}).get("terminated")
        if ended:
            return ended
    return None


def _why(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> str:
    failed = [one for one in (job.get("status") or {}).get("conditions") or () if one.get("type") == "Failed"]
    words = [f"{one.get('reason')}: {one.get('message', '')}".strip(": ") for one in failed]
    if (last := last_words(pods)) is not None:
        words.append(last)
    return "; ".join(words) or "nothing is known of its pod"


def _exit(ended: Mapping[str, Any]) -> str:
    return f"its container ended with exit code {ended.get('exitCode')} ({ended.get('reason')})"


def _read(message: str) -> Result | None:
    """What a pod has left; None for what is no such message."""
    try:
        told = json.loads(message)
        reason, words = str(told["reason"]), str(told["message"])
        kind = None if told["outcome"] == "Succeeded" else _PROBLEMS[told["outcome"]]
        return Result(
            reason=reason,
            message=words,
            problem=kind(reason, words) if kind is not None else None,
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
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
