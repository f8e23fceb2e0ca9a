"""What tests, the demo and the bench see of a cluster, whichever way it is run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.cluster.harness import docker


@dataclass(frozen=True, slots=True)
class Part:
    """One component: how it is, and where its log is."""

    name: str
    state: str
    log: str


class Cluster(Protocol):
    """A Kubernetes of one node on this machine."""

    @property
    def name(self) -> str: ...

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of an administrator; the only one that `kubectl` reads."""

    @property
    def host_address(self) -> str:
        """Where a server on this machine is reached by pods, when it listens there."""

    def up(self) -> None:
        """Make it run and be ready; nothing is done when it is. A killed one starts with its data."""

    def down(self) -> None:
        """End it and remove all that it left on the machine, but for what is cached."""

    def healthy(self) -> bool:
        """Whether every component runs and the API server is ready."""

    def parts(self) -> list[Part]: ...

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """kubectl's standard output, with `text` as its input; HarnessError when it fails."""

    def load_image(self, archive: Path) -> None:
        """Load a docker-archive, for pods whose imagePullPolicy is not Always."""

    def stop(self, component: str) -> None:
        """End one component in good order, or by SIGKILL when that takes it more than some seconds."""

    def kill(self, component: str) -> None:
        """End one component by SIGKILL."""

    def pause(self, component: str) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""

    def resume(self, component: str) -> None:
        """SIGCONT."""

    def start(self, component: str) -> None:
        """Start one component that was ended, and wait until it is ready."""

    def log(self, component: str) -> Path:
        """The file with what the component wrote."""


def of(name: str, kubeconfig: Path | None = None) -> Cluster:
    """The cluster `name`, running or not: kind where it and a Docker engine are at hand."""
    from tests.cluster.harness.kind import KindCluster
    from tests.cluster.harness.local import LocalCluster

    if docker.usable():
        return KindCluster(name, kubeconfig)
    return LocalCluster(name, kubeconfig)


def ensure(name: str, kubeconfig: Path | None = None) -> Cluster:
    """The cluster `name`, up and ready."""
    cluster = of(name, kubeconfig)
    cluster.up()
    return cluster
