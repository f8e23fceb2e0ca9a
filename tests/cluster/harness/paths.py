"""Where things are: the cache that outlives clusters, and the state that goes with one."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.harness.errors import HarnessError

HARNESS = Path(__file__).resolve().parent
REPOSITORY = HARNESS.parents[2]
STATES = Path("/var/lib/servicedb")
LOCKS = Path("/run")
# A network device's name has at most 15 characters, and ours is "sdb-" and the cluster's name.
CLUSTER_NAME = re.compile(r"[a-z][a-z0-9-]{0,9}[a-z0-9]")


def cache() -> Path:
    """The folder for what is built once a machine."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "servicedb"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def default_kubeconfig(name: str) -> Path:
    return REPOSITORY / "build" / f"{name}.kubeconfig"


@dataclass(frozen=True, slots=True)
class State:
    """The folders and files of the cluster `name`; all of them go with the cluster.

    `root` is the same folder inside the cluster's mount namespace, while `var` stands there in
    the place of /var: containerd, kubelet and CNI keep some paths below /var that cannot be set.
    """

    name: str

    def __post_init__(self) -> None:
        if not CLUSTER_NAME.fullmatch(self.name):
            raise HarnessError(
                f'cluster name "{self.name}" does not fit: use 2 to 11 of a-z, 0-9 and -, a letter first'
            )

    @property
    def root(self) -> Path:
        return STATES / self.name

    @property
    def var(self) -> Path:
        return self.root / "var"

    @property
    def binaries(self) -> Path:
        return self.root / "bin"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def configuration(self) -> Path:
        return self.root / "etc"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def processes(self) -> Path:
        return self.root / "processes"

    @property
    def images(self) -> Path:
        """One file an image that was loaded, holding the hash of what was loaded."""
        return self.root / "images"

    @property
    def kubeconfigs(self) -> Path:
        """The list of kubeconfig files that were written for this cluster."""
        return self.root / "kubeconfigs"

    @property
    def slot(self) -> Path:
        return self.root / "slot"

    @property
    def etcd(self) -> Path:
        return self.root / "etcd"

    @property
    def containerd_socket(self) -> Path:
        return self.root / "containerd.sock"

    def log(self, component: str) -> Path:
        return self.logs / f"{component}.log"

    def folders(self) -> list[Path]:
        inside = self.var / self.root.relative_to("/var")
        return [
            self.binaries,
            self.pki,
            self.configuration,
            self.logs,
            self.processes,
            self.images,
            self.etcd,
            inside,
            self.var / "log",
            self.var / "tmp",
        ]
