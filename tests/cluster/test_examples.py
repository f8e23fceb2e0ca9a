"""The examples kyb-platform, ecommerce, isp-multitenant and utxoiq as users apply them, seen from pods with Secrets.

The tests build on one another, in the order of the file. What their functions and constraints do is tested on real
servers of each version in tests/postgres/examples.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.cluster import utxoiq
from tests.cluster.api_server import ApiServer
from tests.cluster.harness import Cluster
from tests.cluster.installation import EXAMPLES, KINDS, in_pod, installed, psql, refusal

KYB: Final = "kyb-platform"
SHOP: Final = "ecommerce"
ISP: Final = "isp-multitenant"
CALLS: Final = {
    "product": "search_products('shoes')",
    "order": "validate_order_business_rules(gen_random_uuid(), 20, 1)",
    "payment": "summarize_payments(current_date)",
    "inventory": "summarize_movements(current_date)",
}
"""Each service of the shop, and a function that its application calls."""
TABLES: Final = {"product": "products", "order": "orders", "payment": "payments", "inventory": "inventory"}


@pytest.fixture(scope="module")
def examples(cluster: Cluster, api: ApiServer) -> Iterator[Cluster]:
    """With the operator and the examples in it, all Ready, and a pod in each that mounts the Secrets."""
    with installed(cluster, KYB, SHOP, ISP), utxoiq.applied(cluster):
        yield cluster


def status(cluster: Cluster, example: str, run: str) -> dict[str, Any]:
    words = ["get", "migrationrun", run, f"--namespace={example}", "--output=jsonpath={.status}"]
    found: dict[str, Any] = json.loads(cluster.kubectl(*words))
    return found


def change(cluster: Cluster, run: str, spec: str) -> None:
    patch = ["--type=merge", f"--patch={spec}"]
    cluster.kubectl("patch", "migrationrun", run, f"--namespace={KYB}", *patch)


def wait(cluster: Cluster, run: str, kind: str, reason: str) -> None:
    condition = f'jsonpath={{.status.conditions[?(@.type=="{kind}")].reason}}={reason}'
    cluster.kubectl("wait", f"--for={condition}", f"--namespace={KYB}", f"migrationrun/{run}", "--timeout=120s")


# all of them


@pytest.mark.parametrize("example", [KYB, SHOP, ISP])
def test_an_example_that_is_applied_again_changes_nothing(examples: Cluster, example: str) -> None:
    generations = seen(examples, example)
    again = examples.kubectl("apply", "-k", str(EXAMPLES / example)).splitlines()
    assert not [line for line in again if not line.endswith(" unchanged")]
    as_argo_cd = ["apply", "--server-side", "--field-manager=argocd-controller", "-k"]
    examples.kubectl(*as_argo_cd, str(EXAMPLES / example))  # a second manager, who agrees, meets no conflict
    assert seen(examples, example) == generations


def seen(cluster: Cluster, example: str) -> dict[str, int]:
    found = json.loads(cluster.kubectl("get", KINDS, f"--namespace={example}", "--output=json"))["items"]
    return {f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["generation"] for each in found}


# ecommerce


@pytest.mark.parametrize(("service", "version"), [*zip(CALLS, "1234", strict=True)])
def test_each_service_of_the_shop_is_migrated(examples: Cluster, service: str, version: str) -> None:
    found = status(examples, SHOP, f"{service}-service")
    assert (found["version"], found["pending"]) == (version, 0)


@pytest.mark.parametrize("service", CALLS)
def test_its_application_calls_functions_and_makes_nothing(examples: Cluster, service: str) -> None:
    app = f"{service}-service-app"
    psql(examples, app, f"SELECT * FROM {CALLS[service]}", example=SHOP)
    for statement in ("CREATE TABLE mine ()", f"DROP TABLE {TABLES[service]}"):
        assert "permission denied" in (said := refusal(examples, app, statement, example=SHOP)) or "owner" in said
    history = refusal(examples, app, "SELECT FROM servicedb_migrations.history", example=SHOP)
    assert "permission denied for schema servicedb_migrations" in history


@pytest.mark.parametrize("service", CALLS)
def test_its_analytics_reads_and_calls_no_function(examples: Cluster, service: str) -> None:
    analytics = f"{service}-service-analytics"
    assert psql(examples, analytics, f"SELECT count(*) FROM {TABLES[service]}", example=SHOP).isdigit()
    called = refusal(examples, analytics, f"SELECT * FROM {CALLS[service]}", example=SHOP)
    assert f"permission denied for function {CALLS[service].partition('(')[0]}" in called
    deleted = refusal(examples, analytics, f"DELETE FROM {TABLES[service]}", example=SHOP)
    assert f"permission denied for table {TABLES[service]}" in deleted


def test_its_migrator_makes_what_the_others_use_at_once(examples: Cluster) -> None:
    psql(examples, "order-service-migrator", "CREATE TABLE made (word text)", example=SHOP)
    psql(examples, "order-service-app", "INSERT INTO made VALUES ('one')", example=SHOP)
    assert psql(examples, "order-service-analytics", "SELECT word FROM made", example=SHOP) == "one"


def test_no_service_reaches_the_database_of_another(examples: Cluster) -> None:
    to_payments = ("/order_service?", "/payment_service?")
    said = refusal(examples, "order-service-app", "SELECT 1", replace=to_payments, example=SHOP)
    assert 'permission denied for database "payment_service"' in said


def test_buyers_in_many_processes_get_what_is_there_and_no_more(examples: Cluster) -> None:
    product = "00000000-0000-4000-8000-000000000001"
    app = "inventory-service-app"
    psql(examples, app, f"INSERT INTO inventory (product_id, sku, on_hand) VALUES ('{product}', 'S', 7)", example=SHOP)
    buy = f"SELECT reservation IS NOT NULL FROM reserve_inventory('{product}', gen_random_uuid(), 1)"
    script = f"""
    for buyer in $(seq 20); do psql -X -w -A -t "$(cat /secrets/{app}/uri)" -c "{buy}" & done
    wait
    """
    assert sorted(in_pod(examples, script, example=SHOP).split()) == ["f"] * 13 + ["t"] * 7


# isp-multitenant


def test_the_shared_tables_and_those_of_twenty_tenants_are_migrated(examples: Cluster) -> None:
    master, tenants = status(examples, ISP, "isp-master"), status(examples, ISP, "isp-tenants")
    assert [(found["version"], found["pending"]) for found in (master, tenants)] == [("6", 0), ("2", 0)]
    assert tenants["tenants"] == {"total": 20, "succeeded": 20, "failed": 0, "failing": []}


def test_its_application_sees_one_tenant_and_without_one_none(examples: Cluster) -> None:
    apart = ["--for=condition=TenantIsolation", f"--namespace={ISP}", "--timeout=60s"]
    examples.kubectl("wait", *apart, "servicedatabase/isp")
    count = "SELECT count(*) FROM tenants JOIN roles ON roles.tenant_id = tenants.id"
    assert psql(examples, "isp-migrator", count, example=ISP) == "60"
    tenant = psql(examples, "isp-migrator", "SELECT id FROM tenants LIMIT 1", example=ISP)
    set_tenant = f"SET app.current_tenant_id = '{tenant}'"
    plans = "SELECT (SELECT count(*) FROM tenant_01.plans) + (SELECT count(*) FROM tenant_20.plans)"
    assert psql(examples, "isp-app", count, set_tenant, count, example=ISP).split() == ["0", "3"]
    assert psql(examples, "isp-app", plans, example=ISP) == "0"


# kyb-platform


@pytest.mark.parametrize("name", ["kyb-platform", "kyb-development"])
def test_the_application_logs_in_with_the_keys_that_it_knows(examples: Cluster, name: str) -> None:
    script = f"""
    cd /secrets/{name}-app
    PGHOST=$(cat DB_HOST) PGPORT=$(cat DB_PORT) PGUSER=$(cat DB_USER) PGPASSWORD=$(cat DB_PASSWORD)
    PGDATABASE=$(cat DB_NAME) PGSSLMODE=verify-full PGSSLROOTCERT=/etc/servicedb/ca.crt
    export PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE PGSSLMODE PGSSLROOTCERT
    psql -X -w -A -t -c "SELECT current_database(), max(version), count(*) FROM migrations"
    """
    assert in_pod(examples, script, example=KYB).strip() == f"{name.replace('-', '_')}|3|3"


@pytest.mark.parametrize("role", ["app", "readonly"])
def test_nobody_rewrites_the_history(examples: Cluster, role: str) -> None:
    said = refusal(examples, f"{KYB}-{role}", "DELETE FROM migrations", example=KYB)
    assert "cannot delete from view" in said or "permission denied" in said


def test_developers_have_rows_to_work_with_and_production_has_none(examples: Cluster) -> None:
    levels = "SELECT string_agg(risk_level, ' ' ORDER BY registration_number) FROM businesses"
    assert psql(examples, "kyb-development-app", levels, example=KYB) == "low medium high critical"
    assert psql(examples, "kyb-platform-app", levels, example=KYB) == ""
    files = [one["file"] for one in status(examples, KYB, "kyb-development")["seeds"]]
    assert files == ["seeds/development/001_users.sql", "seeds/development/002_businesses.sql"]


def test_seeds_are_refused_in_production(examples: Cluster) -> None:
    change(examples, "kyb-platform", '{"spec": {"seeds": {"environment": "development"}}}')
    wait(examples, "kyb-platform", "Ready", "SeedsNotAllowed")
    change(examples, "kyb-platform", '{"spec": {"seeds": null}}')
    wait(examples, "kyb-platform", "Ready", "Ready")


def test_a_migration_is_taken_back_and_the_rows_stay(examples: Cluster) -> None:
    change(examples, "kyb-development", '{"spec": {"action": "Down", "target": "2"}}')
    wait(examples, "kyb-development", "Succeeded", "Reverted")
    shown = "SELECT max(version), (SELECT count(*) FROM businesses) FROM migrations"
    assert psql(examples, "kyb-development-app", shown, example=KYB) == "2|4"


def test_seeds_are_cleared_where_a_person_asks_for_it(examples: Cluster) -> None:
    change(examples, "kyb-development", '{"spec": {"action": "ClearSeeds", "target": "Latest"}}')
    wait(examples, "kyb-development", "Succeeded", "SeedsCleared")
    assert psql(examples, "kyb-development-app", "SELECT count(*) FROM businesses", example=KYB) == "0"


# utxoiq


def test_three_years_are_backed_up_in_two_places(examples: Cluster) -> None:
    utxoiq.fill(examples)
    utxoiq.run_now(examples, "backupschedule", "LastBackupSucceeded")
    found = utxoiq.status(examples, "backupschedule")
    assert found["backups"] >= 1  # the store may hold some of an earlier run
    assert "T01:00+00:00" in found["nextRun"]


def test_a_run_archives_and_deletes_what_is_old_and_keeps_the_aggregates(examples: Cluster) -> None:
    days = utxoiq.ask(examples, "SELECT count(*) FROM system_metrics_daily")
    old = int(utxoiq.ask(examples, "SELECT count(*) FROM system_metrics WHERE ts < now() - interval '125 days'"))
    assert old > 0
    utxoiq.run_now(examples, "retentionpolicy", "LastRunSucceeded")
    assert (
        utxoiq.ask(examples, "SELECT max(now() - created_at) < '181 days' FROM backfill_jobs WHERE status = 'done'")
        == "t"
    )
    assert utxoiq.ask(examples, "SELECT count(*) FROM backfill_jobs WHERE status = 'running'") == "11"
    assert utxoiq.ask(examples, "SELECT count(*) BETWEEN 729 AND 731 FROM insight_feedback") == "t"
    oldest = "SELECT now() - min(ts) BETWEEN interval '89 days' AND interval '125 days' FROM system_metrics"
    assert utxoiq.ask(examples, oldest) == "t"
    assert utxoiq.ask(examples, "SELECT count(*) FROM system_metrics_daily") == days
    found = utxoiq.status(examples, "retentionpolicy")
    rules = {one["table"]: one for one in found["lastRun"]["rules"]}
    assert {one["archivedRows"] - one["deletedRows"] for one in rules.values()} == {0}
    assert rules["public.system_metrics"]["deletedRows"] >= old
    assert rules["public.system_metrics"]["partitionsDropped"] >= 31
    assert {one["type"]: one["status"] for one in found["conditions"]} == dict.fromkeys(
        ("Ready", "LastRunSucceeded", "PartitionsAhead"), "True"
    )
    assert "T02:00+00:00" in found["nextRun"]


def test_partitions_are_there_for_the_months_to_come(examples: Cluster) -> None:
    in_months = "now() + interval '80 days'"
    utxoiq.ask(examples, f"INSERT INTO system_metrics VALUES ({in_months}, 'indexer', 'height', 1)")
    assert utxoiq.ask(examples, "SELECT count(*) FROM system_metrics WHERE ts > now()") == "1"


def test_the_ledger_says_what_was_done_to_the_owner_alone(examples: Cluster) -> None:
    tables = "SELECT count(*) > 0 FROM pg_tables WHERE schemaname = 'servicedb_retention'"
    assert utxoiq.ask(examples, tables, "migrator") == "t"
    for role in ("app", "readonly"):
        said = refusal(examples, f"utxoiq-{role}", "SELECT FROM servicedb_retention.runs", example=utxoiq.EXAMPLE)
        assert "permission denied for schema servicedb_retention" in said


def test_an_opinion_counts_once(examples: Cluster) -> None:
    opinion = "INSERT INTO insight_feedback (user_id, insight_id, rating) SELECT user_id, insight_id, 1"
    said = refusal(examples, "utxoiq-app", f"{opinion} FROM insight_feedback LIMIT 1", example=utxoiq.EXAMPLE)
    assert "duplicate key" in said
