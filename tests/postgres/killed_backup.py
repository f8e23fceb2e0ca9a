"""A backup, or a restore, in a process of its own that is killed at a chosen moment.

Moments of a backup are the begin of each object, each piece of it, and its end; those of a restore each piece of a
script that psql gets, and what is changed in the target by ourselves.
"""

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psycopg
from servicedb.jobs.backup.backup import backup
from servicedb.jobs.backup.request import Request as BackupRequest
from servicedb.jobs.restore.request import Request as RestoreRequest
from servicedb.jobs.restore.restore import restore
from servicedb.jobs.restore.script import _Passing
from servicedb.store.folder import FolderStore

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])

Request = BackupRequest | RestoreRequest


def killed_at(request: Request, dsn: str, root: Path, moment: int, count: Path | None = None) -> ForkServerProcess:
    """A run that was killed at that moment; never for 0, and then `count` gets how many there are."""
    process = _context.Process(target=_run, args=(request, dsn, root, moment, count))
    process.start()
    process.join()
    return process


def moments(request: Request, dsn: str, root: Path, file: Path) -> int:
    """How many there are in a run that nothing comes between."""
    process = killed_at(request, dsn, root, 0, file)
    assert process.exitcode == 0
    found: int = json.loads(file.read_text())
    return found


class _Clock:
    def __init__(self, moment: int) -> None:
        self._moment = moment
        self._lock = threading.Lock()
        self.count = 0

    def tick(self) -> None:
        with self._lock:
            self.count += 1
            if self.count == self._moment:
                os.kill(os.getpid(), signal.SIGKILL)


class _Counted(FolderStore):
    def __init__(self, root: Path, tick: Callable[[], None]) -> None:
        super().__init__(root)
        self._tick = tick

    def put(self, key: str, chunks: Iterable[bytes], *, expected_bytes: int = 0) -> None:
        self._tick()
        super().put(key, self._pieces(chunks), expected_bytes=expected_bytes)
        self._tick()

    def _pieces(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            self._tick()


def _run(request: Request, dsn: str, root: Path, moment: int, count: Path | None) -> None:
    clock = _Clock(moment)
    if isinstance(request, BackupRequest):
        outcome: Any = backup(request, lambda: dsn, _Counted(root, clock.tick))
    else:
        _count_scripts(clock)
        outcome = restore(request, lambda: dsn, FolderStore(root))
    if count is not None:
        count.write_text(json.dumps(clock.count))
    raise SystemExit(outcome.exit_code)


def _count_scripts(clock: _Clock) -> None:
    write, execute = _Passing._write, psycopg.Connection.execute

    def written(passing: Any, piece: bytes) -> bool:
        clock.tick()
        taken = write(passing, piece)
        clock.tick()
        return taken

    def executed(connection: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        text = query if isinstance(query, str) else query.decode() if isinstance(query, bytes) else query.as_string()
        if text.startswith(("CREATE", "DROP", "GRANT", "REVOKE", "ALTER", "ANALYZE")):
            clock.tick()
        return execute(connection, query, *arguments, **options)

    _Passing._write = written  # type: ignore[method-assign,assignment]
    psycopg.Connection.execute = executed  # type: ignore[method-assign,assignment]
