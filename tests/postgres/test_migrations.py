"""Migrations on real servers: up, down, and what a run leaves when it can't go on."""

import re
from collections.abc import Iterator

import psycopg
import pytest
from servicedb.jobs.migrate.migrate import migrate
from servicedb.jobs.migrate.request import Action, Request
from servicedb.plan.migrations.checksum import checksum
from servicedb.plan.migrations.history import Choice, Decision
from servicedb.postgres.migrations.session import Connect, Mounted

from tests.postgres.migrations import PASSWORD, Database
from tests.postgres.server import Server

ORDERS = {
    "001_orders.sql": "CREATE TABLE orders (id int PRIMARY KEY, total int);\n-- servicedb: down\nDROP TABLE orders;\n",
    "002_rows.sql": "INSERT INTO orders SELECT i, i FROM generate_series(1, 10) AS i;\n"
    "-- servicedb: down\nDELETE FROM orders;\n",
    "010_paid.sql": "ALTER TABLE orders ADD COLUMN paid bool NOT NULL DEFAULT false;\n"
    "-- servicedb: down\nALTER TABLE orders DROP COLUMN paid;\n",
}


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    database = Database.new(server)
    yield database
    database.drop()


def test_up_applies_in_order_and_once(database):
    result = database.up(ORDERS)
    assert (result.outcome, result.reason, result.from_version, result.version) == ("Succeeded", "Applied", None, "10")
    assert [(one.version, one.name) for one in result.applied] == [("1", "orders"), ("2", "rows"), ("10", "paid")]
    assert database.history() == [("1", "applied"), ("2", "applied"), ("10", "applied")]
    assert database.value("SELECT count(*) FROM orders WHERE NOT paid") == 10
    assert database.value("SELECT tableowner FROM pg_tables WHERE tablename = 'orders'") == f"{database.name}__owner"
    again = database.up(ORDERS)
    assert (again.outcome, again.reason, again.from_version, again.applied) == ("Succeeded", "UpToDate", "10", [])


def test_down_goes_back_by_the_history_alone(database):
    database.up(ORDERS)
    result = database.down("1")
    assert (result.outcome, result.reason, result.version) == ("Succeeded", "Reverted", "1")
    assert [one.version for one in result.applied] == ["10", "2"]
    assert database.history() == [("1", "applied")]
    assert database.value("SELECT count(*) FROM orders") == 0
    assert database.down("0").version is None
    assert database.value("SELECT to_regclass('orders')") is None
    assert database.up(ORDERS).version == "10"


@pytest.mark.parametrize(
    ("files", "sqlstate", "line", "constraint"),
    [
        ({"2_b.sql": "INSERT INTO t VALUES (7);\n\nSELEC 1;"}, "42601", 3, None),
        ({"2_b.sql": "INSERT INTO t VALUES (7);\nSELECT 1,\n  nope\nFROM t;"}, "42703", 3, None),
        ({"2_b.sql": "INSERT INTO t VALUES (7);\nINSERT INTO t\nVALUES (1);"}, "23505", 2, "t_pkey"),
        ({"2_b.sql": "INSERT INTO t VALUES (7);\nCOPY t FROM stdin;\n8\n9\nx\n\\.\n"}, "22P02", 5, None),
        ({"2_b.sql": "INSERT INTO t VALUES (7);\n\nDO $$ BEGIN\nCOMMIT;\nEND $$;"}, "2D000", 3, None),
        ({"2_b.sql": "INSERT INTO t VALUES (7);\nVACUUM t;"}, "25001", 2, None),
        ({"2_b.sql": "INSERT INTO t VALUES (7);\nCREATE INDEX CONCURRENTLY i ON t (a);"}, "25001", 2, None),
        ({"2_b.sql": "INSERT INTO t VALUES (7);\nALTER TYPE old ADD VALUE 'b';\nSELECT 'b'::old;"}, "55P04", 3, None),
        (
            {"2_b.sql": "CREATE TABLE u (a int REFERENCES t INITIALLY DEFERRED);\nINSERT INTO u VALUES (9);"},
            "23503",
            2,
            "u_a_fkey",
        ),
    ],
)
def test_a_migration_that_fails_leaves_everything_as_it_was(database, files, sqlstate, line, constraint):
    first = {"1_a.sql": "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1); CREATE TYPE old AS ENUM ('a');"}
    database.up(first)
    result = database.up(first | files)
    assert (result.outcome, result.reason, result.version, result.pending) == (
        "Terminal",
        "MigrationFailed",
        "1",
        ["2"],
    )
    assert result.failed is not None
    failed = result.failed
    assert (failed.version, failed.file, failed.line, failed.sqlstate, failed.constraint) == (
        "2",
        "2_b.sql",
        line,
        sqlstate,
        constraint,
    )
    assert database.rows("SELECT a FROM t") == [(1,)]
    assert database.history() == [("1", "applied")]
    assert database.rows("SELECT key, line, sqlstate FROM servicedb_migrations.failures") == [("2", line, sqlstate)]
    fixed = database.up(first | {"2_b.sql": "INSERT INTO t VALUES (2);"})
    assert (fixed.outcome, fixed.version) == ("Succeeded", "2")
    assert database.value("SELECT count(*) FROM servicedb_migrations.failures") == 0


def test_a_duplicate_in_a_table_that_is_called_like_ours_is_a_failure(database):
    files = {
        "1_a.sql": "CREATE TABLE history (id int PRIMARY KEY); INSERT INTO history VALUES (1)",
        "2_b.sql": "INSERT INTO history VALUES (1)",
    }
    result = database.up(files)
    assert (result.outcome, result.reason, result.version) == ("Terminal", "MigrationFailed", "1")
    assert result.failed is not None
    assert result.failed.constraint == "history_pkey"


def test_what_a_row_holds_is_in_no_message_unless_asked_for(database):
    files = {"1_a.sql": "CREATE TABLE t (a text UNIQUE);\nINSERT INTO t VALUES ('4711'), ('4711');"}
    result = database.up(files)
    assert "4711" not in result.termination_message()
    assert "4711" not in str(database.rows("SELECT * FROM servicedb_migrations.failures"))
    assert "4711" in database.up(files, detail="Full").message


def test_a_procedure_that_commits_is_known_by_its_transaction(database):
    """PostgreSQL itself refuses a COMMIT in a routine, as long as it knows of the transaction around it."""
    files = {"1_a.sql": "CREATE PROCEDURE p() LANGUAGE plpgsql AS 'BEGIN COMMIT; END'; CALL p();"}
    result = database.up(files)
    assert result.failed is not None
    assert result.failed.sqlstate == "2D000"
    assert database.history() == []


def test_a_file_that_was_changed_is_refused_until_somebody_accepts_it(database):
    database.up(ORDERS)
    crlf = {name: "\ufeff" + text.replace("\n", "\r\n") for name, text in ORDERS.items()}
    assert database.up(crlf).reason == "UpToDate"
    changed = ORDERS | {"002_rows.sql": "SELECT 1"}
    result = database.up(changed)
    new = checksum(b"SELECT 1")
    assert (result.outcome, result.reason) == ("Terminal", "ChangedMigration")
    assert checksum(ORDERS["002_rows.sql"].encode()) in result.message
    assert new in result.message
    assert database.run(Action.VERIFY, changed).reason == "ChangedMigration"
    accepted = database.up(changed, decisions=(Decision("2", new, Choice.ACCEPT),))
    assert (accepted.outcome, accepted.applied) == ("Succeeded", [])
    assert database.up(changed).reason == "UpToDate"


def test_a_source_that_was_set_back_takes_nothing_back(database):
    database.up(ORDERS)
    result = database.up({"001_orders.sql": ORDERS["001_orders.sql"]})
    assert (result.outcome, result.reason, result.version) == ("Succeeded", "DatabaseAhead", "10")
    missing = {name: text for name, text in ORDERS.items() if name != "002_rows.sql"}
    assert database.up(missing).reason == "MissingMigration"


def test_without_a_way_back_nothing_of_the_way_is_gone(database):
    database.up({"1_a.sql": "CREATE TABLE a ()", "2_b.sql": "CREATE TABLE b ();\n-- servicedb: down\nDROP TABLE b"})
    result = database.down("0")
    assert (result.outcome, result.reason) == ("Terminal", "NoWayBack")
    assert database.history() == [("1", "applied"), ("2", "applied")]


def test_a_way_back_that_fails_leaves_everything_as_it_was(database):
    database.up({"1_a.sql": "CREATE TABLE a ();\n-- servicedb: down\nDROP TABLE a; DROP TABLE nope"})
    result = database.down("0")
    assert (result.outcome, result.reason) == ("Terminal", "MigrationFailed")
    assert database.history() == [("1", "applied")]
    assert database.value("SELECT to_regclass('a') IS NOT NULL")


def test_a_way_back_in_batches_is_kept_as_one(database):
    up = "CREATE TABLE t (id int PRIMARY KEY, a int); INSERT INTO t SELECT i, i FROM generate_series(1, 10) AS i;\n"
    back = "-- servicedb: batch key=id size=3\nUPDATE t SET a = NULL WHERE id BETWEEN :from AND :to;\n"
    for files in ({"1_t.sql": up, "2_a.sql": f"SELECT 1;\n-- servicedb: down\n{back}"},
                  {"1_t.up.sql": up, "2_a.up.sql": "SELECT 1", "2_a.down.sql": back}):  # fmt: skip
        assert database.up(files).outcome == "Succeeded"
        result = database.down("1")
        assert (result.outcome, result.message, result.version) == ("Succeeded", "", "1")
        assert database.value("SELECT count(a) FROM t") == 0
        database.execute("DROP TABLE t; DELETE FROM servicedb_migrations.history")


@pytest.mark.parametrize(
    "first",
    ["DROP TABLE nope;", "-- servicedb: batch key=a size=3\nDELETE FROM a WHERE a BETWEEN :from AND :to;"],
    ids=["a statement", "a batch"],
)
def test_a_way_back_outside_a_transaction_that_fails_at_once_leaves_the_migration_applied(database, first):
    files = {"1_a.sql": f"CREATE TABLE a (a int);\n-- servicedb: down\n-- servicedb: no-transaction\n{first}"}
    database.up(files)
    assert database.down("0").outcome == "Terminal"
    assert database.history() == [("1", "applied")]
    assert database.up(files).reason == "UpToDate"


@pytest.mark.parametrize(
    ("failing", "choice", "left"),
    [
        ("DROP TABLE nope;", Choice.DONE, [False]),
        ("DROP TABLE nope;", Choice.SKIP, [True]),
        ("DROP INDEX CONCURRENTLY nope;", Choice.DONE, [False]),
        ("-- servicedb: batch key=x size=3\nDELETE FROM b WHERE x BETWEEN :from AND :to;", Choice.DONE, [False]),
    ],
)
def test_a_way_back_that_fails_in_the_middle_goes_on_by_a_decision(database, failing, choice, left):
    files = {
        "1_a.sql": "CREATE TABLE a (); CREATE TABLE b (x int);\n-- servicedb: down\n-- servicedb: no-transaction\n"
        f"DROP TABLE a;\n{failing}\nDROP TABLE b;"
    }
    database.up(files)
    failed = [database.down("0") for _ in range(2)][-1]
    assert (failed.outcome, database.history()) == ("Terminal", [("1", "leaving")])
    (digest,) = re.findall(r"sha256:[0-9a-f]{64}", failed.message)
    assert database.down("0", decisions=(Decision("1", digest.replace("a", "b"), choice),)).outcome == "Terminal"
    (digest,) = re.findall(r"sha256:[0-9a-f]{64}", database.down("0").message)
    result = database.down("0", decisions=(Decision("1", digest, choice),))
    assert (result.outcome, result.message, database.history()) == ("Succeeded", "", [])
    assert database.rows("SELECT to_regclass('b') IS NOT NULL") == [tuple(left)]


_LOCKS = "(SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory')"


@pytest.mark.parametrize(
    ("leaves", "holds"),
    [
        ("SET search_path = nowhere", "current_setting('search_path') <> 'nowhere'"),
        ("SET standard_conforming_strings = off", "current_setting('standard_conforming_strings') = 'on'"),
        ("SET lock_timeout = '1h'", "current_setting('lock_timeout') = '3s'"),
        ("SET shop.tenant = '7'", "coalesce(current_setting('shop.tenant', true), '') = ''"),
        ("CREATE TEMP TABLE staging ()", "to_regclass('staging') IS NULL"),
        ("PREPARE one AS SELECT 1", "(SELECT count(*) FROM pg_prepared_statements) = 0"),
        ("DECLARE one CURSOR WITH HOLD FOR SELECT 1", "(SELECT count(*) FROM pg_cursors) = 0"),
        ("SELECT pg_advisory_lock(7)", f"{_LOCKS} = 2"),
        ("SELECT pg_advisory_unlock_all()", f"{_LOCKS} = 2"),
    ],
)
def test_what_a_migration_leaves_in_its_session_is_not_seen_by_the_next(database, leaves, holds):
    check = f"DO $$ BEGIN IF NOT ({holds}) THEN RAISE 'it is seen'; END IF; END $$"
    result = database.up({"1_leaves.sql": leaves, "2_looks.sql": check})
    assert (result.outcome, result.message, result.version) == ("Succeeded", "", "2")
    seen = database.up({"1_leaves.sql": leaves, "2_looks.sql": check, "3_both.sql": f"{leaves};\n{check}"})
    assert (seen.outcome, seen.failed and seen.failed.line) == ("Terminal", 2), "the check sees nothing"


@pytest.mark.parametrize(("is_mounted", "outcome"), [(True, "Retryable"), (False, "Terminal")])
def test_a_password_that_changed_between_two_sessions_is_final_only_where_nobody_brings_the_new_one(
    database, is_mounted, outcome
):
    def told(line: str) -> None:
        if line.startswith("1_x.sql"):
            database.execute(f"ALTER ROLE \"{database.name}__migrator\" PASSWORD 'another'")

    connect_to: Connect = Mounted(lambda: database.dsn, patience=0) if is_mounted else lambda: database.dsn
    # A lock that is left behind is what only a new session is rid of.
    files = {f"{number}_x.sql": b"SELECT pg_advisory_lock(1)" for number in (1, 2)}
    result = migrate(Request(action=Action.UP), files, connect_to, told)
    assert (result.outcome, result.reason, database.history()) == (outcome, "LoginRefused", [("1", "applied")])
    assert PASSWORD not in result.message


def test_the_same_one_way_action_is_not_done_twice(database):
    database.up(ORDERS)
    assert database.down("1", identity="shop/orders/abc").reason == "Reverted"
    assert database.down("1", identity="shop/orders/abc").reason == "AlreadyDone"
    database.up(ORDERS, identity="shop/orders/def")
    assert database.down("1", identity="shop/orders/abc").reason == "Reverted"


def test_nobody_but_the_owner_reaches_the_history(database):
    """Default privileges give the app role all that the owner makes, and who writes here runs SQL as the owner."""
    database.up(ORDERS)
    with database.connect("app") as app:
        for query in (
            "SELECT * FROM servicedb_migrations.history",
            "UPDATE servicedb_migrations.history SET down = 'x'",
            "INSERT INTO servicedb_migrations.decisions VALUES ('a', 'b', 'c', 'd', 'e')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                app.execute(query)
    database.execute(
        f'GRANT USAGE ON SCHEMA servicedb_migrations TO "{database.name}__app"; '
        f'GRANT UPDATE ON servicedb_migrations.history TO "{database.name}__app", PUBLIC'
    )
    database.up(ORDERS)
    held = (
        "SELECT has_schema_privilege({0}, 'servicedb_migrations', 'USAGE') OR "
        "has_table_privilege({0}, 'servicedb_migrations.history', 'UPDATE')"
    )
    assert database.value(held.format(f"'{database.name}__app'")) is False


def test_a_history_that_another_role_made_is_not_trusted(database):
    database.execute(
        f'CREATE SCHEMA servicedb_migrations AUTHORIZATION "{database.name}__app"; '
        "CREATE TABLE servicedb_migrations.history (a int)"
    )
    result = database.up(ORDERS)
    assert (result.outcome, result.reason) == ("Terminal", "ForeignHistory")
    assert f"{database.name}__app" in result.message
    assert database.value("SELECT to_regclass('orders')") is None


def test_what_a_script_sets_ends_with_it(database):
    owner = f"{database.name}__owner"
    files = {
        "1_a.sql": "CREATE SCHEMA other; SET search_path = other; SET ROLE NONE; SET lock_timeout = '1ms'; "
        "CREATE TEMP TABLE orders ();",
        "2_b.sql": f"DO $$ BEGIN ASSERT current_user = '{owner}'; "
        "ASSERT to_regclass('pg_temp.orders') IS NULL; ASSERT current_setting('lock_timeout') = '3s'; END $$; "
        "CREATE TABLE orders ();",
        "3_c.sql": "-- servicedb: no-transaction\nSET search_path = other;\nSET ROLE NONE;\nVACUUM public.orders;\n"
        "RESET ROLE;\n"
        "CREATE TABLE here ();",
        "4_d.sql": f"DO $$ BEGIN ASSERT current_user = '{owner}'; END $$",
    }
    result = database.up(files)
    assert (result.outcome, result.message, result.version) == ("Succeeded", "", "4")
    tables = "SELECT schemaname::text, tablename::text FROM pg_tables WHERE tablename IN ('orders', 'here') ORDER BY 1"
    assert database.rows(tables) == [("other", "here"), ("public", "orders")]


def test_a_search_path_that_a_tenant_set_does_not_reach_the_history(database):
    database.execute(
        "CREATE SCHEMA evil; CREATE FUNCTION evil.never(text, text) RETURNS bool LANGUAGE plpgsql "
        "AS $$ BEGIN RAISE EXCEPTION 'taken over as %', current_user; END $$; "
        "CREATE OPERATOR evil.= (FUNCTION = evil.never, LEFTARG = text, RIGHTARG = text); "
        "GRANT ALL ON SCHEMA evil TO PUBLIC; "
        f'ALTER DATABASE "{database.name}" SET search_path = evil, pg_catalog, public'
    )
    assert database.up({"1_a.sql": "CREATE TABLE public.a ()"}).outcome == "Succeeded"
    assert database.up({"1_a.sql": "CREATE TABLE public.a ()"}).reason == "UpToDate"
    assert database.down("1").reason == "UpToDate"


def test_hooks_run_around_what_is_pending_and_not_without(database):
    files = {
        "before.sql": "CREATE TABLE IF NOT EXISTS seen (what text); INSERT INTO seen VALUES ('before')",
        "1_a.sql": "INSERT INTO seen VALUES ('1')",
        "after.sql": "INSERT INTO seen VALUES ('after')",
    }
    for _ in range(2):
        assert database.up(files, before=("before.sql",), after=("after.sql",)).outcome == "Succeeded"
    assert database.rows("SELECT what FROM seen") == [("before",), ("1",), ("after",)]


def test_repeatables_run_again_when_they_changed(database):
    files = {"V1__a.sql": "CREATE TABLE a (x int)", "R__v.sql": "CREATE OR REPLACE VIEW v AS SELECT 1 AS x"}
    assert [one.version for one in database.up(files).applied] == ["1", "R:v"]
    assert database.up(files).reason == "UpToDate"
    changed = database.up(files | {"R__v.sql": "CREATE OR REPLACE VIEW v AS SELECT 2 AS x"})
    assert [one.version for one in changed.applied] == ["R:v"]
    assert database.value("SELECT x FROM v") == 2


def test_a_source_that_is_not_the_one_that_was_seen_is_refused(database):
    result = database.up(ORDERS, source_digest="sha256:other")
    assert (result.outcome, result.reason) == ("Retryable", "SourceChanged")


def test_two_sets_in_one_database_have_a_history_each(database):
    assert database.up(ORDERS, set_name="orders").version == "10"
    users = {"1_a.sql": "-- servicedb: requires orders/2\nCREATE TABLE users ()", "2_b.sql": "SELECT 1"}
    assert database.up(users, set_name="users").version == "2"
    waits = {"1_a.sql": "-- servicedb: requires other\nSELECT 1"}
    assert database.up(waits, set_name="third").reason == "WaitingForSet"
