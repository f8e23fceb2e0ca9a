"""The examples kyb-platform, ecommerce and isp-multitenant as their users apply them, seen from pods with the Secrets.

The tests build on one another, in the order of the file. What their functions and constraints do is tested on real
servers of each version in tests/postgres/examples.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

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
    with installed(cluster, KYB, SHOP, ISP):
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
