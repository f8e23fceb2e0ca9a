"""A tenant whose databases pods can reach, and its MigrationRuns from `kubectl apply` to their end."""

import contextlib
import json
import socket
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil
from servicedb.plan.migration_job import RUN_UID

from tests.api.examples import Manifest, changed
from tests.cluster.harness import images
from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import Objects, condition, wait_for
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.tenant import Tenant, shown
from tests.postgres.server import Server, session_directory

PATIENCE: Final = 120.0
ITEMS: Final = "CREATE TABLE items (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL);\n"
NAMES: Final = "ALTER TABLE items ADD CONSTRAINT short CHECK (length(name) < 10);\n"


@dataclass(frozen=True, slots=True)
class Shop:
    """A tenant whose databases pods can reach, with an operator at work."""

    tenant: Tenant
    objects: Objects
    operator: OperatorProcess

    def provision(self, name: str) -> None:
        changes = {
            "spec.roles.migrator": {"secretName": f"{name}-migrator"},
            "spec.credentials.caFile": str(self.tenant.server.ca_certificate),
        }
        self.tenant.create(name, changes)
        self.tenant.wait_ready(name)

    def write_files(self, name: str, files: Mapping[str, str]) -> None:
        """A ConfigMap of `files`, new or in place of what it held."""
        if self.objects.get("ConfigMap", name, self.tenant.name) is None:
            metadata = {"name": name, "namespace": self.tenant.name}
            self.objects.create({"kind": "ConfigMap", "metadata": metadata, "data": dict(files)})
            return
        self.objects.patch("ConfigMap", name, {"data": dict(files)}, self.tenant.name)

    def migrate(self, name: str, database: str, changes: Mapping[str, Any] | None = None) -> Manifest:
        """A MigrationRun `name` for `database`, from the ConfigMap of its own name unless `changes` say otherwise."""
        base = {
            "apiVersion": "servicedb.io/v1alpha1",
            "kind": "MigrationRun",
            "metadata": {"name": name, "namespace": self.tenant.name},
            "spec": {"databaseRef": {"name": database}, "source": {"configMaps": [{"name": name}]}},
        }
        return self.objects.create(changed(base, dict(changes or {})))

    def change(self, name: str, spec: Mapping[str, Any]) -> None:
        self.objects.patch("MigrationRun", name, {"spec": dict(spec)}, self.tenant.name)

    def get(self, name: str) -> Manifest:
        return self.objects.get("MigrationRun", name, self.tenant.name) or {}

    def wait(self, name: str, *, status: str, reason: str) -> Manifest:
        """Wait until Ready is so for the present generation; gives the object."""

        def so() -> bool:
            found, ready = self.get(name), condition(self.get(name))
            return (
                ready is not None
                and (ready["status"], ready["reason"]) == (status, reason)
                and ready["observedGeneration"] == found["metadata"]["generation"]
                and condition(found, "Reconciling") is None
            )

        wait_for(f"{name} {reason}", so, within=PATIENCE, told=lambda: self.told(name))
        return self.get(name)

    def wait_told(self, name: str, reason: str, kind: str = "Ready") -> None:
        """Wait until a condition says so, for now."""

        def so() -> bool:
            return (condition(self.get(name), kind) or {}).get("reason") == reason

        wait_for(f"{name} {kind} {reason}", so, within=PATIENCE, told=lambda: self.told(name))

    def jobs(self, name: str) -> list[Manifest]:
        """The Jobs of a run that there are."""
        uid = self.get(name)["metadata"]["uid"]
        found = self.objects.listed("Job", self.tenant.name)
        return [one for one in found if one["metadata"]["labels"].get(RUN_UID) == uid]

    def now(self) -> str:
        """The time as in a creationTimestamp."""
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def waits(self, database: str) -> int:
        """How many migrations wait there for an advisory lock."""
        query = """
            SELECT count(*) FROM pg_stat_activity
            WHERE datname = %s AND application_name = 'servicedb-migrate' AND wait_event = 'advisory'
        """
        with self.tenant.server.connect() as connection:
            (found,) = connection.execute(query, (database,)).fetchone() or (0,)
        return int(found)

    def exit_codes(self, name: str) -> set[int]:
        """What the containers ended with of all pods of a run that are still known."""
        uid = self.get(name)["metadata"]["uid"]
        pods = self.objects.listed("Pod", self.tenant.name)
        own = [pod for pod in pods if pod["metadata"]["labels"].get(RUN_UID) == uid]
        states = [one["state"] for pod in own for one in pod["status"].get("containerStatuses", ())]
        return {state["terminated"]["exitCode"] for state in states if "terminated" in state}

    def told(self, name: str) -> str:
        pods = self.objects.listed("Pod", self.tenant.name)
        states = {pod["metadata"]["name"]: pod["status"].get("containerStatuses", [{}])[0].get("state") for pod in pods}
        return shown(self.get(name)) + json.dumps(states, indent=1)


@contextlib.contextmanager
def open_shop(cluster: Cluster, objects: Objects, logs: Path, **of_operator: Any) -> Iterator[Shop]:
    """A shop, with an operator as `of_operator` says, whose log goes to a folder."""
    cluster.load_image(images.operator())
    folder = Path(tempfile.mkdtemp(prefix="migrations-", dir=session_directory()))
    environment = {"SERVICEDB_JOB_IMAGE": images.OPERATOR}
    with (
        Server.start_new(15, folder, host=towards_pods(cluster), tls=True) as server,
        Tenant.on(objects, server) as tenant,
        OperatorProcess.running(cluster.kubeconfig, logs, environment=environment, **of_operator) as operator,
    ):
        assert server.ca_certificate is not None
        ca = {"ca.crt": server.ca_certificate.read_text()}
        tenant.add_secret("ca", ca, namespace="servicedb-system", labels={"servicedb.io/admin-credentials": "true"})
        reference = {"namespace": "servicedb-system", "name": "ca"}
        tenant.change_server({"spec": {"tls": {"mode": "VerifyFull", "caSecretRef": reference}}})
        yield Shop(tenant, objects, operator)


def towards_pods(cluster: Cluster) -> str:
    """The address of this machine at which pods reach it: that from which it talks to their node."""
    output = 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}'
    node = cluster.kubectl("get", "nodes", "--output", output)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((node, 1))
        return str(probe.getsockname()[0])


def inline(files: Mapping[str, str]) -> dict[str, Any]:
    return {"inline": [{"name": name, "content": content} for name, content in files.items()]}


def migrating(argument: str) -> psutil.Process:
    """The process in a pod that migrates with `argument`."""
    (found,) = [one for one in psutil.process_iter(["cmdline"]) if argument in (one.info["cmdline"] or ())]
    return found
