"""The start marker of a running backup: written first, and again each minute."""

import threading
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from servicedb.errors import Problem
from servicedb.jobs.backup.stream import Location
from servicedb.plan.backups.manifest import Started

_EVERY_SECONDS = 60.0


class Heartbeat:
    """While the block runs, the marker is written again. The first time has to go well: else it raises Problem."""

    def __init__(self, key: str, locations: Sequence[Location], *, run: str, started_at: datetime) -> None:
        self._key = key
        self._locations = locations
        self._marker = Started(run=run, started_at=started_at, beat_at=started_at)
        self._begun = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        for location in self._locations:
            try:
                self._write(location)
            except Problem as problem:
                if not location.is_copy:
                    raise
                location.failure = problem
        self._thread.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(_EVERY_SECONDS):
            for location in self._locations:
                try:
                    self._write(location)
                except Exception:  # noqa: BLE001, S112 - without it the run would look dead while it is at work
                    continue  # the parts will tell; a marker that is some minutes old is still that of a live run

    def _write(self, location: Location) -> None:
        at = self._marker.started_at + timedelta(seconds=time.monotonic() - self._begun)
        location.store.put(self._key, [self._marker.at(at).as_bytes()])
