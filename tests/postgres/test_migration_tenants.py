"""One set over many schemas."""

from collections.abc import Iterator

import pytest
from servicedb.jobs.migrate.request import Tenants

from tests.postgres.migrations import Database
from tests.postgres.server import Server

FILES = {"1_a.sql": "CREATE TABLE t (a int)", "2_b.sql": "INSERT INTO t VALUES (1)"}
NAMES = tuple(f"tenant_{number}" for number in range(6))


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    database = Database.new(server)
    yield database
    database.drop()


def test_every_schema_gets_the_set_and_a_history_of_its_own(database):
    result = database.up(FILES, tenants=Tenants(names=NAMES[:3], create=True))
    assert (result.outcome, result.reason, result.message) == ("Succeeded", "Applied", "")
    assert result.tenants is not None
    assert (result.tenants.total, result.tenants.succeeded, result.tenants.failed) == (3, 3, 0)
    for name in NAMES[:3]:
        assert database.rows(f"SELECT a FROM {name}.t") == [(1,)]
        assert database.value(f"SELECT has_schema_privilege('{database.name}__app', '{name}', 'USAGE')")
    assert database.value("SELECT to_regclass('public.t')") is None
    with database.connect() as owner:
        owner.execute("CREATE SCHEMA tenant_new; CREATE SCHEMA tenantless")
    again = database.up(FILES, tenants=Tenants(pattern=r"tenant\_%"))
    assert again.tenants is not None
    assert (again.tenants.total, [one.version for one in again.applied]) == (4, ["1", "2"])
    assert database.value("SELECT count(*) FROM servicedb_migrations.history") == 8


def test_a_pattern_that_matches_nothing_says_so(database):
    result = database.up(FILES, tenants=Tenants(pattern="tenant_%"))
    assert (result.outcome, result.reason) == ("Terminal", "NoTenants")


def test_a_query_can_name_them(database):
    with database.connect() as owner:
        owner.execute("CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE tenants AS VALUES ('a'), ('b')")
    result = database.up(FILES, tenants=Tenants(query="SELECT * FROM tenants"))
    assert result.tenants is not None
    assert result.tenants.succeeded == 2


@pytest.mark.parametrize(
    ("bad", "options", "counts"),
    [
        ({"tenant_0"}, {"canary": 1}, (0, 1)),
        ({"tenant_1"}, {"canary": 1, "parallel": 1}, (1, 1)),
        ({"tenant_1", "tenant_3"}, {"canary": 1, "parallel": 1, "max_failures": 1}, (2, 2)),
        ({"tenant_1", "tenant_3"}, {"canary": 0, "parallel": 2, "max_failures": 5}, (4, 2)),
    ],
)
def test_it_stops_at_too_many_failures_and_the_rest_resumes(database, bad, options, counts):
    with database.connect() as owner:
        for name in NAMES:
            owner.execute(f"CREATE SCHEMA {name}")
        for name in bad:
            owner.execute(f"CREATE TABLE {name}.t ()")
    result = database.up(FILES, tenants=Tenants(names=NAMES, **options))
    assert (result.outcome, result.reason) == ("Terminal", "MigrationFailed")
    assert result.tenants is not None
    assert (result.tenants.succeeded, result.tenants.failed) == counts
    assert set(result.tenants.failing) <= bad
    assert f"of 6 tenants failed, {6 - sum(counts)} were not begun; " in result.message
    with database.connect() as owner:
        for name in bad:
            owner.execute(f"DROP TABLE {name}.t")
    assert database.up(FILES, tenants=Tenants(names=NAMES)).outcome == "Succeeded"
    assert all(database.rows(f"SELECT a FROM {name}.t") == [(1,)] for name in NAMES)
