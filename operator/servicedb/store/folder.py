"""A folder as a store: a mounted volume, or a disk."""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from servicedb.errors import Problem
from servicedb.plan.backups.keys import PARTIAL
from servicedb.store.interface import Stored
from servicedb.store.problems import NoSuchObject, StoreAway, StoreFull, StoreRefused

_PIECE: Final = 4 << 20
_MODE: Final = 0o640
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_SYNC: Final = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
_REFUSED: Final = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG}


class FolderStore:
    """Objects as files below `root`, which has to be there: a volume that is not mounted is no store.

    What is written has another name until it is whole and on disk. A killed process leaves that file, and `list` shows
    it: pruning sweeps it up with the rest of what such a run left.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def location(self) -> str:
        return f"folder {self._root}"

    def put(self, key: str, chunks: Iterable[bytes], *, expected_bytes: int = 0) -> None:  # noqa: ARG002
        path = self._path(key)
        with self._classed(key):
            self._check_root()
            temporary, descriptor = self._new_file(path)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                for chunk in chunks:  # what they raise is the caller's own, and no matter of this folder
                    with self._classed(key):
                        _write(file.fileno(), chunk)
                with self._classed(key):
                    os.fsync(file.fileno())
            with self._classed(key):
                temporary.rename(path)
                _sync(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def read(self, key: str) -> Iterator[bytes]:
        path = self._path(key)
        with self._classed(key):
            file = path.open("rb", buffering=0)
        with file:
            while True:
                with self._classed(key):
                    piece = file.read(_PIECE)
                if not piece:
                    return
                yield piece

    def read_range(self, key: str, start: int, length: int) -> bytes:
        with self._classed(key), self._path(key).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def list(self, prefix: str) -> Iterator[Stored]:
        with self._classed(prefix):
            self._check_root()
        folders = [prefix]
        while folders:
            folder = folders.pop()
            with self._classed(folder):
                for entry in self._entries(folder):
                    key = folder + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(f"{key}/")
                    elif entry.is_file(follow_symlinks=False):
                        with contextlib.suppress(FileNotFoundError):  # deleted since
                            found = entry.stat(follow_symlinks=False)
                            yield Stored(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    def _entries(self, folder: str) -> Iterator[os.DirEntry[str]]:
        with contextlib.suppress(FileNotFoundError), os.scandir(self._root / folder) as entries:
            yield from entries

    def delete(self, key: str) -> None:
        path = self._path(key)
        with self._classed(key):
            self._check_root()
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                _sync(path.parent)  # one that is deleted later is never gone earlier, not even by a power cut
        for folder in path.parents:
            if folder == self._root:
                break
            with contextlib.suppress(OSError):  # not empty, or gone
                folder.rmdir()

    def _path(self, key: str) -> Path:
        assert all(part not in {"", ".", ".."} for part in key.split("/")), key
        return self._root / key

    def _check_root(self) -> None:
        if not self._root.is_dir():
            raise StoreRefused(f"{self.location} does not exist; is the volume mounted there?")

    def _new_file(self, path: Path) -> tuple[Path, int]:
        temporary = path.with_name(f"{path.name}{PARTIAL}{secrets.token_hex(4)}")
        while True:
            made = [one for one in (path.parent, *path.parent.parents) if not one.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in made:
                with contextlib.suppress(FileNotFoundError):
                    _sync(folder.parent)
            try:
                return temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
            except FileNotFoundError:
                continue  # a delete has just removed the folder, which was empty

    @contextlib.contextmanager
    def _classed(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._problem(error, key) from error

    def _problem(self, error: OSError, key: str) -> Problem:
        said = os.strerror(error.errno) if error.errno is not None else str(error)
        if error.errno == errno.ENOENT:
            if not self._root.is_dir():
                return StoreRefused(f"{self.location} does not exist; is the volume mounted there?")
            return NoSuchObject(key, self.location)
        if error.errno in _FULL:
            return StoreFull(f"{self.location} has no space for {key}: {said}; enlarge it, or keep fewer backups")
        if error.errno in _REFUSED:
            return StoreRefused(f"{self.location} refuses {key}: {said}; is it read-only, or another user's?")
        return StoreAway(f"{self.location} does not answer for {key}: {said}")


def _write(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync(folder: Path) -> None:
    """Bring the names in `folder` to the disk, where its file system knows how: not every one that is mounted does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise
    finally:
        os.close(descriptor)
