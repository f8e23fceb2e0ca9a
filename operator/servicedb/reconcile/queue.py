"""The work queue: every change ends here as a key, and a key is never worked on twice at once.

Level-triggered: a key says that something may have changed, not what. An event during the work marks the key for one
more round; a failure backs off exponentially with jitter, for that key alone.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from servicedb.kube.resources import Key

_log = logging.getLogger(__name__)

Work = Callable[[Key], Awaitable[float | None]]
"""Works on one key; returns the seconds after which to come again, None for not by itself.

It raises `TryAgain` to be tried again with backoff; anything else that it raises is a bug, tried again alike.
"""


class TryAgain(Exception):
    """The work could not be finished now: try again after a backoff."""


class WorkQueue:
    """Keys waiting, keys at work, keys that wait for their time."""

    def __init__(self, work: Work, *, first_backoff: float = 0.5, longest_backoff: float = 300.0) -> None:
        self._work = work
        self._first_backoff = first_backoff
        self._longest_backoff = longest_backoff
        self._ready: asyncio.Queue[Key | None] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._dirty: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._workers: list[asyncio.Task[None]] = []

    @property
    def depth(self) -> int:
        """How many keys wait for a worker."""
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether nothing waits for a worker and nothing is being worked on."""
        return not self._waiting and not self._working

    def add(self, key: Key) -> None:
        """Have `key` worked on soon: at once, or once more after the work that is going on."""
        if key in self._working:
            self._dirty.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Have `key` worked on in `seconds`, unless it already will be sooner."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def start(self, workers: int) -> None:
        self._workers = [asyncio.create_task(self._run(), name=f"worker-{number}") for number in range(workers)]

    async def stop(self, grace: float) -> None:
        """Let the work that is going on end within `grace` seconds, then cancel it. Nothing new is begun."""
        self._cancel_timers()
        while not self._ready.empty():
            self._ready.get_nowait()
        for _ in self._workers:
            self._ready.put_nowait(None)
        if self._workers:
            _, late = await asyncio.wait(self._workers, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*self._workers, return_exceptions=True)
        self._cancel_timers()  # those that the last work has set

    def _cancel_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _due(self, key: Key) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def _run(self) -> None:
        while (key := await self._ready.get()) is not None:
            self._waiting.discard(key)
            self._working.add(key)
            try:
                await self._round(key)
            finally:
                self._working.discard(key)
            if key in self._dirty:
                self._dirty.discard(key)
                self.add(key)

    async def _round(self, key: Key) -> None:
        try:
            seconds = await self._work(key)
        except (Exception, asyncio.CancelledError) as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # this worker's own end, and not that of a task that the work had begun
            if not isinstance(error, TryAgain):
                _log.exception("the work on %s failed", key)
            self.add_after(key, self._backoff(key))
            return
        self._failures.pop(key, None)
        if seconds is not None:
            self.add_after(key, seconds)

    def _backoff(self, key: Key) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        longest = min(self._first_backoff * 2.0 ** min(failures - 1, 30), self._longest_backoff)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries, keeps no secret
