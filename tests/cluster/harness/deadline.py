"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable
from datetime import timedelta

PAUSE_SECONDS = 0.1


def wait_until(condition: Callable[[], bool], within: timedelta) -> bool:
    """Ask `condition` until it holds; False when `within` went by first."""
    end = time.monotonic() + within.total_seconds()
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(PAUSE_SECONDS)
    return True
