"""What makes a run of migrations the same one: while that is so there is nothing to do again."""

import hashlib
import json
from dataclasses import dataclass

from servicedb.api.common import RECONCILE_AT
from servicedb.api.migration_run import MigrationRun, MigrationRunSpec
from servicedb.api.migration_source import ImageSource

_ONE_WAY = frozenset({"Down", "ClearSeeds"})
_LONGEST_JOB_NAME = 52
_SUFFIX = 10


@dataclass(frozen=True, slots=True)
class RunKey:
    """`value` is what the status remembers, `job_name` the name of the one Job for it."""

    value: str
    job_name: str


def run_key(run: MigrationRun, *, source_digest: str, database_oid: str) -> RunKey:
    """A run is another one when the files, the spec or the database is. How its pod is run does not count.

    A new value of the annotation reconcile-at asks for the same once more; taken away, it asks for nothing.
    """
    asked = run.metadata.annotations.get(RECONCILE_AT, run.status.handled.reconcile_at)
    value = _digest(_wanted(run.spec), source_digest, database_oid, asked or "")
    of_object = _digest(run.metadata.uid, value)[:_SUFFIX]
    stem = run.metadata.name.replace(".", "-")[: _LONGEST_JOB_NAME - _SUFFIX - 1].rstrip("-")
    return RunKey(f"sha256:{value}", f"{stem}-{of_object}")


def named_by(image: ImageSource) -> str:
    """What stands for the digest of files that only a pod can see: a reference by digest means the same for ever."""
    return f"sha256:{_digest('image', image.reference, image.path)}"


def identity(run: MigrationRun) -> str | None:
    """Who asks for what can't be done twice: it stays the same when the object is made again. None for the rest."""
    if run.spec.action not in _ONE_WAY:
        return None
    return f"{run.metadata.namespace}/{run.metadata.name}/{_digest(_wanted(run.spec))[:16]}"


def _wanted(spec: MigrationRunSpec) -> object:
    return {name: value for name, value in spec.as_json().items() if name not in ("source", "job")}


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
