"""Many ServiceDatabases on one real server, in a cluster of its own, worked on by the real operator."""

import asyncio
import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
from kubernetes import client, config, watch
from servicedb.kube.client import KubeClient
from servicedb.kube.resources import SERVICE_DATABASES
from servicedb.settings import Settings

from tests.cluster.harness.cluster import Cluster, ensure
from tests.postgres.server import Server, session_directory

ROOT = Path(__file__).parents[2]
NAMESPACE = "bench"
_DEADLINE = 900
_IN_FLIGHT = 8

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of the operator, from its start on: CPU seconds, resident bytes."""

    cpu: float
    rss: int


@dataclass(slots=True)
class Fleet:
    """`server` is a PostgreSQL server, known to the cluster as the DatabaseServer bench."""

    cluster: Cluster
    server: Server
    resync: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the operator; what it logs stands in build/bench-operator.log."""
        environment = {
            **os.environ,
            "SERVICEDB_RESYNC": str(self.resync),
            # as often to a resync as by default
            "SERVICEDB_PROBE": str(Settings().probe * self.resync / Settings().resync),
            "SERVICEDB_HTTP_HOST": "127.0.0.1",
            "SERVICEDB_HTTP_PORT": "18099",
        }
        command = [sys.executable, "-m", "servicedb", "run", "--kubeconfig", str(self.cluster.kubeconfig)]
        with (ROOT / "build" / "bench-operator.log").open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stderr=log)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    def apply(self, *objects: dict[str, Any]) -> None:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.cluster.kubectl("apply", "--server-side", "-f", "-", text=listed)

    def create(self, databases: Iterable[dict[str, Any]]) -> None:
        """As `apply` does for ServiceDatabases, by a client that leaves the machine to whom is measured."""
        path = f"/apis/servicedb.io/v1alpha1/namespaces/{NAMESPACE}/{SERVICE_DATABASES}"
        self.ask(lambda kube, body: kube.create(path, body), databases)

    def ask(self, request: Callable[[KubeClient, T], Awaitable[Any]], of: Iterable[T]) -> None:
        """Send a request for each, with some in flight."""
        asyncio.run(self._ask(request, iter(of)))

    async def _ask(self, request: Callable[[KubeClient, T], Awaitable[Any]], waiting: Iterator[T]) -> None:
        kube = await KubeClient.load(str(self.cluster.kubeconfig))

        async def work() -> None:
            for one in waiting:
                await request(kube, one)

        try:
            await asyncio.gather(*(work() for _ in range(_IN_FLIGHT)))
        finally:
            await kube.close()

    def wait_ready(self, count: int) -> None:
        """Wait until `count` ServiceDatabases are Ready for their present generation."""
        self._wait(count, _is_ready)

    def wait_observed(self, count: int) -> None:
        """Wait until the operator has said of `count` ServiceDatabases that it has seen them."""
        self._wait(count, _is_observed)

    def _wait(self, count: int, is_so: Callable[[dict[str, Any]], bool]) -> None:
        """By a watch: asking again and again would take from the operator what it is measured by.

        The API server ends one that does not keep up, so it may take several.
        """
        api = client.CustomObjectsApi(config.new_client_from_config(str(self.cluster.kubeconfig)))
        found: set[str] = set()
        deadline = time.monotonic() + _DEADLINE
        while (left := deadline - time.monotonic()) > 0:
            changes = watch.Watch().stream(
                api.list_namespaced_custom_object,
                "servicedb.io",
                "v1alpha1",
                NAMESPACE,
                "servicedatabases",
                timeout_seconds=max(1, int(left)),
            )
            for change in changes:
                if is_so(change["object"]):
                    found.add(change["object"]["metadata"]["name"])
                if len(found) >= count:
                    return
                if self.process is not None and self.process.poll() is not None:
                    raise RuntimeError(f"the operator ended with status {self.process.returncode}")
        raise TimeoutError(f"{len(found)} of {count} ServiceDatabases were as awaited after {_DEADLINE} s")

    def usage(self) -> Usage:
        assert self.process is not None
        process = psutil.Process(self.process.pid)
        times = process.cpu_times()
        return Usage(times.user + times.system, process.memory_info().rss)


def _is_ready(body: dict[str, Any]) -> bool:
    return any(
        condition["type"] == "Ready"
        and condition["status"] == "True"
        and condition["observedGeneration"] == body["metadata"]["generation"]
        for condition in (body.get("status") or {}).get("conditions") or ()
    )


def _is_observed(body: dict[str, Any]) -> bool:
    return bool((body.get("status") or {}).get("observedGeneration") == body["metadata"]["generation"])


def manifest(number: int) -> dict[str, Any]:
    """A ServiceDatabase with the three logins that most teams ask for."""
    name = f"service-{number:04d}"
    roles = {role: {"secretName": f"{name}-{role.lower()}"} for role in ("app", "migrator", "readOnly")}
    return {
        "apiVersion": "servicedb.io/v1alpha1",
        "kind": "ServiceDatabase",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": "", "generation": 1},
        "spec": {"serverRef": {"name": "bench"}, "roles": roles},
    }


def applied(number: int) -> dict[str, Any]:
    body = manifest(number)
    body["metadata"] = {"name": body["metadata"]["name"], "namespace": NAMESPACE}
    return body


def database_server(server: Server) -> dict[str, Any]:
    return {
        "apiVersion": "servicedb.io/v1alpha1",
        "kind": "DatabaseServer",
        "metadata": {"name": "bench"},
        "spec": {
            "host": server.host,
            "port": server.port,
            "tls": {"mode": "Disable"},
            "adminSecretRef": {"namespace": "servicedb-system", "name": "bench-admin"},
            "allowedNamespaces": {"from": "Names", "names": [NAMESPACE]},
            "limits": {"maxDatabases": 5000, "maxDatabasesPerNamespace": 5000},
        },
    }


@contextmanager
def fleet(*, resync: int, log_statements: bool = False, started: bool = True) -> Iterator[Fleet]:
    """A cluster, a server and an operator, running where `started`; all but the cluster is removed at the end."""
    cluster = ensure("bench")
    settings = {
        "log_statement": "all" if log_statements else "none",
        "log_connections": "on" if log_statements else "off",
    }
    server = Server.start_new(18, session_directory() / f"bench-{time.monotonic_ns()}", settings=settings)
    running = Fleet(cluster, server, resync)
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "crds"))
    cluster.kubectl(
        "wait",
        "--for=condition=Established",
        "--timeout=60s",
        "crd/databaseservers.servicedb.io",
        "crd/servicedatabases.servicedb.io",
    )
    encoded = {
        key: base64.b64encode(value.encode()).decode()
        for key, value in (("username", server.admin.name), ("password", server.admin.password))
    }
    secret = {
        "name": "bench-admin",
        "namespace": "servicedb-system",
        "labels": {"servicedb.io/admin-credentials": "true"},
    }
    running.apply(
        *(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            for name in ("servicedb-system", NAMESPACE)
        ),
        {"apiVersion": "v1", "kind": "Secret", "metadata": secret, "data": encoded},
        database_server(server),
    )
    try:
        if started:
            running.start()
            cluster.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "dbserver/bench")
        yield running
    finally:
        running.stop()
        cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=900s")
        cluster.kubectl("delete", "dbserver", "bench")
        server.remove()


def count_in_log(server: Server, pattern: str, *, since: int) -> int:
    """How many lines of the server's log match `pattern`, from byte `since` on."""
    with server.log_path.open("rb") as file:
        file.seek(since)
        return len(re.findall(pattern.encode(), file.read(), re.MULTILINE))
