"""A cluster in a Docker container, by kind. Its node's processes are kind's; only names are ours."""

import tempfile
from datetime import timedelta
from ipaddress import IPv4Address
from pathlib import Path

from tests.cluster.harness import binaries, kubeconfig, paths
from tests.cluster.harness.cluster import Part
from tests.cluster.harness.deadline import wait_until
from tests.cluster.harness.errors import HarnessError
from tests.cluster.harness.progress import step
from tests.cluster.harness.run import attempt, run

READY_WITHIN = timedelta(seconds=180)
STATIC_PODS = "/etc/kubernetes/manifests"
ASIDE = "/etc/kubernetes/stopped"
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


class KindCluster:
    """The same as LocalCluster to its users, as far as a container allows."""

    def __init__(self, name: str, kubeconfig: Path | None = None) -> None:
        self._name = name
        self._kind_name = f"servicedb-{name}"
        self._node = f"{self._kind_name}-control-plane"
        self._kubeconfig = (kubeconfig or paths.default_kubeconfig(name)).absolute()

    @property
    def name(self) -> str:
        return self._name

    @property
    def kubeconfig(self) -> Path:
        return self._kubeconfig

    @property
    def host_address(self) -> str:
        gateways = run(
            "docker", "network", "inspect", "kind", "--format={{range .IPAM.Config}}{{println .Gateway}}{{end}}"
        )
        return next(gateway for gateway in gateways.split() if _is_ipv4(gateway))

    def up(self) -> None:
        if self._exists():
            if run("docker", "inspect", "--format={{.State.Running}}", self._node).strip() != "true":
                run("docker", "start", self._node)
        else:
            with step(f"kind creates cluster {self._kind_name}"), tempfile.TemporaryDirectory() as folder:
                wait = f"--wait={READY_WITHIN.seconds}s"
                run("kind", "create", "cluster", f"--name={self._kind_name}", f"--kubeconfig={folder}/config", wait)
        content = run("kind", "get", "kubeconfig", f"--name={self._kind_name}")
        kubeconfig.write(self.kubeconfig, self.name, content)
        self._wait_ready()

    def down(self) -> None:
        with step(f"kind deletes cluster {self._kind_name}"), tempfile.TemporaryDirectory() as folder:
            # kind would otherwise edit the caller's kubeconfig.
            run("kind", "delete", "cluster", f"--name={self._kind_name}", f"--kubeconfig={folder}/config")
        kubeconfig.remove(self.kubeconfig, self.name)

    def healthy(self) -> bool:
        return self._exists() and self.kubeconfig.exists() and self._ready()

    def parts(self) -> list[Part]:
        if not self._exists():
            return []
        return [
            Part(each, "running" if self._runs(each) else "not running", f"pod {each}-{self._node}")
            for each in COMPONENTS
        ]

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        return run(binaries.kubectl(), f"--kubeconfig={self.kubeconfig}", *arguments, text=text)

    def load_image(self, archive: Path) -> None:
        with step(f"loading an image into cluster {self._kind_name}"):
            run("kind", "load", "image-archive", f"--name={self._kind_name}", archive)

    def stop(self, component: str) -> None:
        self._set_aside(component)
        self._wait_ended(component)

    def kill(self, component: str) -> None:
        self._set_aside(component)
        self._signal(component, "KILL")
        self._wait_ended(component)

    def pause(self, component: str) -> None:
        self._signal(component, "STOP")

    def resume(self, component: str) -> None:
        self._signal(component, "CONT")

    def start(self, component: str) -> None:
        self._inside("mv", f"{ASIDE}/{component}.yaml", f"{STATIC_PODS}/{component}.yaml")
        if not wait_until(lambda: self._runs(component), READY_WITHIN):
            raise HarnessError(f"kind: {component} did not start; see {self.log(component)}")
        self._wait_ready()

    def log(self, component: str) -> Path:
        """A copy of what it has written so far."""
        file = paths.cache() / "kind" / self._name / f"{component}.log"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self._inside("sh", "-c", f"cat /var/log/pods/*_{component}-*/*/*.log"))
        return file

    def _set_aside(self, component: str) -> None:
        """Kubelet ends a static pod, and starts it no more, when its manifest goes."""
        self._inside("mkdir", "-p", ASIDE)
        self._inside("mv", f"{STATIC_PODS}/{component}.yaml", f"{ASIDE}/{component}.yaml")

    def _wait_ended(self, component: str) -> None:
        if not wait_until(lambda: not self._runs(component), READY_WITHIN):
            raise HarnessError(f"kind: {component} does not end")

    def _wait_ready(self) -> None:
        if not wait_until(self._ready, READY_WITHIN):
            raise HarnessError(
                f"kind: the API server of {self._kind_name} was not ready in {READY_WITHIN.seconds} s; "
                f"see `kind export logs --name {self._kind_name}`"
            )

    def _ready(self) -> bool:
        try:
            return self.kubectl("get", "--raw=/readyz", "--request-timeout=5s") == "ok"
        except HarnessError:
            return False

    def _exists(self) -> bool:
        return self._kind_name in run("kind", "get", "clusters").split()

    def _runs(self, component: str) -> bool:
        return attempt("docker", "exec", self._node, "pgrep", "--full", f"^{component} ").returncode == 0

    def _signal(self, component: str, name: str) -> None:
        self._inside("pkill", f"--signal={name}", "--full", f"^{component} ")

    def _inside(self, *argv: str) -> str:
        return run("docker", "exec", self._node, *argv)


def _is_ipv4(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True
