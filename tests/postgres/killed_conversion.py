"""A conversion in a process of its own that is killed at a chosen moment.

Moments are before and after each step, and before each statement of one.
"""

import json
import multiprocessing
import os
import signal
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psycopg
from psycopg.transaction import Transaction
from servicedb.jobs.retain.convert import Request, convert
from servicedb.postgres.backups.session import Way

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])

_CHANGES = ("CREATE", "DROP", "GRANT", "REVOKE", "ALTER", "LOCK", "ANALYZE", "COMMENT", "SELECT setval")


def converted_and_killed(
    request: Request, dsn: str, owner: str, moment: int, count: Path | None = None
) -> ForkServerProcess:
    """A run that was killed at that moment; never for 0, and then `count` gets how many there are."""
    process = _context.Process(target=_run, args=(request, dsn, owner, moment, count))
    process.start()
    process.join()
    return process


def _run(request: Request, dsn: str, owner: str, moment: int, count: Path | None) -> None:
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    execute, leave = psycopg.Connection.execute, Transaction.__exit__

    def executed(connection: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        text = query if isinstance(query, str) else query.decode() if isinstance(query, bytes) else query.as_string()
        if text.lstrip().startswith(_CHANGES):
            tick()
        return execute(connection, query, *arguments, **options)

    def left(transaction: Any, *arguments: Any) -> Any:
        tick()
        given = leave(transaction, *arguments)
        tick()
        return given

    psycopg.Connection.execute = executed  # type: ignore[method-assign,assignment]
    Transaction.__exit__ = left  # type: ignore[method-assign]
    result = convert(request, Way(lambda: dsn, owner))
    if count is not None:
        count.write_text(json.dumps(ticks))
    raise SystemExit(result.exit_code)
