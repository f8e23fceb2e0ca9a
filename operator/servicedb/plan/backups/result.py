"""What a Job of backups has come to: its pod's last message, or what Kubernetes says where there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from servicedb.errors import Problem, Retryable, Terminal
from servicedb.plan.job_status import endings, failed_by, job_state, left_in, not_understood, why

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
        if failed_by(job) == "DeadlineExceeded":
            return Told(Terminal("DeadlineExceeded", f"{_TOO_LONG} ({why(job, pods)})"))
        if _always_out_of_memory(pods):
            return Told(Terminal("OutOfMemory", f"{_TOO_LARGE} ({why(job, pods)})"))
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
    for ended in endings(pods):
        if (left := left_in(ended)) is not None:
            return Told(left.problem, left.values)
    if job_state(job) == "Complete":
        return Told(
            Retryable("ResultLost", "what the Job has done was not kept; the next look into the store will tell")
        )
    if (refused := not_understood(pods)) is not None:
        return Told(refused)
    return Told(Retryable("JobFailed", f"the Job ended without a result: {why(job, pods)}"))


def _always_out_of_memory(pods: Sequence[Mapping[str, Any]]) -> bool:
    ended = endings(pods)
    return bool(ended) and all(one.get("reason") == "OOMKilled" for one in ended)
