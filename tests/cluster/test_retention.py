"""RetentionPolicies in Kubernetes: real Jobs, real pods, a PostgreSQL server and an S3-compatible store."""

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
import pytest
from servicedb.plan.steps import RETENTION

from tests.api.examples import Manifest, changed
from tests.cluster.harness import store
from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import condition, wait_for
from tests.cluster.operator_process import Point, restarting
from tests.cluster.vault import PATIENCE, Vault

DAYS: Final = 400
KEPT: Final = 180
RULE: Final = {"table": "public.readings", "column": "at", "archiveAfter": f"{KEPT}d"}


@pytest.fixture(scope="module")
def vault(shop: Any, cluster: Cluster) -> Vault:
    vault = Vault.of(shop, store.ensure(cluster))
    shop.provision("metrics")
    with shop.tenant.log_in("metrics-migrator") as owner:
        owner.execute("CREATE TABLE readings (id bigint PRIMARY KEY, at timestamptz NOT NULL, value text)")
        owner.execute("CREATE INDEX ON readings (at)")
    return vault


def fill(vault: Vault) -> None:
    """A row for each day, at noon of it."""
    with vault.shop.tenant.log_in("metrics-app") as app:
        app.execute(
            "INSERT INTO readings SELECT n, now() - n * interval '1 day' - interval '1 hour', md5(n::text) "
            "FROM generate_series(0, %s) n ON CONFLICT DO NOTHING",
            (DAYS - 1,),
        )


def policy(vault: Vault, name: str, changes: Mapping[str, Any] | None = None) -> Manifest:
    """A RetentionPolicy that is due in months, with `changes` to it."""
    base = {
        "apiVersion": "servicedb.io/v1alpha1",
        "kind": "RetentionPolicy",
        "metadata": {"name": name, "namespace": vault.namespace},
        "spec": {
            "databaseRef": {"name": "metrics"},
            "schedule": f"0 0 1 {(datetime.now(UTC).month + 5) % 12 + 1} *",
            "archive": {"storage": vault.storage(name)},
            "rules": [RULE],
        },
    }
    return vault.objects.create(changed(base, dict(changes or {})))


def run_now(vault: Vault, name: str) -> None:
    annotations = {"servicedb.io/run-at": secrets.token_hex(4)}
    vault.change("RetentionPolicy", name, {"metadata": {"annotations": annotations}})


def rows(vault: Vault) -> int:
    with vault.shop.tenant.log_in("metrics-app") as app:
        (count,) = app.execute("SELECT count(*) FROM readings").fetchone() or (0,)
        return int(count)


def test_nothing_is_deleted_before_there_is_a_backup_and_then_what_is_old(vault: Vault, cluster: Cluster) -> None:
    fill(vault)
    vault.schedule("nightly", "metrics")
    policy(vault, "daily", {"spec.requireBackup": {"scheduleRef": {"name": "nightly"}}})
    run_now(vault, "daily")
    vault.wait("RetentionPolicy", "daily", status="False", reason="BackupTooOld")
    assert rows(vault) == DAYS
    vault.run_now("nightly")
    done = vault.wait("RetentionPolicy", "daily", of="LastRunSucceeded", status="True")["status"]
    (rule,) = done["lastRun"]["rules"]
    assert (rule["table"], rule["archivedRows"], rule["deletedRows"]) == ("public.readings", DAYS - KEPT, DAYS - KEPT)
    assert rows(vault) == KEPT
    header, line = cluster.kubectl("get", "rpol", "daily", "-n", vault.namespace).splitlines()
    assert header.split() == ["NAME", "LAST", "RUN", "ARCHIVED", "DELETED", "NEXT", "READY", "STATUS", "AGE"]
    assert line.split()[2:4] == [str(DAYS - KEPT)] * 2
    assert line.split()[5:7] == ["True", "Ready"]


def test_the_ledger_is_shut_to_the_application_and_the_login_to_all_else(vault: Vault) -> None:
    with (
        vault.shop.tenant.log_in("metrics-app") as app,
        pytest.raises(psycopg.errors.InsufficientPrivilege, match="schema servicedb_retention"),
    ):
        app.execute("SELECT FROM servicedb_retention.runs")
    with vault.shop.tenant.log_in("metrics-migrator") as owner:
        owner.execute("CREATE TABLE private (word text)")
    with vault.shop.tenant.log_in("metrics-retain") as retain:
        assert retain.execute("SELECT current_user").fetchone() == ("metrics__retain_grp",)
        for statement in ("TABLE private", "INSERT INTO readings VALUES (0, now())", "TRUNCATE readings"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                retain.execute(statement)


def test_a_second_policy_on_a_table_is_refused_and_a_plan_only_looks(vault: Vault) -> None:
    before = rows(vault)
    policy(vault, "another")
    refused = vault.wait("RetentionPolicy", "another", of="Stalled", status="True", reason="Duplicate")
    said = (condition(refused, "Stalled") or {})["message"]
    assert 'RetentionPolicy "daily" has a rule for table public.readings' in said
    vault.objects.delete("RetentionPolicy", "another", vault.namespace)
    vault.change("RetentionPolicy", "daily", {"spec": {"mode": "Plan", "rules": [RULE | {"archiveAfter": "10d"}]}})

    def planned() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (vault.get("RetentionPolicy", "daily")["status"].get("plan") or {}).get(
            "rules", []
        )
        return found

    wait_for("a plan", lambda: bool(planned()), within=PATIENCE, told=lambda: told(vault))
    assert [(one["table"], one["rows"]) for one in planned()] == [("public.readings", before - 10)]
    assert rows(vault) == before


def test_an_operator_that_is_killed_at_any_step_goes_on_and_runs_each_run_once(vault: Vault) -> None:
    """The operator is started again after each kill."""
    operator, name = vault.shop.operator, "killed"
    vault.objects.delete("RetentionPolicy", "daily", vault.namespace)
    fill(vault)
    operator.kill()
    point = f"retentionpolicies/{vault.namespace}/{name}"
    armed = {step: operator.arm(Point(point, step.__name__)) for step in RETENTION}
    operator.start()
    policy(vault, name, {"spec.job": {"ttl": "1s"}})
    with restarting(operator):
        run_now(vault, name)
        done = vault.wait("RetentionPolicy", name, of="LastRunSucceeded", status="True")["status"]

        def forgotten() -> bool:
            return "job" not in vault.get("RetentionPolicy", name)["status"]

        wait_for("the end of its Job", forgotten, within=PATIENCE, told=lambda: told(vault))
    assert {step.__name__ for step, point in armed.items() if not operator.was_hit(point)} == set()
    assert (done["lastRun"]["deletedRows"], rows(vault)) == (DAYS - KEPT, KEPT)
    with vault.shop.tenant.log_in("metrics-migrator") as owner:
        runs = owner.execute("SELECT count(*) FROM servicedb_retention.runs").fetchone()
    assert runs == (2,)
    vault.objects.delete("RetentionPolicy", name, vault.namespace)


def test_the_logins_go_with_the_last_policy(vault: Vault) -> None:
    def roles() -> set[str]:
        found = vault.get("ServiceDatabase", "metrics")["status"]["roles"]
        return {one["name"] for one in found}

    wait_for("the end of the logins", lambda: not roles() & {"retain", "partition"}, within=PATIENCE)


def told(vault: Vault) -> str:
    shown = [one["status"] for one in vault.objects.listed("RetentionPolicy", vault.namespace)]
    found = condition(vault.get("ServiceDatabase", "metrics"))
    return json.dumps([shown, found]) + vault.told()
