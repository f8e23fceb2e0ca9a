"""The example isp-multitenant: of twenty tenants none sees, makes or changes a row of another."""

from collections.abc import Callable, Iterator
from itertools import permutations

import pytest
from psycopg import errors, sql
from servicedb.jobs.migrate.request import Tenants

from tests.postgres.conftest import on_versions
from tests.postgres.isp import Isp, isolation
from tests.postgres.provision import Operator, Site, unused_name
from tests.postgres.server import Server

pytestmark = on_versions(15, 18)

NOBODY = "00000000-0000-0000-0000-000000000000"
CONTENTS = """
INSERT INTO public.users (tenant_id, email, name) SELECT id, 'ada@example.org', 'Ada ' || name FROM public.tenants;
INSERT INTO public.user_sessions (tenant_id, user_id, expires_at) SELECT tenant_id, id, now() FROM public.users;
INSERT INTO public.activity_logs (tenant_id, user_id, action) SELECT tenant_id, id, 'login' FROM public.users;
"""
OF_EACH = """
INSERT INTO {0}.subscribers (tenant_id, plan_id, name, address) SELECT tenant_id, id, 'Bob', 'Here' FROM {0}.plans;
INSERT INTO {0}.invoices (tenant_id, subscriber_id, month, amount)
    SELECT tenant_id, id, '2025-03-01', 29.90 FROM {0}.subscribers;
"""


@pytest.fixture(scope="module")
def isp(server: Server, shared_site: Callable[[Server, str], Site]) -> Iterator[Isp]:
    """With twenty tenants, and rows of each in every table."""
    site, name = shared_site(server, "createrole"), unused_name("isp")
    isp = Isp.provisioned(site, name)
    for result in (isp.up(), isp.up_tenants()):
        assert (result.outcome, result.reason) == ("Succeeded", "Applied"), result.message
    isp.execute(CONTENTS + "".join(OF_EACH.format(schema) for schema in tenants(isp).values()))
    yield isp
    site.drop(name)


def tenants(isp: Isp) -> dict[str, str]:
    """The tenants and their schemas."""
    return {str(tenant): schema for tenant, schema in isp.rows("SELECT id, schema_name FROM public.tenants")}


def seen(isp: Isp, tenant: str | None) -> dict[tuple[str, str], set[str]]:
    """Whose rows a session that works for `tenant` sees in each table."""
    with isp.as_tenant(tenant) as session:
        return {
            table: {
                str(whose)
                for (whose,) in session.execute(
                    sql.SQL("SELECT DISTINCT tenant_id FROM {}").format(sql.Identifier(*table))
                )
            }
            for table in isp.tables()
        }


def test_no_tenant_of_twenty_sees_a_row_of_another(isp: Isp) -> None:
    known = tenants(isp)
    assert (len(known), len(isp.tables())) == (20, 5 + 20 * 3)
    found = {tenant: seen(isp, tenant) for tenant in known}
    pairs = list(permutations(known, 2))
    assert len(pairs) == 380
    for one, other in pairs:
        assert [table for table, whose in found[one].items() if other in whose] == []
    for tenant, schema in known.items():  # and each sees its own: in the shared tables, and in its schema
        shown = {table for table, whose in found[tenant].items() if whose == {tenant}}
        assert shown == {table for table in isp.tables() if table[0] in ("public", schema)}


@pytest.mark.parametrize(
    "tenant", [None, "", "00000000-0000-0000-0000-000000000000"], ids=["unset", "empty", "nobody's"]
)
def test_without_a_tenant_nothing_is_seen(isp: Isp, tenant: str | None) -> None:
    assert set(map(frozenset, seen(isp, tenant).values())) == {frozenset()}


def test_what_is_no_tenant_at_all_is_an_error_and_no_way_in(isp: Isp) -> None:
    with pytest.raises(errors.InvalidTextRepresentation):
        seen(isp, "' OR true --")


def test_a_transaction_leaves_no_tenant_behind(isp: Isp) -> None:
    (tenant, *_) = tenants(isp)
    with isp.as_app() as session:
        with session.transaction():
            session.execute("SELECT set_config('app.current_tenant_id', %s, true)", (tenant,))
            assert session.execute("SELECT count(*) FROM users").fetchone() == (1,)
        assert session.execute("SELECT count(*) FROM users").fetchone() == (0,)


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        pytest.param("UPDATE users SET name = 'x' WHERE tenant_id = %(other)s", 0, id="changes none of another"),
        pytest.param("DELETE FROM users WHERE tenant_id = %(other)s", 0, id="deletes none of another"),
        pytest.param("UPDATE users SET name = 'x'", 1, id="changes its own alone"),
        pytest.param("DELETE FROM activity_logs", 1, id="deletes its own alone"),
    ],
)
def test_a_statement_reaches_the_rows_of_its_tenant_alone(isp: Isp, statement: str, rows: int) -> None:
    one, other, *_ = tenants(isp)
    with isp.as_tenant(one) as session:
        assert session.execute(statement.encode(), {"other": other}).rowcount == rows


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        pytest.param(
            "INSERT INTO users (tenant_id, email, name) VALUES (%(other)s, 'eve', 'Eve')",
            errors.InsufficientPrivilege,
            id="a row for another",
        ),
        pytest.param("UPDATE users SET tenant_id = %(other)s", errors.InsufficientPrivilege, id="a row to another"),
        pytest.param(
            "INSERT INTO user_sessions (tenant_id, user_id, expires_at) VALUES (%(one)s, %(user)s, now())",
            errors.ForeignKeyViolation,
            id="a reference to another's row",
        ),
        pytest.param("ALTER TABLE users DISABLE ROW LEVEL SECURITY", errors.InsufficientPrivilege, id="no policy"),
        pytest.param("SET LOCAL row_security = off; SELECT * FROM users", errors.InsufficientPrivilege, id="around it"),
        pytest.param("TRUNCATE users", errors.InsufficientPrivilege, id="all at once"),
    ],
)
def test_a_tenant_puts_nothing_into_anothers_rows(isp: Isp, statement: str, error: type[Exception]) -> None:
    one, other, *_ = tenants(isp)
    user = isp.value(f"SELECT id FROM users WHERE tenant_id = '{other}'")
    for place, value in (("%(one)s", one), ("%(other)s", other), ("%(user)s", user)):
        statement = statement.replace(place, f"'{value}'")
    with isp.as_tenant(one) as session, pytest.raises(error):
        session.execute(statement.encode())


async def test_the_operator_says_so_and_names_the_table_that_a_migration_forgot(isp: Isp) -> None:
    async with Operator(isp.site.objects) as operator:
        assert isolation((await operator.bring(isp.name)).conditions) == ("True", "")
        result = isp.up({"007_devices.up.sql": "CREATE TABLE devices (id uuid PRIMARY KEY, tenant_id uuid NOT NULL)"})
        assert result.outcome == "Succeeded"
        found = await operator.bring(isp.name)
        assert isolation(found.conditions) == ("False", "row-level security is not enabled: public.devices")
        assert found.ready.status == "True"
        isp.execute("DROP TABLE devices; DELETE FROM servicedb_migrations.history WHERE key = '7'")


def test_one_tenant_goes_back_and_the_others_stay(isp: Isp) -> None:
    before = tenants(isp)
    in_use = isp.down("0", set_name="tenants", tenants=Tenants(names=("tenant_20",)))
    assert (in_use.reason, in_use.failed.sqlstate if in_use.failed else None) == ("MigrationFailed", "23503")
    assert tenants(isp) == before
    isp.execute("DELETE FROM tenant_20.invoices; DELETE FROM tenant_20.subscribers")
    result = isp.down("0", set_name="tenants", tenants=Tenants(names=("tenant_20",)))
    assert (result.outcome, result.reason) == ("Succeeded", "Reverted"), result.message
    assert set(before.values()) - set(tenants(isp).values()) == {"tenant_20"}
    assert [table for table in isp.tables() if table[0] == "tenant_20"] == []
    assert len(isp.tables()) == 5 + 19 * 3
    assert isp.value("SELECT count(*) FROM users") == 19
