"""A verification: a backup is restored into a scratch database, compared, and asked."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from servicedb.errors import Problem, Terminal
from servicedb.jobs.progress import SILENT, Progress
from servicedb.jobs.restore.request import Request, Result
from servicedb.jobs.restore.restore import compare, load, opened
from servicedb.postgres.backups.session import Way
from servicedb.postgres.backups.target import Assertion, Target
from servicedb.postgres.migrations.session import Connect
from servicedb.store.interface import Store


def verify(
    request: Request,
    connect_to: Connect,
    store: Store,
    assertions: Sequence[Assertion] = (),
    progress: Progress = SILENT,
) -> Result:
    """Restore a backup into an empty database that nobody needs, and see that it is what was backed up.

    Never raises a Problem: the result holds it. Privileges are not given: the roles are those of another server.
    """
    result = Result(action="verify", key=request.key)
    begun = time.monotonic()
    try:
        backup = opened(request, store, result)
        with Target.open(Way(connect_to, request.as_role), wait=request.wait, tell=progress.tell) as target:
            begun = time.monotonic()
            loaded = load(request, backup, target, connect_to, progress)
            result.seconds = round(time.monotonic() - begun, 3)
            # Privileges are not counted: the roles are those of another server, and stand for nobody here.
            compare(request, backup, replace(loaded, lost=()), target, result)
            _ask(target, assertions, result)
            target.end()
        result.reason = "Verified"
    except Problem as problem:
        result.failed_with(problem)
    if result.seconds is None:
        result.seconds = round(time.monotonic() - begun, 3)
    return result


def _ask(target: Target, assertions: Sequence[Assertion], result: Result) -> None:
    result.assertions = [{"name": one.name, "passed": target.answers(one)} for one in assertions]
    if failed := [one["name"] for one in result.assertions if not one["passed"]]:
        raise Terminal(
            "AssertionFailed",
            f"the restored database answers otherwise than expected to {', '.join(failed)}; see what they ask",
        )


def read_assertions(file: Path) -> list[Assertion]:
    """Those in a JSON file: {"name", "sql", "expect"}, or a list of these. Raises Terminal where it is none."""
    try:
        given = json.loads(file.read_text())
        each = given if isinstance(given, list) else [given]
        return [Assertion(str(one["name"]), str(one["sql"]), str(one["expect"])) for one in each]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise Terminal(
            "BadAssertions", f'{file} holds no {{"name": ..., "sql": ..., "expect": ...}} in JSON, nor a list of these'
        ) from error
