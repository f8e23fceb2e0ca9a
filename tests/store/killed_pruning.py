"""A pruning that is killed by SIGKILL before a step, in a process of its own."""

import multiprocessing
import os
import signal
from datetime import datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from servicedb.jobs.prune.prune import Request, prune
from servicedb.plan.backups.prune import Step
from servicedb.store.location import open_store

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])  # what it imports takes longer than what it does


def killed_before(step: int, url: str, credentials: Path | None, request: Request, now: datetime) -> ForkServerProcess:
    """That process, ended; its `exitcode` is 0 where the step never came. Steps count from 0."""
    process = _context.Process(target=_prune, args=(step, url, credentials, request, now))
    process.start()
    process.join()
    return process


def _prune(step: int, url: str, credentials: Path | None, request: Request, now: datetime) -> None:
    taken = 0

    def before(_: Step) -> None:
        nonlocal taken
        if taken == step:
            os.kill(os.getpid(), signal.SIGKILL)
        taken += 1

    result = prune(open_store(url, credentials), request, now, before)
    assert result.outcome == "Succeeded", result.message
