"""How a part is stored: compressed by zstd, then encrypted by age, as it flows. And the way back.

A reader or writer here is what pyrage wants: an object with `read` or `write`, for one thread.
"""

import hashlib
import io
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import pyrage
import zstandard
from pyrage import x25519

from servicedb.errors import Terminal
from servicedb.jobs.handover import Abandoned, Handover

_CHUNK_BYTES = 1 << 20


def recipients(texts: Sequence[str]) -> list[x25519.Recipient]:
    """The age recipients. Raises Terminal for a text that is none."""
    read = []
    for text in texts:
        try:
            read.append(x25519.Recipient.from_str(text))
        except pyrage.RecipientError as error:
            raise Terminal(
                "BadRecipient", f'"{text}" is no age recipient: it begins with age1, as age-keygen prints it'
            ) from error
    return read


def identities(file: Path) -> list[x25519.Identity]:
    """The age identities in `file`, one a line. Raises Terminal where there are none; nothing of it is ever shown."""
    try:
        lines = file.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise Terminal(
            "NoIdentity", f"the age identity in {file} can't be read; is the Secret mounted there?"
        ) from error
    found = []
    for line in lines:
        if line.startswith("AGE-SECRET-KEY-"):
            try:
                found.append(x25519.Identity.from_str(line))
            except pyrage.IdentityError:
                raise Terminal("BadIdentity", f"an age identity in {file} can't be read: was it cut?") from None
    if not found:
        raise Terminal("NoIdentity", f"{file} holds no age identity: a line that begins with AGE-SECRET-KEY-")
    return found


@dataclass(slots=True)
class Written:
    """What has been written so far: of what came in, and of what goes to the store."""

    raw_bytes: int = 0
    size_bytes: int = 0
    _sha256: Any = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        return f"sha256:{self._sha256.hexdigest()}"

    def add(self, chunk: bytes) -> None:
        self.size_bytes += len(chunk)
        self._sha256.update(chunk)


def encode(
    chunks: Iterable[bytes],
    give: Callable[[bytes], None],
    *,
    level: int,
    to: Sequence[x25519.Recipient],
    written: Written,
) -> None:
    """Compress by `level` (0: not at all), encrypt `to` (empty: not at all), and give away in pieces of a megabyte."""
    out = _Pieces(give, written)
    source = _compressed(_counted(chunks, written), level)
    if to:
        failing = _Reader(source)
        try:
            pyrage.encrypt_io(failing, out, to)
        except (pyrage.EncryptError, OSError):
            # pyrage makes an error of its own of everything, and the first one says it better.
            if (error := failing.error or out.error) is None:
                raise
            raise error from None
    else:
        for chunk in source:
            out.write(chunk)
    out.finish()


def _counted(chunks: Iterable[bytes], written: Written) -> Iterator[bytes]:
    for chunk in chunks:
        written.raw_bytes += len(chunk)
        yield chunk


def _compressed(chunks: Iterable[bytes], level: int) -> Iterator[bytes]:
    if level == 0:
        yield from chunks
        return
    # The checksum is zstd's own: a damaged part is noticed by any other program that reads it, too.
    compressor = zstandard.ZstdCompressor(level=level, write_checksum=True).compressobj()
    for chunk in chunks:
        yield compressor.compress(chunk)
    yield compressor.flush()


def decrypted(chunks: Iterable[bytes], give: Callable[[bytes], None], keys: Sequence[x25519.Identity]) -> None:
    """Decrypt, and give away as it comes. Raises WrongKey, Damaged, and what `chunks` and `give` raise."""
    out = _Pieces(give, Written())
    source = _Reader(chunks)
    try:
        pyrage.decrypt_io(source, out, keys)
    except (pyrage.DecryptError, OSError) as error:
        if (first := source.error or out.error) is not None:
            raise first from None
        if isinstance(error, pyrage.DecryptError) and "matching" in str(error):
            raise WrongKey() from None
        raise Damaged() from None
    out.finish()


def decrypting(chunks: Iterator[bytes], keys: Sequence[x25519.Identity]) -> Iterator[bytes]:
    """What `chunks` hold, decrypted by a thread of its own. Raises as `decrypted` does."""
    way = Handover()
    thread = threading.Thread(target=_decrypt, args=(chunks, keys, way), name="decrypt", daemon=True)
    thread.start()
    try:
        yield from way
    finally:
        way.abandon()
        thread.join()


def _decrypt(chunks: Iterator[bytes], keys: Sequence[x25519.Identity], way: Handover) -> None:
    try:
        decrypted(chunks, way.give, keys)
        for _ in chunks:  # what comes after the end of it belongs to what was stored, too
            continue
        way.end()
    except Abandoned:
        return
    except BaseException as error:  # noqa: BLE001 - who reads has to know
        way.fail(error)


def checked(chunks: Iterable[bytes], size_bytes: int, sha256: str) -> Iterator[bytes]:
    """`chunks`, and Damaged at the end where they are not of that size and digest."""
    read = Written()
    for chunk in chunks:
        read.add(chunk)
        if read.size_bytes > size_bytes:
            raise Damaged
        yield chunk
    if (read.size_bytes, read.sha256) != (size_bytes, sha256):
        raise Damaged


def decompressed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """In pieces of a megabyte, however much a chunk holds. Raises Damaged where it is nothing of zstd's."""
    source = _Reader(chunks)
    with zstandard.ZstdDecompressor().stream_reader(cast(IO[bytes], source)) as reader:
        while True:
            try:
                piece = reader.read(_CHUNK_BYTES)
            except zstandard.ZstdError:
                raise Damaged from None
            if not piece:
                break
            yield piece
    while source.read(_CHUNK_BYTES):  # what comes after the end belongs to what was stored, too
        continue


class WrongKey(Exception):
    """None of the identities is one that it was encrypted to."""


class Damaged(Exception):
    """What was read is not what was written."""


class _Reader(io.RawIOBase):
    """Chunks as a file. `error` is what they raised."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._left = memoryview(b"")
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        assert size > 0
        while not self._left:
            try:
                self._left = memoryview(next(self._chunks))
            except StopIteration:
                return b""
            except BaseException as error:
                self.error = error
                raise
        piece, self._left = self._left[:size], self._left[size:]
        return bytes(piece)


class _Pieces(io.RawIOBase):
    """Gathers small writes to pieces of a megabyte, and gives each away. `error` is what that raised."""

    def __init__(self, give: Callable[[bytes], None], written: Written) -> None:
        self._give = give
        self._written = written
        self._held = bytearray()
        self.error: BaseException | None = None

    def write(self, chunk: Any) -> int:
        self._held += chunk
        if len(self._held) >= _CHUNK_BYTES:
            self.finish()
        return len(chunk)

    def flush(self) -> None:
        """Nothing: age flushes after each of its small pieces."""

    def finish(self) -> None:
        """Give away what is left."""
        if not self._held:
            return
        piece = bytes(self._held)
        self._held.clear()
        self._written.add(piece)
        try:
            self._give(piece)
        except BaseException as error:
            self.error = error
            raise
