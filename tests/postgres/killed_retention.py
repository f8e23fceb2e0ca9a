"""A run of retention in a process of its own that is killed at a chosen moment.

Moments are before each statement that changes something, before and after each end of a transaction, and the begin of
each object, each piece of it, and its end.
"""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import psycopg
from psycopg.transaction import Transaction
from servicedb.jobs.retain.policy import policy_spec
from servicedb.jobs.retain.request import Request
from servicedb.jobs.retain.retain import retain
from servicedb.postgres.backups.session import Way
from servicedb.store.folder import FolderStore

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])

_CHANGES = ("CREATE", "DROP", "GRANT", "REVOKE", "ALTER", "INSERT", "WITH", "LOCK", "ANALYZE")


def killed_at(
    run: str, policy: str, ways: tuple[str, str, str], root: Path, moment: int, count: Path | None = None
) -> ForkServerProcess:
    """A run that was killed at that moment; never for 0, and then `count` gets how many there are.

    `ways` are the connection strings of the login and of the owner's, and the owner's name.
    """
    process = _context.Process(target=_run, args=(run, policy, ways, root, moment, count))
    process.start()
    process.join()
    return process


class _Clock:
    def __init__(self, moment: int) -> None:
        self._moment = moment
        self.count = 0

    def tick(self) -> None:
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

    def delete(self, key: str) -> None:
        self._tick()
        super().delete(key)
        self._tick()

    def _pieces(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            yield chunk
            self._tick()


def _run(run: str, policy: str, ways: tuple[str, str, str], root: Path, moment: int, count: Path | None) -> None:
    clock = _Clock(moment)
    _count_statements(clock)
    login, partition, owner = ways
    result = retain(
        Request(run=run),
        policy_spec(policy),
        Way(lambda: login),
        Way(lambda: partition, owner),
        lambda: [_Counted(root, clock.tick)],
    )
    if count is not None:
        count.write_text(json.dumps(clock.count))
    raise SystemExit(result.exit_code)


def _count_statements(clock: _Clock) -> None:
    execute, leave = psycopg.Connection.execute, Transaction.__exit__

    def executed(connection: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        text = query if isinstance(query, str) else query.decode() if isinstance(query, bytes) else query.as_string()
        if text.lstrip().startswith(_CHANGES):
            clock.tick()
        return execute(connection, query, *arguments, **options)

    def left(transaction: Any, *arguments: Any) -> Any:
        clock.tick()
        given = leave(transaction, *arguments)
        clock.tick()
        return given

    psycopg.Connection.execute = executed  # type: ignore[method-assign,assignment]
    Transaction.__exit__ = left  # type: ignore[method-assign]
