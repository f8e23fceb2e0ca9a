"""The harness itself: clusters of its own, which it starts, breaks and removes."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.cluster.harness import (
    Cluster,
    ComponentFailed,
    HarnessError,
    archive,
    binaries,
    cgroups,
    docker,
    ensure,
    paths,
)
from tests.cluster.harness.deadline import wait_until
from tests.cluster.harness.local import LocalCluster
from tests.cluster.harness.process import Process
from tests.cluster.machine import Machine

NAME = "harness"
PROBE_IMAGE = "localhost/servicedb-probe:1"
MANIFEST = paths.HARNESS / "manifests" / "probe.yaml"

on_this_machine = pytest.mark.skipif(docker.usable(), reason="kind runs the cluster: its processes are in a container")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("harness")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster of these tests' own, with a server behind Service hello in namespace probe."""
    made = ensure(NAME, folder / "kubeconfig")
    made.load_image(probe_image(folder))
    made.kubectl("apply", f"--filename={MANIFEST}")
    made.kubectl("rollout", "status", "--namespace=probe", "deployment/hello", "--timeout=60s")
    yield made
    made.down()


def probe_image(folder: Path) -> Path:
    tar = folder / "probe.tar"
    archive.write_single_program(binaries.ensure(binaries.PROBE), PROBE_IMAGE, tar)
    return tar


@pytest.fixture
def server_on_the_host(cluster: Cluster) -> Iterator[str]:
    """The URL of a server that runs beside the cluster, as a pod reaches it."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"from the host")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    server = ThreadingHTTPServer((cluster.host_address, 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{cluster.host_address}:{server.server_port}/"
    server.shutdown()
    server.server_close()


def job_output(cluster: Cluster, name: str, *urls: str) -> str:
    """Run the probe as a Job of namespace probe that asks `urls`; what it printed."""
    *_, deployment = yaml.safe_load_all(MANIFEST.read_text())
    pod = deployment["spec"]["template"]["spec"]
    pod["containers"][0]["args"] = ["get", *urls]
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": "probe"},
        "spec": {"backoffLimit": 0, "template": {"spec": {**pod, "restartPolicy": "Never"}}},
    }
    cluster.kubectl("apply", "--filename=-", text=json.dumps(job))
    cluster.kubectl("wait", "--namespace=probe", "--for=condition=Complete", f"job/{name}", "--timeout=60s")
    return cluster.kubectl("logs", "--namespace=probe", f"job/{name}")


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The harness as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "tests.cluster.harness", *arguments],
        cwd=paths.REPOSITORY,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_up_again_changes_nothing_and_returns_at_once(cluster: Cluster) -> None:
    before = cluster.parts()
    began = time.monotonic()
    cluster.up()
    assert time.monotonic() - began < 3
    assert cluster.parts() == before


def test_a_restricted_pod_reaches_a_service_by_name_and_the_host(cluster: Cluster, server_on_the_host: str) -> None:
    output = job_output(cluster, "reach", "http://hello.probe.svc/", server_on_the_host)
    assert output.splitlines() == [
        "uid 65535",
        "write open /written: read-only file system",
        "http://hello.probe.svc/ 200 hello",
        f"{server_on_the_host} 200 from the host",
    ]


def test_a_privileged_pod_is_refused_in_a_restricted_namespace(cluster: Cluster) -> None:
    privileged = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "privileged", "namespace": "probe"},
        "spec": {"containers": [{"name": "it", "image": PROBE_IMAGE, "securityContext": {"privileged": True}}]},
    }
    with pytest.raises(HarnessError, match='violates PodSecurity "restricted'):
        cluster.kubectl("apply", "--filename=-", text=json.dumps(privileged))


def test_a_stopped_api_server_answers_nothing_and_comes_back_with_its_data(cluster: Cluster) -> None:
    cluster.pause("kube-apiserver")
    with pytest.raises(HarnessError):
        cluster.kubectl("get", "namespace", "probe", "--request-timeout=1s")
    cluster.resume("kube-apiserver")
    assert "probe" in cluster.kubectl("get", "namespace", "probe")

    cluster.stop("kube-apiserver")
    with pytest.raises(HarnessError):
        cluster.kubectl("get", "namespace", "probe", "--request-timeout=1s")
    assert not cluster.healthy()
    cluster.start("kube-apiserver")
    assert "probe" in cluster.kubectl("get", "namespace", "probe")


@on_this_machine
@pytest.mark.parametrize(
    "also_init",
    [pytest.param(True, id="with the process that holds the namespaces"), pytest.param(False, id="all but that one")],
)
def test_after_a_kill_of_everything_it_comes_up_with_its_data(cluster: Cluster, also_init: bool) -> None:
    kept = f"kept-{also_init}".lower()
    cluster.kubectl("create", "configmap", kept, "--namespace=probe")
    init = Process.read(paths.State(NAME).processes / "init")
    assert init is not None
    everything = [Process.of(pid) for pid in cgroups.pids(NAME)]
    assert len(everything) >= 10  # eight components, and at least a shim and a container
    for process in everything:
        if also_init or process != init:
            process.send(signal.SIGKILL)
    assert wait_until(lambda: not any(p.alive for p in everything if also_init or p != init), timedelta(seconds=20))

    cluster.up()

    assert kept in cluster.kubectl("get", "configmap", "--namespace=probe")
    cluster.kubectl("rollout", "status", "--namespace=probe", "deployment/hello", "--timeout=60s")
    assert "200 hello" in job_output(cluster, kept, "http://hello.probe.svc/")


@on_this_machine
def test_a_component_that_ends_is_named_with_its_last_words(folder: Path) -> None:
    made = LocalCluster(f"{NAME}-c", folder / "c" / "kubeconfig")
    state = paths.State(made.name)
    state.etcd.mkdir(parents=True)
    (state.etcd / "member").write_text("a file where etcd wants a folder")
    try:
        with pytest.raises(ComponentFailed) as failure:
            made.up()
        assert f"etcd ended. The last lines of {state.log('etcd')}:" in str(failure.value)
        assert "member" in str(failure.value)
    finally:
        made.down()
    assert not state.root.exists()


@on_this_machine
def test_down_leaves_nothing_behind(folder: Path) -> None:
    name = f"{NAME}-b"
    before = Machine.seen(name)
    made = LocalCluster(name, folder / "b" / "kubeconfig")
    made.up()
    made.load_image(probe_image(folder))
    made.kubectl("apply", f"--filename={MANIFEST}")
    made.kubectl("rollout", "status", "--namespace=probe", "deployment/hello", "--timeout=60s")
    assert Machine.seen(name) != before

    made.down()

    assert Machine.seen(name) == before
    assert list((folder / "b").iterdir()) == []
    made.down()  # once more changes nothing


def test_a_kubeconfig_that_it_did_not_make_stays_as_it_is(cluster: Cluster, folder: Path) -> None:
    own = folder / ".kube" / "config"
    own.parent.mkdir()
    other = folder / "other"
    for file in (own, other):
        file.write_text("clusters: []  # somebody's\n")
    home = {"HOME": str(folder), "KUBECONFIG": str(other), "XDG_CACHE_HOME": str(paths.cache().parent)}

    done = command("up", f"--name={NAME}", f"--kubeconfig={cluster.kubeconfig}", **home)
    assert (done.returncode, done.stdout.strip()) == (0, str(cluster.kubeconfig))
    refused = command("up", f"--name={NAME}", f"--kubeconfig={other}", **home)
    assert refused.returncode == 1
    assert f"{other} exists and is not a kubeconfig of cluster {NAME}" in refused.stderr

    assert [own.read_text(), other.read_text()] == ["clusters: []  # somebody's\n"] * 2
    assert list(own.parent.iterdir()) == [own]


@on_this_machine
def test_another_user_is_told_what_it_needs() -> None:
    # Imported as root: that user may not be able to read what is imported.
    script = (
        "import os, sys; from tests.cluster.harness import __main__ as harness, local\n"
        "os.setresuid(65534, 65534, 65534); sys.argv = ['harness', 'up']; sys.exit(harness.main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=paths.REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "needs root" in done.stderr
    assert "kind on PATH" in done.stderr
    assert len(done.stderr.splitlines()) == 1
