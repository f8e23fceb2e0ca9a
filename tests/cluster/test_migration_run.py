"""MigrationRuns from `kubectl apply` to Ready: real Jobs, real pods, and a PostgreSQL server that the pods reach."""

import json
import socket
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
import pytest
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


@pytest.fixture(scope="module")
def shop(cluster: Cluster, objects: Objects, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    cluster.load_image(images.operator())
    folder = Path(tempfile.mkdtemp(prefix="migrations-", dir=session_directory()))
    environment = {"SERVICEDB_JOB_IMAGE": images.OPERATOR}
    with (
        Server.start_new(15, folder, host=towards_pods(cluster), tls=True) as server,
        Tenant.on(objects, server) as tenant,
        OperatorProcess.running(cluster.kubeconfig, tmp_path_factory.mktemp("operator"), environment=environment),
    ):
        assert server.ca_certificate is not None
        ca = {"ca.crt": server.ca_certificate.read_text()}
        tenant.add_secret("ca", ca, namespace="servicedb-system", labels={"servicedb.io/admin-credentials": "true"})
        reference = {"namespace": "servicedb-system", "name": "ca"}
        tenant.change_server({"spec": {"tls": {"mode": "VerifyFull", "caSecretRef": reference}}})
        yield Shop(tenant, objects)


def towards_pods(cluster: Cluster) -> str:
    """The address of this machine at which pods reach it: that from which it talks to their node."""
    output = 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}'
    node = cluster.kubectl("get", "nodes", "--output", output)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((node, 1))
        return str(probe.getsockname()[0])


def test_files_of_a_config_map_are_applied_and_the_application_uses_them(shop: Shop) -> None:
    shop.provision("orders")
    shop.write_files("orders", {"V1__items.sql": ITEMS, "V2__names.sql": NAMES})
    shop.migrate("orders", "orders")
    status = shop.wait("orders", status="True", reason="Ready")["status"]
    assert (status["version"], status["pending"]) == ("2", 0)
    assert [one["version"] for one in status["applied"]] == ["1", "2"]
    with shop.tenant.log_in("orders-app") as app:
        app.execute("INSERT INTO items (name) VALUES ('pen')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("SELECT * FROM servicedb_migrations.history")


def test_a_file_that_fails_is_named_and_corrected_it_is_applied(shop: Shop) -> None:
    shop.provision("invoices")
    shop.write_files("invoices", {"V1__items.sql": f"{ITEMS}\nINSERT INTO items (name) VALUES (NULL);\n"})
    shop.migrate("invoices", "invoices")
    stalled = shop.wait("invoices", status="False", reason="MigrationFailed")
    ready, succeeded = condition(stalled) or {}, condition(stalled, "Succeeded") or {}
    assert "V1__items.sql, line 3: SQLSTATE 23502" in ready["message"]
    assert (condition(stalled, "Stalled") or {})["reason"] == succeeded["reason"] == "MigrationFailed"
    assert stalled["status"]["failed"] == {"version": "1", "file": "V1__items.sql", "line": 3, "sqlstate": "23502"}
    shop.write_files("invoices", {"V1__items.sql": ITEMS})
    status = shop.wait("invoices", status="True", reason="Ready")["status"]
    assert (status["version"], "failed" in status) == ("1", False)


def test_a_source_that_is_set_back_takes_nothing_back(shop: Shop) -> None:
    shop.provision("stock")
    shop.migrate("stock", "stock", {"spec.source": inline({"V1__items.sql": ITEMS, "V2__names.sql": NAMES})})
    shop.wait("stock", status="True", reason="Ready")
    shop.change("stock", {"source": inline({"V1__items.sql": ITEMS})})
    found = shop.wait("stock", status="True", reason="DatabaseAhead")
    assert (condition(found, "Succeeded") or {})["reason"] == "DatabaseAhead"
    assert found["status"]["version"] == "2"
    with shop.tenant.log_in("stock-app") as app, pytest.raises(psycopg.errors.CheckViolation):
        app.execute("INSERT INTO items (name) VALUES ('a name that is too long')")


def test_seeds_go_into_databases_of_their_environment_alone(shop: Shop) -> None:
    shop.provision("demo")
    rows = "INSERT INTO items (name) VALUES ('pen'), ('ink');\n"
    source = inline({"V1__items.sql": ITEMS, "seeds/dev/items.sql": rows})
    shop.migrate("demo", "demo", {"spec.source": source, "spec.seeds": {"environment": "dev"}})
    shop.wait("demo", status="False", reason="SeedsNotAllowed")
    shop.tenant.change("demo", {"spec": {"environment": "dev"}})
    status = shop.wait("demo", status="True", reason="Ready")["status"]
    assert status["seeds"] == [{"file": "seeds/dev/items.sql", "rows": 2}]


def test_of_fifty_tenants_three_are_broken_and_hold_up_no_other(shop: Shop, cluster: Cluster) -> None:
    shop.provision("resellers")
    names = [f"tenant_{number:02}" for number in range(50)]
    broken = ["tenant_07", "tenant_19", "tenant_23"]
    registry = f"CREATE TABLE tenants AS SELECT unnest('{{{','.join(names)}}}'::text[]) AS schema_name;\n"
    shop.migrate(
        "registry", "resellers", {"spec.source": inline({"V1__tenants.sql": registry}), "spec.set": "registry"}
    )
    changes = {
        "spec.source": inline({"V1__items.sql": f"-- servicedb: requires registry/1\n{ITEMS}", "V2__names.sql": NAMES}),
        "spec.set": "tenants",
        "spec.tenants": {
            "query": "SELECT schema_name FROM tenants WHERE schema_name LIKE 'tenant%'",
            "create": True,
            "parallel": 8,
            "maxFailures": 5,
        },
    }
    shop.wait("registry", status="True", reason="Ready")
    with shop.tenant.log_in("resellers-migrator") as owner:
        for name in broken:
            owner.execute(f"CREATE SCHEMA {name} CREATE TABLE items (id bigint)".encode())
    shop.migrate("resellers", "resellers", changes)
    stalled = shop.wait("resellers", status="False", reason="MigrationFailed")
    status = stalled["status"]
    failing = status["tenants"].pop("failing")
    assert (status["tenants"], sorted(failing)) == ({"total": 50, "succeeded": 47, "failed": 3}, broken)
    message = (condition(stalled) or {})["message"]
    assert message.startswith("3 of 50 tenants failed, 0 were not begun; tenant_")
    assert "V1__items.sql, line 2: SQLSTATE 42P07" in message
    assert ("version" in status, status["pending"]) == (False, 2)
    shown = cluster.kubectl("get", "mrun", "resellers", "--namespace", shop.tenant.name, "--output=wide").splitlines()
    row = dict(zip(shown[0].split(), shown[1].split(), strict=False))  # VERSION is empty, and so one is left out
    assert list(row.items())[:3] == [("NAME", "resellers"), ("VERSION", "2"), ("PENDING", "MigrationFailed")]
    assert {"50", "3"} <= set(shown[1].split())
    with shop.tenant.log_in("resellers-app") as app:
        assert app.execute("SELECT count(*) FROM tenant_49.items").fetchone() == (0,)
    with shop.tenant.log_in("resellers-migrator") as owner:
        for name in broken:
            owner.execute(f"DROP TABLE {name}.items".encode())
    shop.objects.patch(
        "MigrationRun",
        "resellers",
        {"metadata": {"annotations": {"servicedb.io/reconcile-at": "repaired"}}},
        shop.tenant.name,
    )
    status = shop.wait("resellers", status="True", reason="Ready")["status"]
    assert status["tenants"] == {"total": 50, "succeeded": 50, "failed": 0, "failing": []}
    assert (status["version"], status["pending"]) == ("2", 0)


def test_of_two_for_one_set_the_older_works_until_it_is_gone(shop: Shop) -> None:
    shop.provision("carts")
    source = {"spec.source": inline({"V1__items.sql": ITEMS})}
    shop.migrate("carts", "carts", source)
    older = shop.get("carts")["metadata"]["creationTimestamp"]
    wait_for("another second", lambda: shop.now() > older)
    shop.migrate("carts-too", "carts", source)
    shop.wait("carts-too", status="False", reason="Duplicate")
    shop.wait("carts", status="True", reason="Ready")
    shop.objects.delete("MigrationRun", "carts", shop.tenant.name)
    assert shop.wait("carts-too", status="True", reason="Ready")["status"]["version"] == "1"


def test_a_pod_that_is_killed_leaves_nothing_and_the_next_one_ends_its_work(shop: Shop) -> None:
    shop.provision("payments")
    halfway = f"{ITEMS} SELECT pg_advisory_xact_lock(42);\nINSERT INTO items (name) VALUES ('pen');\n"
    with shop.tenant.server.connect(dbname="payments") as holder:
        holder.execute("SELECT pg_advisory_lock(42)")
        changes = {"spec.source": inline({"V1__items.sql": halfway}), "spec.lockTimeout": "10m", "spec.set": "killed"}
        shop.migrate("payments", "payments", changes)
        wait_for("a migration in the middle", lambda: shop.waits("payments") == 1, within=PATIENCE)
        process = migrating("--set=killed")
        process.kill()
        wait_for("the end of its session", lambda: shop.waits("payments") == 0)
        wait_for("a pod that was killed", lambda: 137 in shop.exit_codes("payments"), within=PATIENCE)
        assert holder.execute("SELECT to_regclass('public.items')").fetchone() == (None,)
    status = shop.wait("payments", status="True", reason="Ready")["status"]
    assert (status["version"], status["pending"]) == ("1", 0)
    with shop.tenant.log_in("payments-app") as app:
        assert app.execute("SELECT name FROM items").fetchall() == [("pen",)]


def inline(files: Mapping[str, str]) -> dict[str, Any]:
    return {"inline": [{"name": name, "content": content} for name, content in files.items()]}


def migrating(argument: str) -> psutil.Process:
    """The process in a pod that migrates with `argument`."""
    (found,) = [one for one in psutil.process_iter(["cmdline"]) if argument in (one.info["cmdline"] or ())]
    return found
