"""One set over many schemas."""

from collections.abc import Iterator

import pytest
from servicedb.jobs.migrate.request import Action, Tenants

from tests.postgres.conftest import on_versions
from tests.postgres.migrations import Database
from tests.postgres.server import Server

FILES = {
    "1_a.sql": "CREATE TABLE t (a int)\n-- servicedb: down\nDROP TABLE t",
    "2_b.sql": "INSERT INTO t VALUES (1)\n-- servicedb: down\nDELETE FROM t",
}
SEEDS = {"seeds/dev/t.sql": "INSERT INTO t VALUES (2), (3)"}
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


def test_a_query_names_them_and_the_missing_are_made_where_that_is_asked_for(database):
    with database.connect() as owner:
        owner.execute("CREATE SCHEMA a; CREATE TABLE tenants AS VALUES ('a'), ('b'), ('a')")
    missing = database.up(FILES, tenants=Tenants(query="SELECT * FROM tenants"))
    assert (missing.outcome, missing.reason) == ("Terminal", "MissingTenants")
    assert "no schema for 1 of the tenants: 1 that the query names." in missing.message
    assert database.value("SELECT to_regclass('a.t')") is None
    result = database.up(FILES, tenants=Tenants(query="SELECT * FROM tenants", create=True))
    assert result.tenants is not None
    assert (result.tenants.total, result.tenants.succeeded, result.version) == (2, 2, "2")


def test_a_table_that_another_set_is_to_make_is_waited_for(database):
    result = database.up(FILES, tenants=Tenants(query="SELECT name FROM tenants"))
    assert (result.outcome, result.reason) == ("Retryable", "TenantsUnknown")
    assert 'relation "tenants" does not exist' in result.message


@pytest.mark.parametrize(
    ("query", "words"),
    [
        pytest.param("SELECT 'a', 'b'", "gives 2 columns", id="two columns"),
        pytest.param("SELECT", "gives 0 columns", id="no column"),
        pytest.param("SELECT NULL::text", "gives NULL in row 1", id="null"),
        pytest.param("SELECT 7", "gives no text in row 1", id="a number"),
        pytest.param("VALUES ('a'), ('')", "no name of a schema in row 2: it has 0 bytes", id="empty"),
        pytest.param("SELECT repeat('ä', 32)", "it has 64 bytes", id="too long"),
        pytest.param("SELECT 'pg_catalog'", "belongs to PostgreSQL or to servicedb", id="PostgreSQL's own"),
        pytest.param("SELECT 'servicedb_migrations'", "belongs to PostgreSQL or to servicedb", id="ours"),
        pytest.param("SELECT 's' || n FROM generate_series(1, 10001) n", "more than 10000 rows", id="without end"),
        pytest.param("CREATE TABLE x ()", "changes something", id="it changes something"),
        pytest.param("INSERT INTO known VALUES ('a') RETURNING *", "changes something", id="it writes"),
        pytest.param("SELECT 'a'; SELECT 'b'", "multiple commands", id="two statements"),
        pytest.param("COMMIT; DROP TABLE known", "multiple commands", id="it leaves its transaction"),
        pytest.param("SELECT nspname FROM", "syntax error", id="a syntax error"),
    ],
)
@on_versions(18)
def test_a_query_that_gives_no_names_is_refused_and_nothing_is_done(database, query, words):
    with database.connect() as owner:
        owner.execute("CREATE TABLE known (name text)")
    result = database.up(FILES, tenants=Tenants(query=query, create=True))
    assert (result.outcome, result.tenants) == ("Terminal", None)
    assert words in result.message
    assert database.rows("SELECT * FROM known") == []
    assert database.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'a'") == 0


def test_a_name_that_is_listed_and_not_there_is_named(database):
    result = database.up(FILES, tenants=Tenants(names=("x", "y")))
    assert (result.reason, 'the tenants: "x", "y".' in result.message) == ("MissingTenants", True)


def test_a_query_may_give_names_of_any_sort(database):
    with database.connect() as owner:
        owner.execute("""CREATE SCHEMA "Ünter 1"; CREATE SCHEMA "per%cent" """)
    query = "SELECT nspname FROM pg_namespace WHERE nspname LIKE '%nter%' UNION SELECT $$per%cent$$"
    result = database.up(FILES, tenants=Tenants(query=query))
    assert result.tenants is not None
    assert result.tenants.succeeded == 2


# What else there is to be done in every schema


def made(database: Database, names: tuple[str, ...] = NAMES[:3]) -> Tenants:
    result = database.up(FILES, tenants=Tenants(names=names, create=True))
    assert result.outcome == "Succeeded", result.message
    return Tenants(names=names)


def test_the_way_back_is_taken_in_every_schema_and_once(database):
    tenants = made(database)
    asked = {"tenants": tenants, "identity": "shop/orders/1"}
    result = database.down("1", **asked)
    assert (result.outcome, result.reason, result.version) == ("Succeeded", "Reverted", "1")
    assert all(database.rows(f"SELECT a FROM {name}.t") == [] for name in NAMES[:3])
    assert database.value("SELECT count(*) FROM servicedb_migrations.history") == 3
    assert database.down("1", **asked).reason == "AlreadyDone"
    assert database.up(FILES, tenants=tenants).reason == "Applied"
    assert database.down("1", **asked).reason == "Reverted"


def test_a_way_back_that_fails_in_one_schema_goes_on_there(database):
    tenants = made(database)
    database.execute(f"CREATE VIEW {NAMES[1]}.v AS TABLE {NAMES[1]}.t")
    asked = {"tenants": Tenants(names=tenants.names, canary=1, max_failures=3), "identity": "shop/orders/2"}
    result = database.down("0", **asked)
    assert (result.outcome, result.reason) == ("Terminal", "MigrationFailed")
    assert result.tenants is not None
    assert result.tenants.failing == [NAMES[1]]
    assert [database.value(f"SELECT to_regclass('{name}.t')") is None for name in NAMES[:3]] == [True, False, True]
    states = "SELECT schema_name, key, state FROM servicedb_migrations.history"
    assert database.rows(states) == [(NAMES[1], "1", "applied")]
    database.execute(f"DROP VIEW {NAMES[1]}.v")
    assert database.down("0", **asked).reason == "Reverted"
    assert database.rows(states) == []


@pytest.mark.parametrize(("action", "reason"), [(Action.PLAN, "Planned"), (Action.VERIFY, "Verified")])
def test_all_are_looked_at_and_nothing_is_done(database, action, reason):
    database.up({"1_a.sql": FILES["1_a.sql"]}, tenants=Tenants(names=NAMES[:2], create=True))
    database.up(FILES, tenants=Tenants(names=NAMES[:1]))
    before = database.rows("SELECT * FROM servicedb_migrations.history")
    result = database.run(action, FILES, tenants=Tenants(names=NAMES[:3], create=True))
    assert (result.outcome, result.reason, result.version, result.pending) == ("Succeeded", reason, None, ["1", "2"])
    assert result.tenants is not None
    assert result.tenants.succeeded == 3
    assert f"{NAMES[1]}: 1, 1 pending" in database.told
    assert database.rows("SELECT * FROM servicedb_migrations.history") == before
    assert database.value(f"SELECT count(*) FROM pg_namespace WHERE nspname = '{NAMES[2]}'") == 0


def test_verify_names_every_schema_in_which_a_file_was_changed(database):
    tenants = made(database)
    database.execute(f"UPDATE servicedb_migrations.history SET checksum = 'sha256:0' WHERE schema_name <> '{NAMES[0]}'")
    result = database.run(Action.VERIFY, FILES, tenants=tenants)
    assert (result.outcome, result.reason) == ("Terminal", "ChangedMigration")
    assert result.tenants is not None
    assert sorted(result.tenants.failing) == list(NAMES[1:3])


def test_seeds_go_into_every_schema_and_out_again(database):
    tenants = made(database)
    result = database.run(Action.SEED, FILES | SEEDS, environment="dev", tenants=tenants)
    assert (result.reason, [(one.file, one.rows) for one in result.seeds]) == ("Seeded", [("seeds/dev/t.sql", 6)])
    assert all(database.value(f"SELECT count(*) FROM {name}.t") == 3 for name in NAMES[:3])
    cleared = database.run(Action.CLEAR_SEEDS, {}, tenants=tenants)
    assert cleared.reason == "SeedsCleared"
    assert all(database.rows(f"SELECT a FROM {name}.t") == [(1,)] for name in NAMES[:3])


def test_a_tenant_waits_for_a_set_of_the_whole_database(database):
    names = Tenants(names=NAMES[:2], create=True)
    files = {"1_a.sql": "-- servicedb: requires master/3\nCREATE TABLE t (a int)"}
    waiting = database.up(files, set_name="tenants", tenants=names)
    assert (waiting.outcome, waiting.reason) == ("Retryable", "WaitingForSet")
    database.up({"3_m.sql": "SELECT 1"}, set_name="master")
    assert database.up(files, set_name="tenants", tenants=names).outcome == "Succeeded"


def test_a_set_of_one_schema_is_none_of_another_and_none_of_the_database(database):
    made(database, NAMES[:1])
    files = {"1_a.sql": "-- servicedb: requires default/1\nCREATE TABLE u (a int)"}
    other = database.up(files, set_name="other", tenants=Tenants(names=NAMES[1:2], create=True))
    assert other.reason == "WaitingForSet"
    assert database.up(files, set_name="other").reason == "WaitingForSet"
    assert database.up(files, set_name="other", tenants=Tenants(names=NAMES[:1])).outcome == "Succeeded"


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
