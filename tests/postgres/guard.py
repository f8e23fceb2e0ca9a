"""Tidy up after a test run: stop the servers that it left running, and remove its folder.

A process of its own, because a run that is killed or crashes can't do it itself. It is given the folder, reads "+PID"
and "-PID" from standard input, and acts when that ends, because the run ended in whatever way.
"""

import contextlib
import shutil
import signal
import sys
import time
from collections.abc import Iterable
from datetime import timedelta

import psutil

_PATIENCE = timedelta(seconds=20)


def left_over(lines: Iterable[str]) -> list[psutil.Process]:
    """The processes that were started and, by what `lines` say, not stopped."""
    running: dict[int, psutil.Process] = {}
    for line in lines:
        sign, pid = line[0], int(line[1:])
        if sign == "-":
            running.pop(pid, None)
        else:
            with contextlib.suppress(psutil.NoSuchProcess):
                running[pid] = psutil.Process(pid)
    return list(running.values())


def stop(processes: list[psutil.Process]) -> None:
    """Stop postmasters at once (PostgreSQL's immediate shutdown), and wait until they are gone."""
    for process in processes:
        # psutil compares the start time, too: a pid that was used again is NoSuchProcess.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()
            process.send_signal(signal.SIGQUIT)
    deadline = time.monotonic() + _PATIENCE.total_seconds()
    while any(is_alive(process) for process in processes) and time.monotonic() < deadline:
        time.sleep(0.01)


def is_alive(process: psutil.Process) -> bool:
    """Whether `process` still runs: a zombie, which stays where no init reaps orphans (many containers), does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    stop(left_over(sys.stdin))
    shutil.rmtree(sys.argv[1], ignore_errors=True)
