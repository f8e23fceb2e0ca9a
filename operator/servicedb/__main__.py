"""The program `servicedb`: it hears SIGTERM from the first moment on, also while it imports the rest of itself.

The first process of a container gets no signal that it has no handler for: without one, a pod that is deleted while
it starts would be there until its grace period is over.
"""

import signal
import sys
from types import FrameType


def main() -> None:
    signal.signal(signal.SIGTERM, _end)
    from servicedb.cli import main as command  # noqa: PLC0415 - takes seconds on a busy node

    command()


def _end(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
