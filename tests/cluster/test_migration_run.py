"""MigrationRuns from `kubectl apply` to Ready: real Jobs, real pods, and a PostgreSQL server that the pods reach."""

import psycopg
import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import condition, wait_for
from tests.cluster.shop import ITEMS, NAMES, PATIENCE, Shop, inline, migrating


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
