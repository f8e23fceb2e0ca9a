"""A backup, a verification, a pruning or a restore in a process of its own, which a clock kills."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from servicedb.jobs.backup.backup import backup
from servicedb.jobs.backup.request import Request as BackupRequest
from servicedb.jobs.outcome import Outcome
from servicedb.jobs.prune.prune import Request as PruneRequest
from servicedb.jobs.prune.prune import prune
from servicedb.jobs.restore.request import Request as RestoreRequest
from servicedb.jobs.restore.restore import restore
from servicedb.jobs.restore.scratch import in_scratch
from servicedb.store.folder import FolderStore

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])

Work = Callable[[], Outcome]
"""A partial of one of the functions here: it has to get into another process."""


def back_up(request: BackupRequest, dsn: str, root: Path) -> Outcome:
    return backup(request, lambda: dsn, FolderStore(root))


def restore_into(request: RestoreRequest, dsn: str, root: Path) -> Outcome:
    return restore(request, lambda: dsn, FolderStore(root))


def restore_on_trial(request: RestoreRequest, admin: str, root: Path) -> Outcome:
    return in_scratch(request, lambda: admin, FolderStore(root))


def prune_there(request: PruneRequest, root: Path, now: datetime) -> Outcome:
    return prune(FolderStore(root), request, now)


def killed_after(seconds: float, work: Work) -> ForkServerProcess:
    """The process, ended: by SIGKILL so many seconds after the work began, unless that was done before."""
    return _run(_work_and_die, work, seconds)


def took(work: Work) -> float:
    """For how many seconds it works when nothing comes between."""
    queue = _context.SimpleQueue()
    assert _run(_measure, work, queue).exitcode == 0
    return float(queue.get())


def _run(what: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    process = _context.Process(target=what, args=arguments)
    process.start()
    process.join()
    return process


def _work_and_die(work: Work, seconds: float) -> None:
    clock = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    clock.daemon = True
    clock.start()
    raise SystemExit(work().exit_code)


def _measure(work: Work, queue: Any) -> None:
    begun = time.monotonic()
    outcome = work()
    queue.put(time.monotonic() - begun)
    raise SystemExit(outcome.exit_code)
