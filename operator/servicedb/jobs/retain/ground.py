"""What every step of a run stands on: the sessions, the moment that it counts from, and where archives go."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from servicedb.jobs.progress import Progress
from servicedb.jobs.retain.archive import Archives
from servicedb.plan.retention.ledger import Run
from servicedb.plan.retention.rule import cutoff
from servicedb.postgres.retention.session import Sessions, lag, translated

_LOOK_AT_REPLICAS_SECONDS = 1.0


class TimeUp(Exception):
    """The run has lasted as long as it may: the next one goes on."""


@dataclass(slots=True, kw_only=True)
class Ground:
    """`until` is when the run has lasted long enough, by time.monotonic(); `batch_target` how long a batch may take;
    `most_lag` how far a replica may be behind."""

    sessions: Sessions
    run: Run
    open_archives: Callable[[], Archives]
    progress: Progress
    until: float
    batch_target: timedelta
    most_lag: timedelta
    most_rows: int | None = None
    _archives: Archives | None = None
    _looked: float = 0.0

    def before(self, age: timedelta) -> datetime:
        """What is older than `age` is before it."""
        return cutoff(self.run.now, age)

    def archives(self) -> Archives:
        """Where archives go: opened when the first one does. Raises Problems."""
        if self._archives is None:
            self._archives = self.open_archives()
        return self._archives

    def breathe(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Between two batches: wait until the replicas have come near enough. Raises TimeUp."""
        while True:
            if (now := time.monotonic()) >= self.until:
                raise TimeUp
            if now - self._looked < _LOOK_AT_REPLICAS_SECONDS:
                return
            self._looked = now
            with translated():
                behind = lag(self.sessions.work)
            if behind is None or behind <= self.most_lag:
                return
            self.progress.tell(f"waiting: a replica is {behind.total_seconds():.0f} s behind")
            self._looked = 0.0
            sleep(_LOOK_AT_REPLICAS_SECONDS)
