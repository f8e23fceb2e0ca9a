"""What a cluster could leave behind on a machine, to be compared before and after."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.harness.paths import STATES
from tests.cluster.harness.run import attempt, run

PLACES = "/run /run/lock /run/netns /run/containerd /var/lib /var/lib/servicedb /var/lib/cni /var/log /etc/cni".split()


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine's state as far as a cluster changes any of it."""

    processes: frozenset[str]
    """Those that stand in the cluster's control groups, or name it in their command line."""
    networks: frozenset[str]
    """The network namespaces that some process stands in."""
    mounts: frozenset[str]
    links: frozenset[str]
    routes: frozenset[str]
    rules: frozenset[str]
    groups: frozenset[str]
    files: frozenset[str]

    @classmethod
    def seen(cls, cluster: str) -> "Machine":
        """The state now, without what belongs to other clusters than `cluster`: they come and go."""
        name = _naming({cluster})
        others = _naming({state.name for state in STATES.glob("*")} - {cluster})

        def ours(lines: Iterable[str]) -> frozenset[str]:
            return frozenset(line for line in lines if not others.search(line))

        processes = [file for file in Path("/proc").glob("[0-9]*") if not others.search(_text(file / "cgroup"))]
        return cls(
            processes=frozenset(words for each in processes if name.search(words := _words(each))),
            networks=frozenset(_link(each / "ns" / "net") for each in processes) - {""},
            mounts=ours(_text(Path("/proc/self/mountinfo")).splitlines()),
            links=ours(run("ip", "-brief", "link").splitlines()),
            routes=ours(run("ip", "route", "show", "table", "all").splitlines()),
            rules=ours(line for line in attempt("iptables-save").stdout.splitlines() if not line.startswith("#")),
            groups=ours(map(str, Path("/sys/fs/cgroup").glob("**/servicedb-*"))),
            files=ours(str(file) for place in PLACES for file in Path(place).glob("*")),
        )


def _naming(names: set[str]) -> re.Pattern[str]:
    """What names one of these clusters in a path, a command line or a device."""
    alternatives = "|".join(map(re.escape, names)) or "(?!)"
    return re.compile(rf"\b(servicedb|sdb)[-/]({alternatives})\b(?!-)")


def _words(process: Path) -> str:
    """Its pid, where it stands and its command line; nothing for one that ended and waits to be reaped."""
    words = _text(process / "cmdline").replace("\0", " ")
    return f"{process.name} {words} {_text(process / 'cgroup')}" if words else ""


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile
        return ""


def _link(file: Path) -> str:
    try:
        return str(file.readlink())
    except (FileNotFoundError, PermissionError, ProcessLookupError):  # it ended, or is the machine's own first one
        return ""
