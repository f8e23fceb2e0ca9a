"""Who stands in the way of a session that waits for a lock: seen from a second one, while it waits."""

import threading
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

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


@dataclass(slots=True)
class Watch:
    """While the block runs, notes who blocks `connection`. It connects only after `patience` seconds."""

    connection: Connection[Any]
    connect_to: Connect
    patience: float
    blockers: tuple[Blocker, ...] = ()
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look, args=(self.connection.info.backend_pid,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _look(self, pid: int) -> None:
        if self._over.wait(self.patience):
            return
        try:
            with connect(self.connect_to, Guards(), application="servicedb-watch") as watching:
                while not self._over.is_set():
                    rows = watching.execute(
                        "SELECT pid, application_name FROM pg_catalog.pg_stat_activity "
                        "WHERE pid = ANY (pg_catalog.pg_blocking_pids(%s))",
                        (pid,),
                    ).fetchall()
                    if rows:
                        self.blockers = tuple(Blocker(blocker, name or "") for blocker, name in rows)
                    self._over.wait(_EVERY_SECONDS)
        except (psycopg.Error, Problem):
            return  # who it was is then not known, and the wait counts as any other
