"""Which run of a RetentionPolicy is due: by its schedule, by the annotation run-at, or to plan for a new spec."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from servicedb.api.common import HANDLED_LENGTH, RUN_AT
from servicedb.api.retention_policy import RetentionPolicy
from servicedb.plan.backups.cron import last_due
from servicedb.plan.backups.pod import hashed_name


@dataclass(frozen=True, slots=True)
class Due:
    """A run. `name` is that of its Job, and follows from what it is for; `handled` is what status.handled says once
    it has come to its end; `time` is that of spec.schedule, None where it is due by something else."""

    name: str
    handled: Mapping[str, Any] = field(default_factory=dict)
    time: datetime | None = None


def due(policy: RetentionPolicy, now: datetime) -> Due | None:
    """The run that has to be begun, or that goes on; None where none is due. Raises Terminal for no line of cron."""
    status, mode = policy.status.handled, policy.spec.mode
    asked = policy.metadata.annotations.get(RUN_AT)
    if asked is not None and asked[:HANDLED_LENGTH] != status.run_at:
        return Due(_name(policy, "run-at", asked), {"runAt": asked[:HANDLED_LENGTH]})
    if mode == "Plan" and status.planned_generation != policy.metadata.generation:
        generation = policy.metadata.generation
        return Due(_name(policy, "generation", str(generation)), {"plannedGeneration": generation})
    made = policy.metadata.creation_timestamp
    time = last_due(policy.spec.schedule, policy.spec.time_zone, now)
    if time is None or made is None or time < made or (status.ran_for is not None and time <= status.ran_for):
        return None
    return Due(_name(policy, "schedule", time.isoformat()), {"ranFor": shown(time)}, time)


def is_too_late(policy: RetentionPolicy, run: Due, now: datetime) -> bool:
    """Whether `run` is not to be begun any more, nor tried again."""
    return run.time is not None and now - run.time > policy.spec.starting_deadline.timedelta


def shown(time: datetime) -> str:
    """As the API server writes times."""
    return time.isoformat().replace("+00:00", "Z")


def _name(policy: RetentionPolicy, *why: str) -> str:
    return hashed_name(policy.metadata.name, policy.metadata.uid, policy.spec.mode, *why)
