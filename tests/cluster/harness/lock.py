"""One at a time: locks between processes that leave no file behind."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.harness.progress import say


@contextmanager
def exclusive(file: Path, waiting_for: str) -> Iterator[None]:
    """Hold the lock `file`; whoever has to wait is told for what. The file goes afterwards."""
    descriptor = _locked(file, waiting_for)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(file: Path, waiting_for: str) -> int:
    said = False
    while True:
        descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not said:
                say(f"waiting for another process: {waiting_for}")
                said = True
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # The one before us removed its file: a lock on what no name leads to protects nothing.
        if _is_still(file, descriptor):
            return descriptor
        os.close(descriptor)


def _is_still(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
