"""Many ServiceDatabases on one real server, in a cluster of its own, worked on by the real operator."""

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from servicedb.settings import Settings

from tests.cluster.harness.cluster import Cluster, ensure
from tests.postgres.server import Server, session_directory

ROOT = Path(__file__).parents[2]
NAMESPACE = "bench"
_DEADLINE = 900.0


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
    process: subprocess.Popen[bytes] | None = None

    def apply(self, *objects: dict[str, Any]) -> None:
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        self.cluster.kubectl("apply", "--server-side", "-f", "-", text=listed)

    def wait_ready(self, count: int) -> None:
        """Wait until `count` ServiceDatabases are Ready for their present generation."""
        until = time.monotonic() + _DEADLINE
        while self._ready() < count:
            if time.monotonic() > until:
                raise TimeoutError(f"{self._ready()} of {count} ServiceDatabases were ready after {_DEADLINE:.0f} s")
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"the operator ended with status {self.process.returncode}")
            time.sleep(0.25)

    def _ready(self) -> int:
        listed = json.loads(
            self.cluster.kubectl("get", "--raw", f"/apis/servicedb.io/v1alpha1/namespaces/{NAMESPACE}/servicedatabases")
        )
        return sum(
            condition["type"] == "Ready"
            and condition["status"] == "True"
            and condition["observedGeneration"] == item["metadata"]["generation"]
            for item in listed["items"]
            for condition in (item.get("status") or {}).get("conditions") or ()
        )

    def usage(self) -> Usage:
        assert self.process is not None
        process = psutil.Process(self.process.pid)
        times = process.cpu_times()
        return Usage(times.user + times.system, process.memory_info().rss)


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
def fleet(*, resync: int, log_statements: bool = False) -> Iterator[Fleet]:
    """A cluster, a server and a running operator; all but the cluster is removed at the end."""
    cluster = ensure("bench")
    settings = {
        "log_statement": "all" if log_statements else "none",
        "log_connections": "on" if log_statements else "off",
    }
    server = Server.start_new(18, session_directory() / f"bench-{time.monotonic_ns()}", settings=settings)
    running = Fleet(cluster, server)
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
    environment = {
        **os.environ,
        "SERVICEDB_RESYNC": str(resync),
        "SERVICEDB_PROBE": str(Settings().probe * resync / Settings().resync),  # as often to a resync as by default
        "SERVICEDB_HTTP_HOST": "127.0.0.1",
        "SERVICEDB_HTTP_PORT": "18099",
    }
    log = (ROOT / "build" / "bench-operator.log").open("wb")
    command = [sys.executable, "-m", "servicedb", "run", "--kubeconfig", str(cluster.kubeconfig)]
    running.process = subprocess.Popen(command, env=environment, stderr=log)
    try:
        cluster.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "dbserver/bench")
        yield running
    finally:
        running.process.terminate()
        running.process.wait()
        log.close()
        cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=300s")
        cluster.kubectl("delete", "dbserver", "bench")
        server.remove()


def count_in_log(server: Server, pattern: str, *, since: int) -> int:
    """How many lines of the server's log match `pattern`, from byte `since` on."""
    with server.log_path.open("rb") as file:
        file.seek(since)
        return len(re.findall(pattern.encode(), file.read(), re.MULTILINE))
