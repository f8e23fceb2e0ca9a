"""A verification in a scratch database of its own, outside of Kubernetes."""

from collections.abc import Sequence
from dataclasses import replace

from servicedb.errors import Problem
from servicedb.jobs.progress import SILENT, Progress
from servicedb.jobs.restore.request import Request, Result
from servicedb.jobs.restore.restore import opened
from servicedb.jobs.restore.verify import verify
from servicedb.postgres.backups.scratch import scratch
from servicedb.postgres.backups.target import Assertion
from servicedb.postgres.migrations.session import Connect
from servicedb.store.interface import Store


def in_scratch(
    request: Request,
    admin: Connect,
    store: Store,
    assertions: Sequence[Assertion] = (),
    progress: Progress = SILENT,
) -> Result:
    """`verify`, in a database that is made by `admin` (CREATEDB and CREATEROLE) and dropped however it ends."""
    result = Result(action="verify", key=request.key)
    try:
        backup = opened(request, store, result)
        with scratch(admin, backup.manifest.extensions) as connect_to:
            return verify(replace(request, as_role=None), connect_to, store, assertions, progress)
    except Problem as problem:
        result.failed_with(problem)
    return result
