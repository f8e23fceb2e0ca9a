"""Rows as COPY gives them, read once: how many, their digest, and between which times they lie."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

_CHUNK_BYTES = 1 << 18


class Rows:
    """Rows of COPY's text, each with its time as its first field, in pieces of some hundred kilobytes.

    Read through once. Then `count` and `sha256` are those of all, and among `edges` are the oldest and the youngest
    time: which of them that is says the server, since not all times compare as their texts do.
    """

    def __init__(self, copied: Iterable[Any], progress: Callable[[int], None] = lambda _: None) -> None:
        self._copied = copied
        self._progress = progress
        self._sha256 = hashlib.sha256()
        self._low, self._high = b"", b""
        self._odd: set[bytes] = set()
        self.count = 0

    @property
    def sha256(self) -> str:
        return f"sha256:{self._sha256.hexdigest()}"

    @property
    def edges(self) -> list[str]:
        return sorted(one.decode() for one in {self._low, self._high, *self._odd} - {b""})

    def __iter__(self) -> Iterator[bytes]:
        held: list[bytes] = []
        size = 0
        for line in self._copied:
            row = bytes(line)
            self._note(row.partition(b"\t")[0].rstrip(b"\n"))
            self.count += 1
            held.append(row)
            size += len(row)
            if size >= _CHUNK_BYTES:
                yield self._joined(held)
                size = 0
        if held:
            yield self._joined(held)

    def _joined(self, held: list[bytes]) -> bytes:
        chunk = b"".join(held)
        held.clear()
        self._sha256.update(chunk)
        self._progress(len(chunk))
        return chunk

    def _note(self, at: bytes) -> None:
        if at[4:5] != b"-" or at.endswith(b"C"):  # infinity, before Christ, or a year of five digits
            self._odd.add(at)
        elif not self._low:
            self._low = self._high = at
        elif at < self._low:
            self._low = at
        elif at > self._high:
            self._high = at
