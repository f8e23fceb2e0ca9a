"""Starts one process inside namespaces, detached, and prints its pid as the host sees it.

Run as a script of its own (`python -I launcher.py REQUEST`): a mount or PID namespace cannot be
entered by a process that has to go on living outside, and `nsenter` would stay as the parent of
everything that it starts. Imports the standard library only.
"""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TypedDict

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000


class Request(TypedDict):
    """What to start, and where."""

    init: int | None  # the PID 1 whose namespaces are entered; None makes new ones
    mounts: list[list[str]]  # in new namespaces: the commands that prepare them
    cgroups: list[str]  # cgroup.procs files to stand in
    argv: list[str]
    environment: dict[str, str]
    log: str


def main(request: Request) -> None:
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for file in request["cgroups"]:
        Path(file).write_text("0")
    new = request["init"] is None
    if new:
        unshare(CLONE_NEWNS | CLONE_NEWNET)
        for command in request["mounts"]:
            subprocess.run(command, check=True)
        unshare(CLONE_NEWPID)  # not before: the next child is PID 1
    else:
        enter(int(request["init"] or 0))
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready)
        try:
            start(request, log, new)
        except Exception as error:  # noqa: BLE001 - told to the parent, whatever it is
            os.write(done, str(error).encode())
            os._exit(127)
    os.close(done)
    # The write end goes with a successful exec, so end of file means that the program runs.
    problem = b"".join(iter(lambda: os.read(ready, 4096), b""))
    if problem:
        sys.exit(f"{request['argv'][0]}: {problem.decode()}")
    print(child)


def start(request: Request, log: int, new: bool) -> None:
    os.setsid()
    if new:  # only a process inside the new PID namespace can mount its /proc
        subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
    os.chdir("/")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.execve(request["argv"][0], request["argv"], request["environment"])


def enter(init: int) -> None:
    # Opened before any is entered: afterwards /proc is the other one. Mounts come last.
    descriptors = [os.open(f"/proc/{init}/ns/{kind}", os.O_RDONLY) for kind in ("net", "pid", "mnt")]
    for descriptor in descriptors:
        call(LIBC.setns(descriptor, 0), "setns")


def unshare(flags: int) -> None:
    call(LIBC.unshare(flags), "unshare")


def call(result: int, name: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


LIBC = ctypes.CDLL(None, use_errno=True)

if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
