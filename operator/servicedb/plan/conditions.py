"""Conditions: from what happened to what `kubectl wait`, Argo CD and Flux read (kstatus)."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from servicedb.api.common import Condition, ConditionStatus
from servicedb.errors import Problem, Retryable

READY, RECONCILING, STALLED = "Ready", "Reconciling", "Stalled"


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition without its times."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""


def of_problem(problem: Problem) -> list[Finding]:
    """Ready, the condition that the problem names, and Reconciling or Stalled."""
    findings = []
    if problem.ready is not None:
        turned = (READY, problem.condition) if problem.condition is not None else (READY,)
        findings = [Finding(kind, problem.ready, problem.reason, problem.message) for kind in turned]
    kind = RECONCILING if isinstance(problem, Retryable) else STALLED
    findings.append(Finding(kind, "True", problem.reason, problem.message))
    return findings


def beside(finding: Finding, other: Finding) -> Finding:
    """`finding`, which hides nothing of what `other` of the same type has to say."""
    return replace(finding, message="; ".join(message for message in (finding.message, other.message) if message))


def merged(
    seen: Sequence[Condition],
    findings: Iterable[Finding],
    *,
    generation: int,
    now: datetime,
    over: Collection[str] = (),
) -> tuple[Condition, ...]:
    """`seen` brought up to `findings`. Reconciling and Stalled stand only while they are found; others stay, but those
    of the types in `over`.

    A transition time moves only with the status. Source: Kubernetes API conventions, "Typical status properties".
    """
    before = {condition.type: condition for condition in seen}
    found = {finding.type: finding for finding in findings}
    result = {
        kind: condition
        for kind, condition in before.items()
        if kind not in found and kind not in (RECONCILING, STALLED, *over)
    }
    for kind, finding in found.items():
        old = before.get(kind)
        result[kind] = Condition(
            type=kind,
            status=finding.status,
            reason=finding.reason,
            message=finding.message[:8192],
            last_transition_time=(
                old.last_transition_time if old and old.status == finding.status else now.replace(microsecond=0)
            ),
            observed_generation=generation,
        )
    order = {READY: 0, RECONCILING: 1, STALLED: 2}
    return tuple(sorted(result.values(), key=lambda condition: (order.get(condition.type, 3), condition.type)))


def as_before(seen: Iterable[Condition]) -> list[Finding]:
    """All of `seen` as they are, to be said of the present generation."""
    return [Finding(one.type, one.status, one.reason, one.message) for one in seen]


def condition_of(conditions: Sequence[Condition], kind: str) -> Condition | None:
    return next((condition for condition in conditions if condition.type == kind), None)
