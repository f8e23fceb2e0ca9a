"""What a cluster could leave behind on a machine, to be compared before and after."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.harness.run import attempt, run

PLACES = ["/run", "/run/lock", "/run/netns", "/run/containerd", "/var/lib", "/var/lib/servicedb", "/var/log", "/etc/cni"]


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine's state as far as a cluster changes any of it."""

    namespaces: frozenset[str]
    """Network, mount and PID namespaces that some process stands in."""
    processes: frozenset[str]
    mounts: frozenset[str]
    links: frozenset[str]
    routes: frozenset[str]
    rules: str
    cgroups: frozenset[str]
    files: frozenset[str]

    @classmethod
    def seen(cls, without: Sequence[str]) -> "Machine":
        """The state now; other clusters are left out, those of the test run (`without`) and any beside it."""
        beside = [path.name for path in Path("/var/lib/servicedb").glob("*") if path.name in without]
        others = re.compile("|".join(rf"\b(servicedb|sdb)[-/]{re.escape(name)}\b(?!-)" for name in [*without, *beside]))
        return cls(
            namespaces=frozenset(_namespaces(others)),
            processes=frozenset(line for line in _command_lines() if "servicedb/" in line and not others.search(line)),
            mounts=_lines(Path("/proc/self/mountinfo").read_text(), others),
            links=_lines(run("ip", "-oneline", "link").replace("@", " "), others),
            routes=_lines(run("ip", "route", "show", "table", "all"), others),
            rules="".join(line for line in attempt("iptables-save").stdout if not line.startswith("#")),
            cgroups=frozenset(
                str(path) for path in Path("/sys/fs/cgroup").glob("**/servicedb-*") if not others.search(str(path))
            ),
            files=frozenset(
                str(file)
                for place in PLACES
                if Path(place).is_dir()
                for file in Path(place).iterdir()
                if not others.search(str(file))
            ),
        )
