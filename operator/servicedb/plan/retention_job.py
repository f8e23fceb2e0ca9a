"""The Job of a RetentionPolicy: `servicedb retain run`, or `servicedb retain plan`, as a person could write it."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from servicedb.api.retention_policy import RetentionPolicy
from servicedb.api.strings import Duration
from servicedb.plan.backups.location import Location, locations
from servicedb.plan.backups.pod import OWNER_CREDENTIALS, POLICY, POLICY_FILE, Owner, Task
from servicedb.plan.job_pod import CREDENTIALS, Endpoint
from servicedb.plan.retention_gate import Proof

_MARGIN = timedelta(minutes=30)
"""So much longer than it is to take a run has, for the batch that it is in and what comes after."""
_LONGEST_SECONDS = 999_999


@dataclass(frozen=True, slots=True)
class Logins:
    """The Secrets: of the login that archives and deletes, and of that which works as the owner."""

    retain: str
    owner: str


def task(
    policy: RetentionPolicy, name: str, logins: Logins, endpoint: Endpoint, image: str, proof: Proof | None
) -> Task:
    """What the pod of the Job `name` does, by the policy's mode. All pods of that name go on with one run."""
    spec, metadata = policy.spec, policy.metadata
    places = locations(spec.archive, "Write") if spec.archive is not None else []
    plans = spec.mode == "Plan"
    return Task(
        work="retain",
        owner=Owner("RetentionPolicy", metadata.namespace, metadata.name, metadata.uid),
        arguments=tuple(_plan() if plans else _run(policy, name, places, proof)),
        image=image,
        settings=spec.job,
        deadline=_deadline(policy),
        locations=[] if plans else places,
        login=logins.retain,
        owner_login=logins.owner,
        endpoint=endpoint,
        policy=json.dumps(spec.as_json()),
    )


def _plan() -> Iterator[str]:
    yield from ("retain", "plan")
    yield from _common()


def _common() -> Iterator[str]:
    yield f"--secret={CREDENTIALS}"
    yield f"--owner-secret={OWNER_CREDENTIALS}"
    yield f"--policy={POLICY}/{POLICY_FILE}"
    yield "--termination-log=/dev/termination-log"


def _run(policy: RetentionPolicy, name: str, places: Sequence[Location], proof: Proof | None) -> Iterator[str]:
    spec = policy.spec
    yield from ("retain", "run")
    yield from _common()
    for number, place in enumerate(places):
        option = "store" if number == 0 else "copy"
        yield f"--{option}={place.url}"
        if place.credentials is not None or number > 0:
            yield f"--{option}-credentials={place.credentials or ''}"
    encryption = spec.archive.encryption if spec.archive is not None else None
    for recipient in encryption.age_recipients if encryption is not None else ():
        yield f"--recipient={recipient}"
    if proof is not None:
        yield f"--backup-digest={proof.digest}"
        yield f"--backup-time={proof.time.isoformat()}"
    yield f"--run={name}"
    yield f"--wait={_seconds(spec.starting_deadline.timedelta)}"


def _deadline(policy: RetentionPolicy) -> Duration:
    spec = policy.spec
    return Duration(f"{_seconds(spec.starting_deadline.timedelta + spec.limits.max_duration.timedelta + _MARGIN)}s")


def _seconds(time: timedelta) -> int:
    return min(int(time.total_seconds()), _LONGEST_SECONDS)
