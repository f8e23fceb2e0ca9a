"""The Jobs of backups and retention: each mounts the Secrets that its work needs, and nothing else.

Source: Kubernetes documentation, "CronJob".
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from servicedb.api.common import API_VERSION, GROUP, MANAGED_BY
from servicedb.api.migration_job import JobSettings
from servicedb.api.strings import Duration
from servicedb.plan.backups.location import Location
from servicedb.plan.job_pod import (
    CREDENTIALS,
    Endpoint,
    annotation_files,
    command_container,
    connection,
    job_spec,
    login,
    pod_spec,
    seconds,
)

Work = Literal["backup", "verify", "restore", "prune", "delete", "list", "retain"]

OWNER_UID: Final = f"{GROUP}/owner-uid"
"""Label of Jobs, CronJobs and pods: the UID of the object that they work for."""
WORK: Final = f"{GROUP}/work"
"""Label: what they do."""
DATABASE: Final = f"{GROUP}/database"
"""Annotation: the ServiceDatabase whose backup is made."""
KEY: Final = f"{GROUP}/backup-key"
"""Annotation: the backup that is read."""
KEYS: Final = f"{GROUP}/backup-keys"
"""Annotation: the backups that are deleted, one a line."""
PLACE: Final = f"{GROUP}/place"
"""Annotation: the place that is pruned, 0 for the storage and from 1 on for the copies."""
SPEC_HASH: Final = f"{GROUP}/spec-hash"
"""Annotation of a CronJob: of what it was made from."""
CHANGED_AT: Final = f"{GROUP}/changed-at"
"""Annotation of a CronJob: when it was made, or last changed by the operator (RFC 3339)."""

LONGEST_NAME: Final = 52
"""So long may a CronJob's name be: its Jobs' names end in eleven characters more."""

IDENTITY: Final = "/run/servicedb/identity"
ASSERTIONS: Final = "/run/servicedb/assertions"
ASSERTIONS_FILE: Final = "assertions.json"
OWNER_CREDENTIALS: Final = "/run/servicedb/owner"
POLICY: Final = "/run/servicedb/policy"
POLICY_FILE: Final = "policy.json"

_HASH = 10
_ASSERTIONS = f"{GROUP}/assertions"
_POLICY = f"{GROUP}/policy"


@dataclass(frozen=True, slots=True)
class Owner:
    """The object that a Job works for, and goes with."""

    kind: str
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a pod does. `arguments` is the command line, in which nothing is secret.

    `login` is the Secret with user and password for `endpoint`; `identity` the Secret with age's private key;
    `assertions` is JSON, a list of them. `owner_login` is the Secret of a second login, which works as the owner;
    `policy` the spec of a RetentionPolicy, as JSON.
    """

    work: Work
    owner: Owner
    arguments: tuple[str, ...]
    image: str
    settings: JobSettings
    deadline: Duration
    locations: Sequence[Location] = ()
    login: str | None = None
    endpoint: Endpoint | None = None
    identity: str | None = None
    assertions: str | None = None
    owner_login: str | None = None
    policy: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Timing:
    """When a CronJob makes its Jobs."""

    schedule: str
    time_zone: str
    starting_deadline: Duration
    suspend: bool


def hashed_name(stem: str, *parts: str) -> str:
    """A name of at most 52 characters: `stem`, as far as it fits, and a hash of `parts`."""
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:_HASH]
    return f"{stem.replace('.', '-')[: LONGEST_NAME - _HASH - 1].rstrip('-')}-{digest}"


def job(task: Task, name: str) -> dict[str, Any]:
    """The Job as the API server takes it."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(task, name),
        "spec": _job_spec(task),
    }


def cron_job(task: Task, name: str, timing: Timing) -> dict[str, Any]:
    """The CronJob as the API server takes it: two of its Jobs are never at work together."""
    labels, notes = _labels(task), dict(task.notes)
    spec = {
        "schedule": timing.schedule,
        "timeZone": timing.time_zone,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": seconds(timing.starting_deadline),
        "suspend": timing.suspend,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {"metadata": {"labels": labels, "annotations": notes}, "spec": _job_spec(task)},
    }
    metadata = _metadata(task, name)
    digest = hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
    metadata["annotations"][SPEC_HASH] = digest
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata, "spec": spec}


def differs(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the CronJob `live` was made from something else than `wanted`, or was changed since in what decides when
    it runs and what. Fields that the API server fills in or writes another way are not compared."""
    return _essence(live) != _essence(wanted)


def _essence(cron_job: Mapping[str, Any]) -> tuple[Any, ...]:
    spec = cron_job["spec"]
    template = spec["jobTemplate"]["spec"]
    containers = template["template"]["spec"]["containers"]
    return (
        (cron_job["metadata"].get("annotations") or {}).get(SPEC_HASH),
        *(spec.get(name) for name in _DECIDES),
        template.get("activeDeadlineSeconds"),
        bool(template.get("suspend")),
        [(one["name"], one["image"], one.get("command"), one.get("args")) for one in containers],
    )


_DECIDES: Final = ("schedule", "timeZone", "suspend", "concurrencyPolicy", "startingDeadlineSeconds")


def _metadata(task: Task, name: str) -> dict[str, Any]:
    owner = task.owner
    return {
        "name": name,
        "namespace": owner.namespace,
        "labels": _labels(task),
        "annotations": dict(task.notes),
        "ownerReferences": [
            {
                "apiVersion": API_VERSION,
                "kind": owner.kind,
                "name": owner.name,
                "uid": owner.uid,
                "controller": True,
                "blockOwnerDeletion": False,
            }
        ],
    }


def _labels(task: Task) -> dict[str, str]:
    return {MANAGED_BY: "servicedb", OWNER_UID: task.owner.uid, WORK: task.work}


def _job_spec(task: Task) -> dict[str, Any]:
    template = {
        "metadata": {"labels": _labels(task), "annotations": dict(_files(task)) | dict(task.notes)},
        "spec": _pod(task),
    }
    return job_spec(template, task.deadline, container=task.work)


def _pod(task: Task) -> dict[str, Any]:
    volumes, mounts = _volumes(task)
    container = command_container(task.work, task.image, task.arguments, mounts, task.settings)
    return pod_spec([container], volumes, task.settings)


def _volumes(task: Task) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The volumes, and where they are mounted."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}, {"name": "tmp", "mountPath": "/tmp"})  # noqa: S108
    ]
    if task.login is not None:
        credentials = {"name": "credentials", "mountPath": CREDENTIALS, "readOnly": True}
        found.append((login(task.login, task.endpoint), credentials))
    if task.owner_login is not None:
        volume = login(task.owner_login, task.endpoint) | {"name": "owner"}
        found.append((volume, {"name": "owner", "mountPath": OWNER_CREDENTIALS, "readOnly": True}))
    if task.policy is not None:
        found.append(_projected("policy", POLICY, [annotation_files({POLICY_FILE: _POLICY})]))
    if task.identity is not None:
        secret = {"secret": {"name": task.identity, "items": [{"key": "identity", "path": "identity"}]}}
        found.append(_projected("identity", IDENTITY, [secret]))
    if task.assertions is not None:
        found.append(_projected("assertions", ASSERTIONS, [annotation_files({ASSERTIONS_FILE: _ASSERTIONS})]))
    for place in task.locations:
        if place.volume is not None and place.mount is not None:
            found.append((place.volume, place.mount))
    return [volume for volume, _ in found], [mount for _, mount in found]


def _projected(name: str, path: str, sources: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    volume = {"name": name, "projected": {"defaultMode": 0o440, "sources": sources}}
    return volume, {"name": name, "mountPath": path, "readOnly": True}


def _files(task: Task) -> Iterator[tuple[str, str]]:
    """Annotations of the pod that are mounted as files."""
    if task.endpoint is not None:
        yield from connection(task.endpoint)
    if task.assertions is not None:
        yield _ASSERTIONS, task.assertions
    if task.policy is not None:
        yield _POLICY, task.policy
