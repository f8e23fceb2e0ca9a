"""A cluster of the components themselves, in namespaces of their own on this machine."""

import json
import os
import shutil
import signal
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.cluster.harness import (
    archive,
    binaries,
    cgroups,
    configuration,
    containerd,
    kubeconfig,
    namespace,
    network,
    node,
    packages,
)
from tests.cluster.harness.cluster import Part
from tests.cluster.harness.components import API_SERVER, CONTAINERD, Component, components
from tests.cluster.harness.deadline import wait_until
from tests.cluster.harness.errors import ComponentFailed, HarnessError, NotAllowed
from tests.cluster.harness.lock import exclusive
from tests.cluster.harness.network import SLOTS, Network
from tests.cluster.harness.paths import HARNESS, LOCKS, STATES, State, default_kubeconfig
from tests.cluster.harness.process import Process
from tests.cluster.harness.progress import say, step
from tests.cluster.harness.run import callers_environment, run

LONG_AGO = datetime.min.replace(tzinfo=UTC)
READY_WITHIN = timedelta(seconds=120)
STOPPED_WITHIN = timedelta(seconds=4)  # the API server would wait a minute for whoever watches
NEEDED = (
    "a cluster without Docker needs root, for namespaces, control groups and a network device: "
    "run this as root, or have kind on PATH and a Docker engine that you may use"
)


class LocalCluster:
    """One node: real components, started by us and ended by us."""

    def __init__(self, name: str, kubeconfig: Path | None = None) -> None:
        if os.geteuid() != 0:
            raise NotAllowed(NEEDED)
        self._state = State(name)
        self._kubeconfig = (kubeconfig or default_kubeconfig(name)).absolute()

    @property
    def name(self) -> str:
        return self._state.name

    @property
    def kubeconfig(self) -> Path:
        return self._kubeconfig

    @property
    def host_address(self) -> str:
        return str(self._network().host)

    def up(self) -> None:
        with self._locked():
            if self.healthy():
                self._write_kubeconfig()
            else:
                self._come_up()

    def down(self) -> None:
        with self._locked(), step(f"cluster {self.name} goes down"):
            for file in self._kubeconfigs():
                kubeconfig.remove(file, self.name)
            namespace.end(self._state)
            cgroups.remove(self.name)
            network.disconnect(self.name)
            shutil.rmtree(self._state.root, ignore_errors=not self._state.root.exists())
            if STATES.exists() and not any(STATES.iterdir()):
                STATES.rmdir()

    def healthy(self) -> bool:
        if not self._state.slot.exists() or not self._alive(namespace.INIT):
            return False
        found = self._components()
        return all(self._alive(each.name) for each in found) and all(each.ready() for each in found)

    def parts(self) -> list[Part]:
        if not self._state.slot.exists():
            return []
        return [Part(each.name, self._describe(each), str(self.log(each.name))) for each in self._components()]

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        # A home of its own: kubectl caches there, and would read preferences of the caller's.
        environment = callers_environment() | {"HOME": str(self._state.root / "home"), "KUBERC": "off"}
        return run(
            binaries.kubectl(), f"--kubeconfig={self.kubeconfig}", *arguments, text=text, environment=environment
        )

    def load_image(self, archive: Path) -> None:
        if not containerd.has(self._state, archive):
            with step(f"loading an image into cluster {self.name}"):
                containerd.load(self._state, archive)

    def stop(self, component: str) -> None:
        process = self._process(component)
        process.send(signal.SIGTERM)
        if not process.wait(STOPPED_WITHIN):
            self.kill(component)

    def kill(self, component: str) -> None:
        process = self._process(component)
        process.send(signal.SIGKILL)
        if not process.wait(STOPPED_WITHIN):
            raise HarnessError(f"{component} (process {process.pid}) does not end")

    def pause(self, component: str) -> None:
        self._process(component).send(signal.SIGSTOP)

    def resume(self, component: str) -> None:
        self._process(component).send(signal.SIGCONT)

    def start(self, component: str) -> None:
        self._process(component)
        self._run([component])

    def log(self, component: str) -> Path:
        return self._state.log(component)

    # Coming up

    def _come_up(self) -> None:
        packages.require(packages.FOR_A_CLUSTER)
        programs = [binaries.ensure(each) for each in (binaries.PAUSE, binaries.COREDNS, binaries.KUBERNETES)]
        with step(f"cluster {self.name} comes up"):
            self._prepare(programs)
            namespaces_began = self._make_namespaces() if not self._alive(namespace.INIT) else LONG_AGO
            with step("etcd, containerd and the API server"):
                self._run(["etcd", CONTAINERD, API_SERVER])
            self.load_image(self._pause_image())
            self.kubectl("apply", "--filename", str(HARNESS / "manifests" / "dns.yaml"))
            with step("the node"):
                kubelet_began = _now() if not self._alive("kubelet") else LONG_AGO
                self._run([component.name for component in self._components()])
                self._wait_node(kubelet_began, namespaces_began)

    def _prepare(self, programs: list[Path]) -> None:
        for folder in (self._state.root, *self._state.folders()):
            folder.mkdir(parents=True, exist_ok=True)
        if not self._state.slot.exists():
            with exclusive(LOCKS / "servicedb-slots.lock", "it chooses addresses"):
                self._state.slot.write_text(str(_free_slot()))
        for program in programs:
            _copy(program, self._state.binaries / program.name)
        configuration.write(self._state, self._network())
        self._write_kubeconfig()

    def _make_namespaces(self) -> datetime:
        """As after a boot of the machine: nothing runs, and what was on disk is there."""
        namespace.end(self._state)
        cgroups.remove(self.name)
        cgroups.create(self.name)
        init = namespace.create(self._state)
        network.connect(self._network(), self.name, init.pid)
        return _now()

    def _run(self, names: list[str]) -> None:
        """Start those that do not run, and wait until all are ready."""
        wanted = [each for each in self._components() if each.name in names]
        init = Process.read(self._state.processes / namespace.INIT)
        assert init is not None
        for each in wanted:
            if self._alive(each.name):
                self.resume(each.name)
            else:
                namespace.start(self._state, each.name, init, each.argv)
        for each in wanted:
            self._wait_ready(each)

    def _wait_ready(self, component: Component) -> None:
        def ended_or_ready() -> bool:
            return not self._alive(component.name) or component.ready()

        in_time = wait_until(ended_or_ready, READY_WITHIN)
        if not self._alive(component.name):
            raise ComponentFailed(component.name, "ended", self.log(component.name))
        if not in_time:
            raise ComponentFailed(
                component.name, f"was not ready in {READY_WITHIN.seconds} s", self.log(component.name)
            )

    def _wait_node(self, kubelet_began: datetime, namespaces_began: datetime) -> None:
        """Wait until the node is ready for pods, and those of before a restart run again."""

        def ready() -> bool:
            found = self._items(f"node/{configuration.NODE_NAME}", "serviceaccount/default")
            return len(found) == 2 and node.ready(found[0], kubelet_began)

        if not wait_until(ready, READY_WITHIN):
            raise ComponentFailed("kubelet", "did not get the node ready", self.log("kubelet"))
        if not wait_until(lambda: not self._pods_from_before(namespaces_began), READY_WITHIN):
            say(f"not running again: {', '.join(self._pods_from_before(namespaces_began))}")

    def _pods_from_before(self, began: datetime) -> list[str]:
        return node.from_before(self._items("pods", "--all-namespaces"), began)

    def _items(self, *what: str) -> list[node.Item]:
        """What there is of it; nothing while the API server does not know all of it."""
        try:
            items: list[node.Item] = json.loads(self.kubectl("get", "--output=json", *what))["items"]
        except HarnessError:
            return []
        return items

    def _pause_image(self) -> Path:
        tar = self._state.images / "pause.tar"
        archive.write_single_program(self._state.binaries / "pause", configuration.PAUSE_IMAGE, tar)
        return tar

    # What there is

    def _network(self) -> Network:
        if not self._state.slot.exists():
            raise HarnessError(f"cluster {self.name} is not up")
        return Network(int(self._state.slot.read_text()))

    def _components(self) -> list[Component]:
        return components(self._state, self._network())

    def _process(self, component: str) -> Process:
        known = [each.name for each in self._components()]
        process = Process.read(self._state.processes / component) if component in known else None
        if process is None:
            raise HarnessError(f'cluster {self.name} has no component "{component}"; there are {", ".join(known)}')
        return process

    def _alive(self, component: str) -> bool:
        process = Process.read(self._state.processes / component)
        return process is not None and process.alive

    def _describe(self, component: Component) -> str:
        process = Process.read(self._state.processes / component.name)
        if process is None or not process.alive:
            return "not running"
        return f"running, pid {process.pid}" + ("" if component.ready() else ", not ready")

    def _locked(self) -> AbstractContextManager[None]:
        return exclusive(LOCKS / f"servicedb-{self.name}.lock", f"it works on cluster {self.name}")

    def _kubeconfigs(self) -> list[Path]:
        file = self._state.kubeconfigs
        return [Path(line) for line in file.read_text().splitlines()] if file.exists() else []

    def _write_kubeconfig(self) -> None:
        content = configuration.kubeconfig(self._state, self._network(), "admin")
        kubeconfig.write(self.kubeconfig, self.name, content)
        if self.kubeconfig not in self._kubeconfigs():
            with self._state.kubeconfigs.open("a") as file:
                file.write(f"{self.kubeconfig}\n")


def _now() -> datetime:
    """The time as the API server writes it: without a fraction."""
    return datetime.now(UTC).replace(microsecond=0)


def _free_slot() -> int:
    taken = {int(file.read_text()) for file in STATES.glob("*/slot")}
    free = set(range(SLOTS)) - taken
    if not free:
        raise HarnessError(f"{SLOTS} clusters are the most on one machine; take one down")
    return min(free)


def _copy(program: Path, to: Path) -> None:
    """Copy unless it is the same already; a running program's file is replaced, never written to."""
    if to.exists() and (to.stat().st_size, to.stat().st_mtime_ns) == (
        program.stat().st_size,
        program.stat().st_mtime_ns,
    ):
        return
    temporary = to.with_name(f".{to.name}.new")
    shutil.copy2(program, temporary)
    temporary.rename(to)
