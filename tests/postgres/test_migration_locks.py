"""Migrations beside others: two runs at once, sessions in the way, indexes built under load."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from servicedb.jobs.migrate.migrate import migrate
from servicedb.jobs.migrate.request import Action, Request
from servicedb.plan.migrations.lexer import cut
from servicedb.plan.migrations.statements import traits
from servicedb.postgres.migrations.indexes import all_indexes, since
from servicedb.postgres.migrations.session import APPLICATION, DATABASE_KEY

from tests.postgres.conftest import on_versions
from tests.postgres.migrations import Database, until
from tests.postgres.pooler import pooled
from tests.postgres.server import Server


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    database = Database.new(server)
    yield database
    database.drop()


def waits_for_lock(database: Database, application: str = APPLICATION) -> bool:
    return bool(
        database.value(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            f"AND application_name = '{application}' AND wait_event_type = 'Lock'"
        )
    )


def test_of_two_runs_at_once_one_works_and_the_other_waits_its_turn(database):
    files = {f"{number}_a.sql": f"INSERT INTO seen SELECT {number}; SELECT pg_sleep(0.05)" for number in range(2, 6)}
    files["1_a.sql"] = "CREATE TABLE seen (number int PRIMARY KEY)"
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: database.up(files), range(3)))
    assert [result.outcome for result in results] == ["Succeeded"] * 3
    assert sorted(one.version for result in results for one in result.applied) == ["1", "2", "3", "4", "5"]
    assert database.value("SELECT count(*) FROM seen") == 4


def test_who_waits_names_whom(database):
    with database.connect(application_name="somebody") as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (DATABASE_KEY,))
        result = database.up({"1_a.sql": "SELECT 1"}, wait=0.1)
        assert (result.outcome, result.reason) == ("Retryable", "LockBusy")
        assert f"session {holder.info.backend_pid} (somebody from 127.0.0.1) works on this database" in result.message
        with ThreadPoolExecutor() as pool:
            run = pool.submit(database.up, {"1_a.sql": "SELECT 1"})
            until(lambda: any("(somebody from 127.0.0.1)" in line for line in database.told))
            holder.execute("SELECT pg_advisory_unlock_all()")
            assert run.result().outcome == "Succeeded"


@on_versions(16)
def test_a_migration_that_waits_lets_the_application_pass_and_tries_again(database):
    database.up({"1_a.sql": "CREATE TABLE t (a int)"})
    files = {"1_a.sql": "CREATE TABLE t (a int)", "2_b.sql": "ALTER TABLE t ADD COLUMN b int"}
    with database.connect(application_name="reader", autocommit=False) as reader, ThreadPoolExecutor() as pool:
        reader.execute("SELECT FROM t")
        run = pool.submit(database.up, files, lock_timeout=300, retries=100)
        until(lambda: any("SQLSTATE 55P03" in line and "(reader)" in line for line in database.told))
        assert database.rows("SELECT FROM t") == []  # queued behind the migration for a moment at most
        reader.rollback()
        assert run.result().version == "2"


@on_versions(16)
def test_retries_come_to_an_end(database):
    database.up({"1_a.sql": "CREATE TABLE t (a int)"})
    with database.connect(autocommit=False) as reader:
        reader.execute("SELECT FROM t")
        result = database.up(
            {"1_a.sql": "CREATE TABLE t (a int)", "2_b.sql": "DROP TABLE t"}, lock_timeout=50, retries=1
        )
    assert (result.outcome, result.reason) == ("Retryable", "TryAgain")
    assert result.failed is not None
    assert result.failed.sqlstate == "55P03"
    assert sum("follows" in line for line in database.told) == 1


@on_versions(16)
def test_a_backup_in_the_way_is_waited_out_and_costs_no_try(database):
    database.up({"1_a.sql": "CREATE TABLE t (a int)"})
    files = {"1_a.sql": "CREATE TABLE t (a int)", "2_b.sql": "ALTER TABLE t ADD COLUMN b int"}
    with (
        database.connect(application_name="servicedb-backup", autocommit=False) as backup,
        ThreadPoolExecutor() as pool,
    ):
        backup.execute("SELECT FROM t")
        run = pool.submit(database.up, files, lock_timeout=600, retries=0)
        pid = backup.info.backend_pid
        until(lambda: f"waiting for session {pid} (servicedb-backup)" in database.told)
        backup.rollback()
        assert run.result().version == "2"


CONCURRENTLY = {
    "1_a.sql": "CREATE TABLE t (a int); INSERT INTO t SELECT i FROM generate_series(1, 100) AS i; CREATE TABLE old ();",
    "2_b.sql": "-- servicedb: no-transaction\nCREATE INDEX CONCURRENTLY i ON t (a);\nVACUUM t;\n",
}


def test_an_index_is_built_concurrently_under_an_old_snapshot_however_long_that_takes(database):
    database.up({"1_a.sql": CONCURRENTLY["1_a.sql"]})
    with database.connect(autocommit=False) as old, ThreadPoolExecutor() as pool:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT FROM old")
        run = pool.submit(database.up, CONCURRENTLY, lock_timeout=50, retries=0)
        until(lambda: waits_for_lock(database))
        threading.Event().wait(0.3)  # six lock timeouts: it does not have one
        assert waits_for_lock(database)
        old.rollback()
        assert run.result().version == "2"
    assert database.rows("SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass") == [(True,)]


def test_an_index_that_fails_is_not_left_invalid(database):
    database.up({"1_a.sql": "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1); CREATE INDEX other ON t (a);"})
    database.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'other'::regclass")  # not ours
    files = {
        "1_a.sql": "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (1); CREATE INDEX other ON t (a);",
        "2_b.sql": "-- servicedb: no-transaction\nCREATE TABLE u ();\nCREATE UNIQUE INDEX CONCURRENTLY i ON t (a);\n",
    }
    result = database.up(files)
    assert (result.outcome, result.reason) == ("Terminal", "MigrationFailed")
    assert result.failed is not None
    assert (result.failed.line, result.failed.sqlstate) == (3, "23505")
    assert database.rows("SELECT relname::text FROM pg_class WHERE relkind = 'i' AND relname IN ('i', 'other')") == [
        ("other",)
    ]
    database.execute("DELETE FROM t")
    assert database.up(files).version == "2"  # CREATE TABLE u is not run again


def test_what_was_carried_out_of_a_file_may_not_be_changed_and_the_rest_may(database):
    broken = {"1_a.sql": "-- servicedb: no-transaction\nCREATE TABLE a ();\nCREATE TABLE b (x nope);\n"}
    assert database.up(broken).reason == "MigrationFailed"
    changed = {"1_a.sql": broken["1_a.sql"].replace("TABLE a", "TABLE c").replace("nope", "int")}
    assert database.up(changed).reason == "ChangedMigration"
    assert database.up({"1_a.sql": broken["1_a.sql"].replace("nope", "int")}).outcome == "Succeeded"


def test_a_lost_connection_is_made_again(database):
    files = {"1_a.sql": "CREATE TABLE a ()", "2_b.sql": "SELECT pg_sleep(30)", "3_c.sql": "SELECT 1"}

    def cut() -> bool:
        return bool(
            database.value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' "
                f"AND application_name = '{APPLICATION}' AND datname = current_database() AND state = 'active'"
            )
        )

    with ThreadPoolExecutor() as pool:
        run = pool.submit(database.up, files, retries=1)
        until(cut)
        until(lambda: any("try 1 of 1 follows" in line for line in database.told))
        until(cut)
        assert run.result().outcome == "Retryable"
    assert database.history() == [("1", "applied")]


def test_serialization_failures_are_tried_again(database):
    database.up({"1_a.sql": "CREATE TABLE t (a int); CREATE SEQUENCE tries"})
    files = {
        "1_a.sql": "CREATE TABLE t (a int); CREATE SEQUENCE tries",
        "2_b.sql": "DO $$ BEGIN IF nextval('tries') < 3 THEN RAISE 'again' USING ERRCODE = '40001'; END IF; END $$;"
        "INSERT INTO t VALUES (1)",
    }
    assert database.up(files).version == "2"
    assert database.rows("SELECT a FROM t") == [(1,)]
    assert sum("40001" in line for line in database.told) == 2


@pytest.fixture
def batched(database: Database) -> Callable[[str], dict[str, str]]:
    database.execute(
        "CREATE TABLE t (id int PRIMARY KEY, a int, u uuid UNIQUE NOT NULL DEFAULT gen_random_uuid()); "
        "INSERT INTO t (id) SELECT i * 7 FROM generate_series(1, 1000) AS i; "
        f'ALTER TABLE t OWNER TO "{database.name}__owner"'
    )

    def files(batch: str) -> dict[str, str]:
        return {"1_a.sql": f"{batch}\nUPDATE t SET a = coalesce(a, 0) + 1 WHERE id BETWEEN :from AND :to;"}

    return files


def test_a_backfill_meets_every_row_once(database, batched):
    assert database.up(batched("-- servicedb: batch key=id size=90")).outcome == "Succeeded"
    assert database.rows("SELECT a, count(*) FROM t GROUP BY a") == [(1, 1000)]
    assert database.value("SELECT count(DISTINCT xmin::text) FROM t") == 12


def test_any_unique_key_will_do(database, batched):
    files = {"1_a.sql": "-- servicedb: batch key=u size=300\nUPDATE t SET a = 1 WHERE u BETWEEN :from AND :to;"}
    assert database.up(files).outcome == "Succeeded"
    assert database.value("SELECT count(*) FROM t WHERE a = 1") == 1000


@pytest.mark.parametrize("key", ["a", "nope"])
def test_a_key_that_could_miss_rows_is_refused(database, batched, key):
    files = {"1_a.sql": f"-- servicedb: batch key={key} size=3\nDELETE FROM t WHERE {key} BETWEEN :from AND :to;"}
    result = database.up(files)
    assert (result.outcome, result.reason) == ("Terminal", "BadBatch")
    assert database.value("SELECT count(*) FROM t") == 1000


def test_rows_that_were_committed_late_below_the_cursor_are_met_by_another_sweep(database, batched):
    """A trigger stands for the application: with the last piece it commits a row that the sweep has passed."""
    database.execute(
        "CREATE FUNCTION late() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF new.id = 7000 THEN INSERT INTO t (id) VALUES (1) ON CONFLICT DO NOTHING; END IF; RETURN new; END $$; "
        "CREATE TRIGGER late AFTER UPDATE ON t FOR EACH ROW EXECUTE FUNCTION late()"
    )
    remaining = "-- servicedb: batch key=id size=400\n-- servicedb: remaining SELECT count(*) FROM t WHERE a IS NULL"
    assert database.up(batched(remaining)).outcome == "Succeeded"
    assert database.value("SELECT count(*) FROM t WHERE a IS NULL") == 0
    assert database.value("SELECT count(*) FROM t") == 1001


def test_a_backfill_that_gets_nowhere_says_so(database, batched):
    result = database.up(batched("-- servicedb: batch key=id size=500\n-- servicedb: remaining SELECT 3::bigint"))
    assert (result.outcome, result.reason) == ("Terminal", "BatchRemains")
    assert database.value("SELECT max(a) FROM t") == 2


def test_the_password_is_in_nothing_that_is_said(database):
    with psycopg.connect(database.dsn) as connection:
        password = connection.info.password
    results = [database.up({"1_a.sql": "SELEC 1"}), database.up({"1_a.sql": "SELECT 1"})]
    assert password not in str([result.as_json() for result in results]) + str(database.told)


@on_versions(16)
@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_through_a_pooler_nothing_is_run(database, mode):
    with pooled(database.dsn, mode) as dsn:
        with psycopg.connect(dsn) as works:
            assert works.execute("SELECT current_database()").fetchone() == (database.name,)
        result = migrate(Request(action=Action.UP), {"1_a.sql": b"CREATE TABLE t ()"}, lambda: dsn)
    assert (result.outcome, result.reason) == ("Terminal", "PoolerInBetween")
    assert "connect to the server itself" in result.message
    assert database.value("SELECT to_regnamespace('servicedb_migrations')") is None


def test_what_reindex_left_is_known_by_the_relation_that_it_names(database):
    with database.connect(autocommit=True) as connection, database.connect(autocommit=False) as old:
        connection.execute(
            "CREATE TABLE other (a int); CREATE TABLE parted (a int) PARTITION BY RANGE (a); "
            "CREATE TABLE part PARTITION OF parted DEFAULT; CREATE INDEX parted_a ON parted (a)"
        )
        before = all_indexes(connection)
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM pg_class")
        with ThreadPoolExecutor() as pool:
            begun = pool.submit(connection.execute, "REINDEX INDEX CONCURRENTLY part_a_idx")
            until(lambda: database.value("SELECT count(*) FROM pg_class WHERE relname = 'part_a_idx_ccnew'"))
            database.execute(f"SELECT pg_cancel_backend({connection.info.backend_pid})")
            assert isinstance(begun.exception(), psycopg.errors.QueryCanceled)
        found = {}
        for statement in (
            "REINDEX INDEX CONCURRENTLY parted_a",
            "REINDEX TABLE CONCURRENTLY public.parted",
            "REINDEX SCHEMA CONCURRENTLY public",
            "REINDEX TABLE CONCURRENTLY other",
            "REINDEX TABLE CONCURRENTLY nowhere",
            "VACUUM parted",
        ):
            (one,) = cut(statement.encode()).statements
            found[statement] = [index.name for index in since(connection, before, traits(one))]
    left = ["part_a_idx_ccnew"]
    assert list(found.values()) == [left, left, left, [], [], []]
