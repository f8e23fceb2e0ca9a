"""Chunks from one thread to another, a few at a time: whichever side fails, the other one is told."""

import threading
from collections import deque
from collections.abc import Iterator

_CHUNKS = 4


class Abandoned(Exception):
    """The other side takes no more: what it met is told there."""


class Handover:
    """One thread gives chunks, another iterates over them. Neither waits for a side that has gone.

    The iteration ends only where the giver said that all was given: it raises what the giver failed with.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._given = False
        self._failure: BaseException | None = None
        self._abandoned = False

    def give(self, chunk: bytes) -> None:
        """Hand over, once there is room. Raises Abandoned."""
        with self._condition:
            self._condition.wait_for(lambda: self._abandoned or len(self._chunks) < _CHUNKS)
            if self._abandoned:
                raise Abandoned
            self._chunks.append(chunk)
            self._condition.notify_all()

    def end(self) -> None:
        """That was all, and it is whole."""
        with self._condition:
            self._given = True
            self._condition.notify_all()

    def fail(self, failure: BaseException) -> None:
        """There will be no more, and what was given is not whole."""
        with self._condition:
            self._failure = failure
            self._condition.notify_all()

    def abandon(self) -> None:
        """Nothing more is taken."""
        with self._condition:
            self._abandoned = True
            self._chunks.clear()
            self._condition.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._chunks or self._given or self._failure is not None)
                if self._failure is not None:
                    raise self._failure
                if not self._chunks:
                    return
                chunk = self._chunks.popleft()
                self._condition.notify_all()
            yield chunk
