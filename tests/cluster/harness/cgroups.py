"""The control groups of one cluster: /servicedb-NAME in each hierarchy, with all its processes.

Everything that a cluster starts stands below, pods too, so that what is to be ended can be found
by where it stands even when a record of it was lost.
"""

import os
import signal
from datetime import timedelta
from pathlib import Path

from tests.cluster.harness.deadline import wait_until
from tests.cluster.harness.errors import HarnessError
from tests.cluster.harness.process import Process

CONTROLLERS = {"cpuset", "cpu", "io", "memory", "pids"}


def path(name: str) -> str:
    """The group as kubelet's cgroupRoot names it."""
    return f"/servicedb-{name}"


def create(name: str) -> None:
    """Make the group and its child for the components, in version 1 and 2 hierarchies alike."""
    for top in _hierarchies():
        group = top / path(name).lstrip("/")
        for folder in (group, group / "components"):
            folder.mkdir(exist_ok=True)
            for file in ("cpuset.cpus", "cpuset.mems"):  # version 1 starts them empty, which admits no process
                if (folder / file).exists() and (folder.parent / file).exists():
                    (folder / file).write_text((folder.parent / file).read_text())
        for parent in (top, group):
            _pass_controllers_on(parent)


def entrances(name: str) -> list[str]:
    """The files into which a component writes itself before it starts."""
    return [str(top / path(name).lstrip("/") / "components" / "cgroup.procs") for top in _hierarchies()]


def remove(name: str) -> None:
    """End what still stands in the groups, and remove them."""
    groups = [group for top in _hierarchies() if (group := top / path(name).lstrip("/")).is_dir()]

    def emptied() -> bool:
        left = pids(name)
        for pid in left:
            try:
                Process.of(pid).send(signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not left

    if not wait_until(emptied, timedelta(seconds=20)):
        raise HarnessError(f"processes of cluster {name} do not end: see cgroup.procs below {groups[0]}")

    def removed() -> bool:
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError:  # a process that ended a moment ago still holds it
                    return False
        return True

    if not wait_until(removed, timedelta(seconds=10)):
        raise HarnessError(f"a control group of cluster {name} cannot be removed: {groups}")


def _pass_controllers_on(group: Path) -> None:
    """Version 2 gives a child only those controllers that its parent names."""
    if (group / "cgroup.controllers").exists():
        there = CONTROLLERS & set((group / "cgroup.controllers").read_text().split())
        (group / "cgroup.subtree_control").write_text(" ".join(f"+{each}" for each in sorted(there)))


def pids(name: str) -> set[int]:
    """Every process of the cluster, from its components to what runs in its pods."""
    return {pid for top in _hierarchies() for pid in _pids(top / path(name).lstrip("/"))}


def _pids(group: Path) -> set[int]:
    found: set[int] = set()
    for file in group.rglob("cgroup.procs"):
        try:
            found.update(int(line) for line in file.read_text().split())
        except OSError:
            continue
    return found - {0}


def _hierarchies() -> list[Path]:
    """Where version 1 and 2 hierarchies are mounted; a link or a second mount of one counts once."""
    found: dict[tuple[str, str], Path] = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        if right.split()[0] in ("cgroup", "cgroup2") and fields[3] == "/":
            found.setdefault((fields[2], fields[3]), Path(fields[4]))
    return list(found.values())
