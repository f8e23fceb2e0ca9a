"""Where a Job stands, and what its pods have left: the message that ours leave, or Kubernetes' own words."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from servicedb.errors import NeedsDecision, Problem, Retryable, Terminal
from servicedb.plan.job_pod import EXIT_USAGE
from servicedb.plan.migration_image import pull_problem

State = Literal["Running", "Complete", "Failed"]

_PROBLEMS: Mapping[str, type[Problem]] = {"Retryable": Retryable, "Terminal": Terminal, "NeedsDecision": NeedsDecision}
_WAITS_FOR_NOTHING = frozenset({"ContainerCreating", "PodInitializing"})


@dataclass(frozen=True, slots=True)
class Left:
    """The message that a pod of ours leaves at its end. `problem` None: it went well; `values` is the message whole."""

    reason: str
    message: str
    problem: Problem | None
    values: Mapping[str, Any]


def job_state(job: Mapping[str, Any]) -> State:
    """Where the Job stands. It has failed only when none of its pods is left at work."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            return "Complete" if condition["type"] == "Complete" else "Failed"
    return "Running"


def ended_at(job: Mapping[str, Any]) -> str:
    """When the Job ended, as the API server writes times."""
    status = job.get("status") or {}
    times = [
        one["lastTransitionTime"] for one in status.get("conditions") or () if one["type"] in ("Complete", "Failed")
    ]
    return str(status.get("completionTime") or max(times, default=job["metadata"]["creationTimestamp"]))


def failed_by(job: Mapping[str, Any]) -> str | None:
    """Kubernetes' reason for which the Job has failed."""
    return next((str(one.get("reason")) for one in _failures(job)), None)


def waiting_for(pods: Sequence[Mapping[str, Any]]) -> str | None:
    """What keeps the newest pod from beginning, as far as it can in Kubernetes' words; None where nothing does."""
    for pod in _newest_first(pods)[:1]:
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


def is_at_work(pods: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a container of a pod runs, so that ending it would end a session that may be in the middle."""
    return any(
        "running" in (container.get("state") or {})
        for pod in pods
        for container in (pod.get("status") or {}).get("containerStatuses") or ()
    )


def endings(pods: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """How the containers of `pods` ended, each as Kubernetes has it under `terminated`, the newest pod's first."""
    return [ended for pod in _newest_first(pods) if (ended := _terminated(pod)) is not None]


def left_in(ended: Mapping[str, Any]) -> Left | None:
    """The message in such an ending; None for what is no message of ours."""
    try:
        told = json.loads(str(ended.get("message") or ""))
        reason, words = str(told["reason"]), str(told["message"])
        kind = None if told["outcome"] == "Succeeded" else _PROBLEMS[told["outcome"]]
    except (ValueError, TypeError, KeyError):
        return None
    return Left(reason, words, kind(reason, words) if kind is not None else None, told)


def last_words(pods: Sequence[Mapping[str, Any]]) -> str | None:
    """Why the newest pod that has ended did so, where another is to take its place."""
    for ended in endings(pods):
        left = left_in(ended)
        return left.message if left is not None and left.problem is not None else _exit(ended)
    return None


def why(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> str:
    """All that is known of why the Job failed, where no pod of it left a message."""
    words = [f"{one.get('reason')}: {one.get('message', '')}".strip(": ") for one in _failures(job)]
    if (last := last_words(pods)) is not None:
        words.append(last)
    return "; ".join(words) or "nothing is known of its pod"


def not_understood(pods: Sequence[Mapping[str, Any]]) -> Terminal | None:
    """The problem of a command line that the Job's image does not know."""
    if not any(ended.get("exitCode") == EXIT_USAGE for ended in endings(pods)):
        return None
    return Terminal(
        "JobRefused",
        "the Job's image does not understand what it is asked, and is of another release than the operator, most "
        "likely; have an admin look at SERVICEDB_JOB_IMAGE",
    )


def _newest_first(pods: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(pods, key=lambda pod: str((pod.get("metadata") or {}).get("creationTimestamp", "")), reverse=True)


def _terminated(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        ended: Mapping[str, Any] | None = (container.get("state") or {}).get("terminated")
        if ended:
            return ended
    return None


def _failures(job: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for one in (job.get("status") or {}).get("conditions") or () if one.get("type") == "Failed"]


def _exit(ended: Mapping[str, Any]) -> str:
    return f"its container ended with exit code {ended.get('exitCode')} ({ended.get('reason')})"
