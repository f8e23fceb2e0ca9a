"""Histories of other tools, in the tables that these make, taken over."""

from collections.abc import Iterator

import pytest
from servicedb.jobs.migrate.request import Action
from servicedb.plan.migrations.adoption import KNOWN, Foreign, foreign

from tests.postgres.migrations import Database
from tests.postgres.server import Server

FLYWAY = (
    "CREATE TABLE flyway_schema_history (installed_rank int PRIMARY KEY, version varchar(50), "
    "description varchar(200), type varchar(20), script varchar(1000), checksum int, installed_by varchar(100), "
    "installed_on timestamp, execution_time int, success boolean); "
    "INSERT INTO flyway_schema_history (installed_rank, version, description, type, success) VALUES "
)
HISTORIES = {
    "Flyway": FLYWAY + "(1, '1', 'a', 'SQL', true), (2, '2', 'b', 'SQL', true), (3, NULL, 'views', 'SQL', true)",
    "GolangMigrate": "CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL); "
    "INSERT INTO schema_migrations VALUES (2, false)",
    "Goose": "CREATE TABLE goose_db_version (id int PRIMARY KEY, version_id bigint, is_applied bool); "
    "INSERT INTO goose_db_version VALUES (1, 0, true), (2, 1, true), (3, 2, true), (4, 3, true), (5, 3, false)",
    "Dbmate": "CREATE TABLE schema_migrations (version varchar(128) PRIMARY KEY); "
    "INSERT INTO schema_migrations VALUES ('001'), ('002')",
    "EntityFramework": 'CREATE TABLE "__EFMigrationsHistory" ("MigrationId" text PRIMARY KEY, "ProductVersion" text); '
    "INSERT INTO \"__EFMigrationsHistory\" VALUES ('001_A', '8'), ('002_B', '8')",
    "Table": "CREATE SCHEMA app; CREATE TABLE app.versions (v int); INSERT INTO app.versions VALUES (1), (2)",
}
FILES = {
    "1_a.sql": "BEGIN; what another tool ran; COMMIT;",
    "2_b.sql": "SELECT nothing FROM nowhere;\n-- servicedb: down\nSELECT 1;",
    "3_c.sql": "CREATE TABLE third ()",
}


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    database = Database.new(server)
    yield database
    database.drop()


def as_owner(database: Database, script: str) -> None:
    with database.connect() as connection:
        connection.execute(script.encode())


@pytest.mark.parametrize("tool", HISTORIES)
def test_what_another_tool_applied_is_not_run_again_and_the_rest_is(database, tool):
    as_owner(database, HISTORIES[tool])
    theirs = KNOWN.get(tool, Foreign("app.versions", "v"))
    result = database.up(FILES, adopt=theirs)
    assert (result.outcome, result.message, result.from_version, result.version) == ("Succeeded", "", "2", "3")
    assert [one.version for one in result.applied] == ["3"]
    assert database.history() == [("1", "applied"), ("2", "applied"), ("3", "applied")]
    assert database.value(
        "SELECT checksum IS NOT NULL AND down IS NOT NULL FROM servicedb_migrations.history WHERE key = '2'"
    )
    assert database.up(FILES, adopt=theirs).reason == "UpToDate"
    changed = FILES | {"2_b.sql": "SELECT 2"}
    assert database.up(changed, adopt=theirs).reason == "ChangedMigration"


def test_without_being_told_to_nothing_is_taken_over(database):
    as_owner(database, HISTORIES["Goose"])
    assert database.up({"1_a.sql": "CREATE TABLE a ()"}).applied[0].version == "1"


def test_a_database_without_the_table_begins_from_nothing(database):
    assert database.up({"1_a.sql": "CREATE TABLE a ()"}, adopt=KNOWN["Flyway"]).version == "1"


def test_a_baseline_stands_for_all_before_it(database):
    as_owner(database, FLYWAY + "(1, '2', 'base', 'BASELINE', true)")
    assert [one.version for one in database.up(FILES, adopt=KNOWN["Flyway"]).applied] == ["3"]


def test_what_was_taken_back_is_not_taken_over(database):
    as_owner(
        database,
        FLYWAY + "(1, '1', 'a', 'SQL', true), (2, '2', 'b', 'SQL', true), (3, '3', 'c', 'SQL', true), "
        "(4, '3', 'c', 'UNDO_SQL', true)",
    )
    assert [one.version for one in database.up(FILES, adopt=KNOWN["Flyway"]).applied] == ["3"]


@pytest.mark.parametrize(
    ("tool", "history"),
    [
        ("Flyway", FLYWAY + "(1, '1', 'a', 'SQL', false)"),
        ("GolangMigrate", HISTORIES["GolangMigrate"].replace("false", "true")),
    ],
)
def test_what_was_left_half_done_is_not_taken_over(database, tool, history):
    as_owner(database, history)
    result = database.up(FILES, adopt=KNOWN[tool])
    assert (result.outcome, result.reason) == ("Terminal", "HalfApplied")
    assert database.history() == []


def test_versions_that_cannot_be_read_are_said(database):
    as_owner(database, "CREATE TABLE versions (v text); INSERT INTO versions VALUES ('first')")
    result = database.up(FILES, adopt=Foreign("versions", "v"))
    assert (result.outcome, result.reason) == ("Terminal", "UnreadableHistory")
    assert '"first" is no version' in result.message


def test_what_has_no_file_any_more_is_no_reason_to_stop(database):
    as_owner(database, HISTORIES["Dbmate"])
    result = database.up({"3_c.sql": FILES["3_c.sql"]}, adopt=KNOWN["Dbmate"])
    assert (result.outcome, result.version) == ("Succeeded", "3")


def test_another_table_than_the_tools_own_is_read_like_its_own(database):
    moved = "CREATE SCHEMA audit; ALTER TABLE flyway_schema_history SET SCHEMA audit; "
    as_owner(
        database, f'{HISTORIES["Flyway"]}; {moved} ALTER TABLE audit.flyway_schema_history RENAME TO "Changes of old"'
    )
    result = database.up(FILES, adopt=foreign("Flyway", table="audit.Changes of old"))
    assert (result.outcome, result.message, [one.version for one in result.applied]) == ("Succeeded", "", ["3"])


def test_names_of_a_table_are_kept_where_there_is_no_file(database):
    as_owner(database, "CREATE TABLE versions (v int, t text); INSERT INTO versions VALUES (1, 'first'), (2, 'second')")
    theirs = foreign("Table", table="versions", version_column="v", name_column="t")
    result = database.up({"2_b.sql": "SELECT 1", "3_c.sql": FILES["3_c.sql"]}, adopt=theirs)
    assert (result.outcome, result.version) == ("Succeeded", "3")
    rows = database.rows("SELECT key, name FROM servicedb_migrations.history ORDER BY key")
    assert rows == [("1", "first"), ("2", "b"), ("3", "c")]


@pytest.mark.parametrize(
    ("format", "columns", "words"),
    [
        ("Table", {}, "needs its name, and the column with the version"),
        ("Table", {"table": "versions"}, "needs its name, and the column with the version"),
        ("Goose", {"name_column": "t"}, "the columns of Goose are known"),
    ],
)
def test_a_history_that_is_half_named_is_refused(format, columns, words):  # noqa: A002
    with pytest.raises(ValueError, match=words):
        foreign(format, **columns)


@pytest.mark.parametrize("action", [Action.PLAN, Action.STATUS, Action.VERIFY])
def test_a_look_counts_what_would_be_taken_over_and_takes_nothing_over(database, action):
    as_owner(database, HISTORIES["Goose"])
    result = database.run(action, FILES, adopt=KNOWN["Goose"])
    assert (result.outcome, result.version, result.pending) == ("Succeeded", "2", ["3"])
    assert database.value("SELECT to_regnamespace('servicedb_migrations')") is None
    as_owner(database, HISTORIES["GolangMigrate"].replace("false", "true"))
    assert database.run(action, FILES, adopt=KNOWN["GolangMigrate"]).reason == "HalfApplied"
