"""A store: where backups lie. One interface over a bucket of S3 and a folder."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Stored:
    """An object of a store. `size` is in bytes, `modified` a time of the store's clock."""

    key: str
    size: int
    modified: datetime


class Store(Protocol):
    """Objects by key, below the prefix of a location. Several threads may use it at once.

    Everything here raises StoreAway, StoreFull and StoreRefused (store/problems.py); what asks for one object also
    NoSuchObject.
    """

    @property
    def location(self) -> str:
        """As a message names it: without credentials."""

    def put(self, key: str, chunks: Iterable[bytes], *, expected_bytes: int = 0) -> None:
        """Store what `chunks` give under `key`, as they come, in place of what was there.

        Nothing of it is ever seen under `key` before the last chunk has come: if `chunks` raise, what was there stays,
        and so it does when this process is killed. A large object is sent in at most 10,000 pieces: they are made large
        enough for `expected_bytes`, and larger as the object grows.
        """

    def read(self, key: str) -> Iterator[bytes]:
        """The object's content, in pieces of a few megabytes."""

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """The `length` bytes from `start` on, which lies within the object; fewer where it ends before."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """The objects whose keys begin with `prefix` (empty: all), in no order: as many as there are, in little memory.

        A prefix is whole folders: it is empty, or ends in a slash.
        """

    def delete(self, key: str) -> None:
        """Delete exactly this object. It may be gone already."""
