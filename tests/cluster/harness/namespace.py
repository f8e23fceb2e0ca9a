"""The namespaces of one cluster: mounts, processes and network of its own, held by one process.

That process is PID 1 inside. When it ends the kernel ends every process of the cluster, drops
every mount and the network with its devices, routes and rules: nothing can be left behind, and
several clusters live side by side although kubelet and containerd keep some fixed paths.
"""

import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from tests.cluster.harness import cgroups
from tests.cluster.harness.errors import HarnessError
from tests.cluster.harness.launcher import Request
from tests.cluster.harness.paths import HARNESS, State
from tests.cluster.harness.process import Process
from tests.cluster.harness.run import SEARCH_PATH, callers_environment

INIT = "init"
END_WITHIN = timedelta(seconds=20)


def create(state: State) -> Process:
    """Make the namespaces and start their PID 1, whose record is written at once."""
    run_folder = state.var / "run"
    if not run_folder.is_symlink():
        run_folder.symlink_to("/run")
    inside = state.var / state.root.relative_to("/var")
    return _launch(
        state,
        INIT,
        None,
        [str(state.binaries / "pause")],
        mounts=[
            # Unmounts of the host reach the inside (so it keeps no device busy), mounts made
            # inside never reach the host. Binds come before the second line, which would
            # otherwise show each later mount at both ends of a bind.
            ["mount", "--make-rslave", "/"],
            ["mount", "--bind", str(state.root), str(inside)],
            ["mount", "--rbind", str(state.var), "/var"],
            ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"],
            ["mkdir", "/run/netns", "/run/lock"],
            ["mount", "--make-rshared", "/"],
        ],
    )


def start(state: State, component: str, init: Process, argv: list[str]) -> Process:
    """Start one component in the namespaces that `init` holds."""
    return _launch(state, component, init.pid, argv, mounts=[])


def end(state: State) -> None:
    """End PID 1, and so everything inside; returns when all of it is gone."""
    init = Process.read(state.processes / INIT)
    if init is None:
        return
    init.send(signal.SIGKILL)
    if not init.wait(END_WITHIN):
        raise HarnessError(f"cluster {state.name}: process {init.pid} does not end")


def _launch(state: State, component: str, init: int | None, argv: list[str], mounts: list[list[str]]) -> Process:
    request = Request(
        init=init,
        mounts=mounts,
        cgroups=cgroups.entrances(state.name),
        argv=argv,
        environment={"PATH": SEARCH_PATH, "HOME": "/", "LC_ALL": "C.UTF-8"},
        log=str(state.log(component)),
    )
    launcher: Path = HARNESS / "launcher.py"
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(launcher), json.dumps(request)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=callers_environment(),
        check=False,
    )
    if done.returncode:
        raise HarnessError(f"{component} could not be started: {done.stderr.strip()[-2000:]}")
    process = Process.of(int(done.stdout))
    process.write(state.processes / component)
    return process
