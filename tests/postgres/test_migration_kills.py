"""A run that is killed with SIGKILL anywhere: the next one ends right, or asks the right question."""

import re
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from servicedb.jobs.migrate.request import Action, Request, Tenants
from servicedb.jobs.migrate.result import Result
from servicedb.plan.migrations.history import Choice, Decision
from servicedb.plan.migrations.versions import Version

from tests.postgres.binaries import VERSIONS
from tests.postgres.killed_migration import exchanges, killed_at, started
from tests.postgres.migrations import Database, until
from tests.postgres.server import Server

MIXED = {
    "1_table.sql": b"CREATE TABLE t (id int PRIMARY KEY, a int, b int);\nCREATE TABLE log (entry text);\n"
    b"-- servicedb: down\nDROP TABLE log;\nDROP TABLE t;",
    "2_copy.sql": b"COPY t (id) FROM stdin;\n1\n2\n3\n4\n5\n\\.\nINSERT INTO log VALUES ('copied');\n"
    b"-- servicedb: down\nDELETE FROM t;DELETE FROM log WHERE entry = 'copied';",
    "3_apart.sql": b"-- servicedb: no-transaction\nCREATE INDEX CONCURRENTLY t_a ON t (a);\n"
    b"CREATE INDEX t_old ON t (b);\nDROP INDEX CONCURRENTLY t_old;\nINSERT INTO log VALUES ('apart');\nVACUUM t;\n"
    b"CREATE PROCEDURE entry() LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log VALUES ('called'); COMMIT; END $$;\n"
    b"CALL entry();\nREINDEX INDEX CONCURRENTLY t_a;\n"
    b"-- servicedb: down\n-- servicedb: no-transaction\nDROP PROCEDURE entry();\nDROP INDEX CONCURRENTLY t_a;\n"
    b"DELETE FROM log WHERE entry IN ('apart', 'called');",
    "4_backfill.sql": b"-- servicedb: batch key=id size=2\n"
    b"-- servicedb: remaining SELECT count(*) FROM t WHERE a IS NULL\n"
    b"-- servicedb: remaining SELECT count(*) FROM t WHERE a IS NULL\n"
    b"UPDATE t SET a = id, b = coalesce(b, 0) + 1 WHERE id BETWEEN :from AND :to;\n"
    b"-- servicedb: down\nUPDATE t SET a = NULL;",
}
UP = Request(action=Action.UP)
DOWN = Request(action=Action.DOWN, target=Version((0,)))
LONGEST = {"up": 98, "down": 45}
"""No fewer exchanges than there are: a test says so."""

STATE = (
    "SELECT key, name, file, state, checksum, down FROM servicedb_migrations.history ORDER BY key",
    "SELECT count(*) FROM servicedb_migrations.statements",
    "SELECT relname::text, relkind::text FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1",
    "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indexrelid >= 16384 "
    "AND indrelid::regclass::text IN ('t', 'log') ORDER BY 1",
    "SELECT proname::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace",
)
ROWS = ("SELECT id, a, b FROM t ORDER BY id", "SELECT entry FROM log ORDER BY 1")


def state(database: Database) -> list[object]:
    there = database.value("SELECT to_regclass('t') IS NOT NULL")
    return [database.rows(query) for query in (*STATE, *(ROWS if there else ()))]


@pytest.fixture(scope="module")
def undisturbed(
    servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[int, list[object]]]:
    """How many exchanges each way has when nothing comes between, and what it leaves."""
    database = Database.new(servers(VERSIONS[0]))
    found = {}
    for way, request in (("up", UP), ("down", DOWN)):
        count = exchanges(request, MIXED, database.dsn, tmp_path_factory.mktemp("count") / "count")
        found[way] = count, state(database)
    database.drop()
    return found


@pytest.fixture(scope="module")
def databases(servers: Callable[[int], Server]) -> Iterator[Callable[[int], Database]]:
    """Gives a database with nothing in it: one for each version of the servers, emptied each time."""
    made: dict[int, Database] = {}

    def empty(number: int) -> Database:
        version = VERSIONS[number % len(VERSIONS)]
        if version not in made:
            made[version] = Database.new(servers(version))
        made[version].execute(
            "DROP SCHEMA IF EXISTS servicedb_migrations CASCADE; DROP TABLE IF EXISTS t, log; "
            "DROP PROCEDURE IF EXISTS entry()"
        )
        return made[version]

    yield empty
    for database in made.values():
        database.drop()


def test_every_exchange_is_among_those_that_are_tried(undisturbed):
    for way, (count, _) in undisturbed.items():
        assert LONGEST[way] - 5 < count <= LONGEST[way]


def goes_on(database: Database, request: Request, files: dict[str, bytes]) -> Result:
    """The next run; where it asks about the procedure, the answer is what the log shows."""
    result = database.run(request.action, files, target=request.target)
    if result.outcome == "NeedsDecision":
        assert (result.reason, "CALL ENTRY" in result.message, "3_apart.sql, line 8" in result.message) == (
            "Interrupted",
            True,
            True,
        )
        (digest,) = re.findall(r"sha256:[0-9a-f]{64}", result.message)
        called = database.value("SELECT count(*) FROM log WHERE entry = 'called'")
        decision = Decision("3", digest, Choice.DONE if called else Choice.RETRY)
        result = database.run(request.action, files, target=request.target, decisions=(decision,))
    return result


@pytest.mark.parametrize("exchange", range(1, LONGEST["up"] + 1))
def test_killed_anywhere_on_the_way_up_the_next_run_ends_right(databases, undisturbed, exchange):
    count, expected = undisturbed["up"]
    database = databases(exchange)
    process = killed_at(UP, MIXED, database.dsn, exchange)
    assert process.exitcode == (-signal.SIGKILL if exchange <= count else 0)
    result = goes_on(database, UP, MIXED)
    assert (result.outcome, result.message, result.version) == ("Succeeded", "", "4")
    assert state(database) == expected


@pytest.mark.parametrize("exchange", range(1, LONGEST["down"] + 1))
def test_killed_anywhere_on_the_way_down_the_next_run_ends_right(databases, undisturbed, exchange):
    count, expected = undisturbed["down"]
    database = databases(exchange)
    assert database.run(Action.UP, MIXED).outcome == "Succeeded"
    process = killed_at(DOWN, {}, database.dsn, exchange)
    assert process.exitcode == (-signal.SIGKILL if exchange <= count else 0)
    result = goes_on(database, DOWN, {})
    assert (result.outcome, result.message, result.version) == ("Succeeded", "", None)
    assert state(database) == expected


@pytest.mark.parametrize(("version", "unique"), [(15, True), (16, False), (18, True)])
def test_an_index_that_a_killed_run_left_half_built_is_built_again(servers, databases, version, unique):
    """An old snapshot holds the build up: the server ends it when it notices that nobody waits for it any more."""
    database = databases(VERSIONS.index(version))
    files = {
        "1_a.sql": b"CREATE TABLE t (a int); CREATE TABLE log ();",
        "2_b.sql": b"-- servicedb: no-transaction\nCREATE %s INDEX CONCURRENTLY i ON t (a);" % (b"UNIQUE" * unique),
    }
    database.up({"1_a.sql": files["1_a.sql"]})
    invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid AND indrelid = 't'::regclass"
    with database.connect(autocommit=False) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT FROM log")
        process = started(UP, files, database.dsn)
        until(lambda: database.value(invalid))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        until(lambda: not database.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE%INDEX%'"))
        assert database.value(invalid) == 1
    result = database.up(files)
    assert (result.outcome, result.version) == ("Succeeded", "2")
    assert database.rows(
        "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 't'::regclass"
    ) == [("i", True)]


def test_an_index_of_the_same_name_in_another_tenant_is_neither_dropped_nor_taken_for_it(servers):
    """Both are half built when the run is killed; then one tenant goes on, and after it the other."""
    database = Database.new(servers(VERSIONS[-1]))
    files = {
        "1_a.sql": b"CREATE TABLE t (a int)",
        "2_b.sql": b"-- servicedb: no-transaction\nCREATE INDEX CONCURRENTLY i ON t (a);",
    }
    both = Tenants(names=("t1", "t2"), create=True, canary=0, parallel=2)
    database.up({"1_a.sql": files["1_a.sql"]}, tenants=both)
    indexes = "SELECT indrelid::regclass::text, indisvalid FROM pg_index WHERE indexrelid >= 16384 AND "
    indexes += "indrelid IN ('t1.t'::regclass, 't2.t'::regclass) ORDER BY 1"
    with database.connect(autocommit=False) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM pg_class")
        process = started(replace(UP, tenants=both), files, database.dsn)
        until(lambda: database.rows(indexes) == [("t1.t", False), ("t2.t", False)])
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        until(lambda: not database.value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE%INDEX%'"))
    assert database.up(files, tenants=replace(both, names=("t1",))).outcome == "Succeeded"
    assert database.rows(indexes) == [("t1.t", True), ("t2.t", False)]
    assert database.up(files, tenants=both).outcome == "Succeeded"
    assert database.rows(indexes) == [("t1.t", True), ("t2.t", True)]
    database.drop()


@pytest.mark.parametrize(("choice", "called"), [(Choice.RETRY, 2), (Choice.DONE, 1), (Choice.SKIP, 1)], ids=str)
def test_a_question_is_asked_until_it_is_answered_and_each_one_anew(databases, choice, called):
    """The procedure commits, and is then held up for ever: nobody but a person can say what it has done."""
    database = databases(1)
    files = {
        "1_a.sql": b"CREATE TABLE log (entry text); CREATE PROCEDURE entry() LANGUAGE plpgsql AS $$ BEGIN "
        b"INSERT INTO log VALUES ('called'); COMMIT; "
        b"PERFORM pg_sleep(3600) WHERE current_setting('held.up', true) = 'on'; END $$;",
        "2_b.sql": b"-- servicedb: no-transaction\nCALL entry();\nINSERT INTO log VALUES ('after');",
    }
    database.execute(f"ALTER DATABASE \"{database.name}\" SET held.up = 'on'")
    process = started(UP, files, database.dsn)
    until(
        lambda: database.value("SELECT to_regclass('log') IS NOT NULL") and database.value("SELECT count(*) FROM log")
    )
    process.kill()
    process.join()
    database.execute(f'ALTER DATABASE "{database.name}" RESET held.up')
    asked = [database.up(files) for _ in range(2)]
    assert {(one.outcome, one.reason, one.message) for one in asked} == {
        ("NeedsDecision", "Interrupted", asked[0].message)
    }
    (digest,) = re.findall(r"sha256:[0-9a-f]{64}", asked[0].message)
    wrong = database.up(files, decisions=(Decision("2", digest.replace("a", "b"), choice),))
    assert wrong.outcome == "NeedsDecision"
    result = database.up(files, decisions=(Decision("2", digest, choice),))
    assert (result.outcome, result.version) == ("Succeeded", "2")
    after = [] if choice is Choice.SKIP else [("after",)]
    assert database.rows("SELECT entry FROM log ORDER BY 1") == after + [("called",)] * called
