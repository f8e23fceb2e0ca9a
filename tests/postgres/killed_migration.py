"""A run of migrations in a process of its own that is killed at a chosen exchange with the server.

Every statement that changes something, COMMIT and piece of COPY data is an exchange; `exchanges` counts those of an
undisturbed run. Killed over what only looks or begins, a run leaves what it left after the exchange before.
"""

import json
import multiprocessing
import os
import re
import signal
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psycopg
from servicedb.jobs.migrate.migrate import migrate
from servicedb.jobs.migrate.request import Request

# Forks from a process that has imported everything: a hundred of them take as long as a few fresh interpreters.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


def killed_at(request: Request, files: Mapping[str, bytes], dsn: str, exchange: int) -> ForkServerProcess:
    """A run that was killed when it had sent what the server gets in that exchange, before any answer."""
    process = _context.Process(target=_run, args=(request, dict(files), dsn, exchange, None))
    process.start()
    process.join()
    return process


def started(request: Request, files: Mapping[str, bytes], dsn: str) -> ForkServerProcess:
    """A run that the test itself ends."""
    process = _context.Process(target=_run, args=(request, dict(files), dsn, 0, None))
    process.start()
    return process


def exchanges(request: Request, files: Mapping[str, bytes], dsn: str, file: Path) -> int:
    """How many there are in a run that nothing comes between."""
    process = _context.Process(target=_run, args=(request, dict(files), dsn, 0, file))
    process.start()
    process.join()
    assert process.exitcode == 0
    count: int = json.loads(file.read_text())
    return count


_CHANGES_NOTHING = re.compile(
    r"\s*(SELECT (?!pg_catalog\.pg_advisory)|BEGIN|SET |SAVEPOINT|RELEASE|SHOW|RESET|CLOSE|UNLISTEN|DEALLOCATE|DISCARD"
    r"|$)",
    re.IGNORECASE,
)


def changes(generator: Any) -> bool:
    """Whether an exchange may change something, by psycopg's own words: a query's text, the end of a transaction."""
    known = generator.gi_frame.f_locals if getattr(generator, "gi_frame", None) is not None else {}
    text = known.get("query", known.get("command"))
    if text is None:
        return getattr(generator, "__name__", "").startswith(("_exit", "_commit", "copy", "_start_copy"))
    words = text if isinstance(text, str) else text.decode() if isinstance(text, bytes) else text.as_string(None)
    return any(_CHANGES_NOTHING.match(statement) is None for statement in words.split(";"))


def _run(request: Request, files: dict[str, bytes], dsn: str, exchange: int, file: Path | None) -> None:
    count = 0
    wait = psycopg.Connection.wait

    def counted(connection: Any, generator: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += changes(generator)
        if changes(generator) and count == exchange:
            next(generator, None)  # sends it, and would wait for the answer now
            os.kill(os.getpid(), signal.SIGKILL)
        return wait(connection, generator, *arguments, **options)

    psycopg.Connection.wait = counted  # type: ignore[method-assign,assignment]
    result = migrate(request, files, lambda: dsn)
    if file is not None:
        file.write_text(json.dumps(count))
    raise SystemExit(result.exit_code)
