"""Who stands in the way of a session that waits for a lock: seen from a second one, while it waits."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import Connection

from servicedb.errors import Problem
from servicedb.postgres.migrations.session import Connect, Guards, connect

_OURS = "servicedb"
_EVERY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Blocker:
    """A session, by its process and what it calls itself."""

    pid: int
    application: str

    @property
    def is_ours(self) -> bool:
        """A backup or another work of servicedb: it ends by itself."""
        return self.application.startswith(_OURS)

    def __str__(self) -> str:
        return f"session {self.pid} ({self.application or 'without a name'})"


@dataclass(frozen=True, slots=True)
class _Step:
    """What a session, by its process, is at, since when by time.monotonic()."""

    pid: int
    begun: float


@dataclass(slots=True)
class Watch:
    """Notes who blocks a step that takes longer than `patience` seconds: only then it connects.

    One thread looks at all steps, which are many and short: to begin one costs nothing.
    """

    connect_to: Connect
    patience: float
    blockers: tuple[Blocker, ...] = ()
    _step: _Step | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @contextlib.contextmanager
    def step(self, connection: Connection[Any]) -> Iterator[None]:
        """While the block runs, those who block `connection` are noted; those of the step before are forgotten."""
        self.blockers = ()
        self._step = _Step(connection.info.backend_pid, time.monotonic())
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="blockers", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self._step = None

    def close(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(self.patience / 4):
            step = self._step
            if step is not None and time.monotonic() - step.begun >= self.patience:
                self._look(step)

    def _look(self, step: _Step) -> None:
        try:
            with connect(self.connect_to, Guards(), application="servicedb-watch") as watching:
                while self._step is step and not self._over.is_set():
                    rows = watching.execute(
                        "SELECT pid, application_name FROM pg_catalog.pg_stat_activity "
                        "WHERE pid OPERATOR(pg_catalog.=) ANY (pg_catalog.pg_blocking_pids(%s))",
                        (step.pid,),
                    ).fetchall()
                    if rows and self._step is step:
                        self.blockers = tuple(Blocker(blocker, name or "") for blocker, name in rows)
                    self._over.wait(_EVERY_SECONDS)
        except (psycopg.Error, Problem):
            return  # who it was is then not known, and the wait counts as any other
