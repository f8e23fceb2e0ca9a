"""Progress on standard error: what is being done and how many seconds it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say `what` when it begins and its seconds when it ends; a failure is left to its message."""
    began = time.monotonic()
    say(f"{what} ...")
    yield
    say(f"{what}: {time.monotonic() - began:.1f} s")


def say(line: str) -> None:
    """Write one line at once, so that a slow step is seen while it runs."""
    print(line, file=sys.stderr, flush=True)
