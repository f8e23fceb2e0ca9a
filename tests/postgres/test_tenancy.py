"""TenantIsolation: what keeps the rows of tenants from being kept apart is said, and never changed."""

from typing import Any

import pytest
from servicedb.postgres.tenancy import scan_tenancy

from tests.postgres.conftest import as_admin, on_versions, superusers_on_the_newest_alone
from tests.postgres.provision import Operator, Site, full_spec
from tests.postgres.test_overrides import migrate

BOUND = "(tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid)"
TENANTS = (
    """
CREATE TABLE {name} (id uuid PRIMARY KEY, tenant_id uuid NOT NULL);
ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;
CREATE POLICY by_tenant ON {name} USING """
    + BOUND
)
KEPT_APART = TENANTS.format(name="kept")

NO_POLICY = 'no policy compares "tenant_id" with app.current_tenant_id'


def spec(name: str, tenancy: dict[str, Any] | None = None, **roles: Any) -> dict[str, Any]:
    logins = {role: login for role, login in full_spec(name)["roles"].items() if role != "extra"}
    return full_spec(name, roles={**logins, **roles}, tenancy=tenancy or {})


@pytest.mark.parametrize(
    ("statements", "fault"),
    [
        pytest.param(KEPT_APART, None, id="kept apart"),
        pytest.param("CREATE TABLE a ()", 'no column "tenant_id": public.a', id="no column"),
        pytest.param(
            "CREATE TABLE a (tenant_id uuid)", "row-level security is not enabled: public.a", id="not enabled"
        ),
        pytest.param(
            "CREATE TABLE a (tenant_id uuid); ALTER TABLE a ENABLE ROW LEVEL SECURITY",
            f"{NO_POLICY}: public.a",
            id="no policy",
        ),
        pytest.param(
            f"{KEPT_APART}; CREATE POLICY open ON kept FOR SELECT USING (true)",
            'policy "open" does not compare "tenant_id" with app.current_tenant_id: public.kept',
            id="a second policy that opens it",
        ),
        pytest.param(
            f"{KEPT_APART}; CREATE POLICY all_of_them ON kept FOR SELECT TO {{name}}__readonly_a USING (true)",
            None,
            id="a reader is let see all by its name",
        ),
        pytest.param(
            """
            CREATE FUNCTION tenant() RETURNS uuid STABLE LANGUAGE sql
                RETURN nullif(current_setting('app.current_tenant_id', true), '')::uuid;
            CREATE TABLE a (tenant_id uuid); ALTER TABLE a ENABLE ROW LEVEL SECURITY;
            CREATE POLICY a ON a USING (tenant_id = tenant())
            """,
            None,
            id="the setting stands in a function",
        ),
        pytest.param(
            f"{KEPT_APART}; CREATE SCHEMA app; CREATE VIEW app.v AS TABLE kept; CREATE VIEW app.w AS TABLE app.v",
            "read as its owner, whom row-level security passes over (set security_invoker): app.v, app.w",
            id="views that are read as the owner",
        ),
        pytest.param(
            f"{KEPT_APART}; CREATE VIEW v WITH (security_invoker) AS SELECT * FROM kept",
            None,
            id="a view that is read as who asks",
        ),
        pytest.param(
            f"{KEPT_APART}; CREATE MATERIALIZED VIEW m AS SELECT * FROM kept",
            "a materialized view has no row-level security: public.m",
            id="a materialized view",
        ),
        pytest.param(
            """
            CREATE TABLE a (tenant_id uuid, made date) PARTITION BY RANGE (made);
            ALTER TABLE a ENABLE ROW LEVEL SECURITY;
            CREATE TABLE a_2025 PARTITION OF a FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
            CREATE POLICY a ON a USING """
            + BOUND,
            "row-level security is not enabled: public.a_2025",
            id="a partition that can be read by itself",
        ),
        pytest.param(
            """
            CREATE SCHEMA tenant_1; CREATE SCHEMA tenant_2;
            CREATE TABLE tenant_1.a (); CREATE TABLE tenant_2.a (); CREATE TABLE tenant_2.plans ()
            """,
            'no column "tenant_id": tenant_1.a, tenant_2.a',
            id="schemas that migrations made, and what is exempt in each",
        ),
    ],
)
@on_versions(18)
@as_admin("createrole")
async def test_what_is_found(site: Site, database: str, statements: str, fault: str | None) -> None:
    site.provision(database, spec(database, {"exempt": ["plans"]}))
    migrate(site, database, statements.replace("{name}", database))
    async with Operator(site.objects) as operator:
        found = await operator.bring(database)
    isolation = found.conditions["TenantIsolation"]
    expected = ("True", "Isolated", "") if fault is None else ("False", "NotIsolated", fault)
    assert (isolation.status, isolation.reason, isolation.message) == expected
    assert (found.ready.status, found.changes) == ("True", ())


@superusers_on_the_newest_alone()
async def test_it_follows_what_migrations_do_and_goes_with_the_field(site: Site, database: str) -> None:
    asked = spec(database, {"schemaPattern": "tenant\\_%", "exempt": ["tenant_1.plans"]})
    site.provision(database, asked)
    async with Operator(site.objects) as operator:
        first = await operator.bring(database)
        assert first.conditions["TenantIsolation"].status == "True"
        table = "CREATE TABLE plans (); CREATE TABLE tenant_1.plans (); CREATE TABLE tenant_1.orders (tenant_id uuid)"
        migrate(site, database, f"CREATE SCHEMA tenant_1; {table}")
        broken = await operator.bring(database)
        assert broken.conditions["TenantIsolation"].message == "row-level security is not enabled: tenant_1.orders"
        again = await operator.bring(database)
        assert (again.steps, again.conditions["TenantIsolation"]) == ((), broken.conditions["TenantIsolation"])
        policy = "ALTER TABLE tenant_1.orders ENABLE ROW LEVEL SECURITY; CREATE POLICY a ON tenant_1.orders USING "
        migrate(site, database, policy + BOUND)
        assert (await operator.bring(database)).conditions["TenantIsolation"].reason == "Isolated"
        site.want(database, {**asked, "tenancy": None})
        assert "TenantIsolation" not in (await operator.bring(database)).conditions


@on_versions(18)
@as_admin("createrole")
async def test_an_application_that_works_as_the_owner_is_held_by_force_alone(site: Site, database: str) -> None:
    app = {"secretName": f"{database.replace('_', '-')}-app", "access": "Owner"}
    site.provision(database, spec(database, app=app))
    migrate(site, database, KEPT_APART + "; INSERT INTO kept SELECT gen_random_uuid(), gen_random_uuid()")
    async with Operator(site.objects) as operator:
        found = (await operator.bring(database)).conditions["TenantIsolation"]
        assert found.message == "row-level security is not forced, and app works as the owner: public.kept"
        with site.login(database, "app") as connection:
            assert len(connection.execute("SELECT FROM kept").fetchall()) == 1
        migrate(site, database, "ALTER TABLE kept FORCE ROW LEVEL SECURITY")
        assert (await operator.bring(database)).conditions["TenantIsolation"].status == "True"
    with site.login(database, "app") as connection:
        assert connection.execute("SELECT FROM kept").fetchall() == []


@on_versions(18)
@as_admin("createrole")
async def test_a_table_that_a_migration_holds_leaves_it_unknown_until_it_is_free(site: Site, database: str) -> None:
    site.provision(database, spec(database))
    migrate(site, database, KEPT_APART)
    async with Operator(site.objects) as operator:
        with site.login(database, "migrator") as migration, migration.transaction(force_rollback=True):
            migration.execute("LOCK TABLE kept")
            held = await operator.bring(database)
            assert (held.ready.status, held.conditions["TenantIsolation"].status) == ("True", "Unknown")
        assert (await operator.bring(database)).conditions["TenantIsolation"].status == "True"


@on_versions(18)
@as_admin("createrole")
async def test_without_the_field_nothing_is_read(site: Site, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    async def noted(*arguments: Any, **options: Any) -> Any:
        asked.append(options)
        return await scan_tenancy(*arguments, **options)

    monkeypatch.setattr("servicedb.reconcile.inside.scan_tenancy", noted)
    site.provision(database, {**spec(database), "tenancy": None})
    assert asked == []
    site.provision(database, spec(database))
    assert asked != []
