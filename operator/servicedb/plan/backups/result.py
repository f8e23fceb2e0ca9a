"""What a Job of backups has come to: its pod's last message, or what Kubernetes says where there is none."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from servicedb.errors import NeedsDecision, Problem, Retryable, Terminal
from servicedb.plan.job_pod import EXIT_USAGE
from servicedb.plan.migration_result import job_state, last_words

_PROBLEMS: Mapping[str, type[Problem]] = {"Retryable": Retryable, "Terminal": Terminal, "NeedsDecision": NeedsDecision}


OF_THE_JOB = frozenset({"DeadlineExceeded", "OutOfMemory", "JobRefused"})
"""Reasons that speak of the Job alone, and not of the backup that it read."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a Job tells. `problem` None: it went well. `values` is the message as it is, empty where there is none."""

    problem: Problem | None = None
    values: Mapping[str, Any] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        value = self.values.get(name)
        return value if isinstance(value, str) else None

    def number(self, name: str) -> int | None:
        value = self.values.get(name)
        return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None

    def lines(self, name: str, most: int) -> list[str]:
        value = self.values.get(name)
        return [str(line)[:1024] for line in value[:most]] if isinstance(value, list) else []

    def parts(self, name: str) -> list[Mapping[str, Any]]:
        value = self.values.get(name)
        return [part for part in value if isinstance(part, Mapping)] if isinstance(value, list) else []


def told_by(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Told:
    """What the Job, which has ended, tells by the newest of its pods that left a message.

    That a Job would be of use if it were begun again is not for its pods to say where its time or its memory was too
    short: the next one would end alike, for ever.
    """
    told = _by_pods(job, pods)
    if isinstance(told.problem, Retryable) and job_state(job) != "Complete":
        if _failed_by(job) == "DeadlineExceeded":
            return Told(Terminal("DeadlineExceeded", f"{_TOO_LONG} ({_why(job, pods)})"))
        if _always_out_of_memory(pods):
            return Told(Terminal("OutOfMemory", f"{_TOO_LARGE} ({_why(job, pods)})"))
    return told


_TOO_LONG = (
    "the Job had not ended when its time was over, and another would not either; raise spec.deadline (or "
    "spec.parallel), and have it done anew"
)
_TOO_LARGE = (
    "each pod of the Job ran out of memory, and another would, too; raise memory in spec.job.resources.limits "
    "(or lower spec.parallel), and have it done anew"
)


def _by_pods(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Told:
    ended = [one for pod in sorted(pods, key=_made_at, reverse=True) if (one := _terminated(pod)) is not None]
    for one in ended:
        if (told := _read(str(one.get("message") or ""))) is not None:
            return told
    if job_state(job) == "Complete":
        return Told(
            Retryable("ResultLost", "what the Job has done was not kept; the next look into the store will tell")
        )
    if any(one.get("exitCode") == EXIT_USAGE for one in ended):
        return Told(
            Terminal(
                "JobRefused",
                "the Job's image does not understand what it is asked, and is of another release than the operator, "
                "most likely; have an admin look at SERVICEDB_JOB_IMAGE",
            )
        )
    return Told(Retryable("JobFailed", f"the Job ended without a result: {_why(job, pods)}"))


def ended_at(job: Mapping[str, Any]) -> str:
    """When the Job ended, as the API server writes times."""
    status = job.get("status") or {}
    times = [
        one["lastTransitionTime"] for one in status.get("conditions") or () if one["type"] in ("Complete", "Failed")
    ]
    return str(status.get("completionTime") or max(times, default=job["metadata"]["creationTimestamp"]))


def _read(message: str) -> Told | None:
    try:
        told = json.loads(message)
        reason, words = str(told["reason"]), str(told["message"])
        kind = None if told["outcome"] == "Succeeded" else _PROBLEMS[told["outcome"]]
    except (ValueError, TypeError, KeyError):
        return None
    return Told(kind(reason, words) if kind is not None else None, told)


def _made_at(pod: Mapping[str, Any]) -> str:
    return str((pod.get("metadata") or {}).get("creationTimestamp", ""))


def _terminated(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        ended: Mapping[str, Any] | None = (container.get("state") or {}).get("terminated")
        if ended:
            return ended
    return None


def _failed_by(job: Mapping[str, Any]) -> str | None:
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next((str(one.get("reason")) for one in conditions if one.get("type") == "Failed"), None)


def _always_out_of_memory(pods: Sequence[Mapping[str, Any]]) -> bool:
    ended = [one for pod in pods if (one := _terminated(pod)) is not None]
    return bool(ended) and all(one.get("reason") == "OOMKilled" for one in ended)


def _why(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> str:
    failed = [one for one in (job.get("status") or {}).get("conditions") or () if one.get("type") == "Failed"]
    words = [f"{one.get('reason')}: {one.get('message', '')}".strip(": ") for one in failed]
    if (last := last_words(pods)) is not None:
        words.append(last)
    return "; ".join(words) or "nothing is known of its pod"
