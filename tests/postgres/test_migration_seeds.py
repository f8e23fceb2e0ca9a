"""Seeds: run once, counted, and taken back to the row."""

from collections.abc import Iterator

import pytest
from servicedb.jobs.migrate.request import Action

from tests.postgres.migrations import Database
from tests.postgres.server import Server

SCHEMA = {
    "1_a.sql": "CREATE TABLE customers (id int PRIMARY KEY, name text);"
    "CREATE TABLE orders (id int PRIMARY KEY, customer int NOT NULL REFERENCES customers);"
    "CREATE TABLE notes (note text);",
}
SEEDS = {
    "seeds/dev/1_customers.sql": "INSERT INTO customers VALUES (1, 'a'), (2, 'b'), (3, 'c') "
    "ON CONFLICT (id) DO UPDATE SET name = excluded.name; INSERT INTO notes VALUES ('seeded');",
    "seeds/dev/2_orders.sql": "DO $$ BEGIN INSERT INTO orders VALUES (1, 1); EXCEPTION WHEN unique_violation "
    "THEN NULL; END $$; INSERT INTO orders VALUES (2, 2) ON CONFLICT DO NOTHING;",
    "seeds/test/1_customers.sql": "INSERT INTO customers VALUES (99, 'test')",
}


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    database = Database.new(server)
    database.up(SCHEMA)
    yield database
    database.drop()


def test_what_seeds_inserted_is_taken_back_and_nothing_else(database):
    database.execute("INSERT INTO customers VALUES (2, 'mine'); INSERT INTO notes VALUES ('mine')")
    result = database.run(Action.SEED, SCHEMA | SEEDS, environment="dev")
    assert (result.outcome, result.reason, result.message) == ("Succeeded", "Seeded", "")
    assert [(one.file, one.rows) for one in result.seeds] == [
        ("seeds/dev/1_customers.sql", 3),
        ("seeds/dev/2_orders.sql", 2),
    ]
    assert database.value("SELECT count(*) FROM customers") == 3
    again = database.run(Action.SEED, SCHEMA | SEEDS, environment="dev")
    assert again.seeds == []
    cleared = database.run(Action.CLEAR_SEEDS, {})
    assert (cleared.outcome, cleared.reason) == ("Succeeded", "SeedsCleared")
    assert database.rows("SELECT id FROM customers") == [(2,)]
    assert database.rows("SELECT note FROM notes") == [("mine",)]
    assert database.value("SELECT count(*) FROM orders") == 0
    assert database.history() == [("1", "applied")]
    assert len(database.run(Action.SEED, SCHEMA | SEEDS, environment="dev").seeds) == 2


def test_a_changed_seed_is_run_again_and_counts_what_is_new(database):
    database.run(Action.SEED, SCHEMA | SEEDS, environment="dev")
    changed = SEEDS | {"seeds/dev/2_orders.sql": "INSERT INTO orders VALUES (2, 2), (3, 3) ON CONFLICT DO NOTHING"}
    result = database.run(Action.SEED, SCHEMA | changed, environment="dev")
    assert [(one.file, one.rows) for one in result.seeds] == [("seeds/dev/2_orders.sql", 1)]
    database.run(Action.CLEAR_SEEDS, {})
    assert database.value("SELECT count(*) FROM orders") == 0


def test_rows_that_something_refers_to_are_not_taken_back_in_part(database):
    database.run(Action.SEED, SCHEMA | SEEDS, environment="dev")
    database.execute("INSERT INTO orders VALUES (7, 3)")
    result = database.run(Action.CLEAR_SEEDS, {})
    assert (result.outcome, result.reason) == ("Terminal", "MigrationFailed")
    assert result.failed is not None
    assert result.failed.sqlstate == "23503"
    assert database.value("SELECT count(*) FROM orders") == 3


def test_up_runs_them_after_the_last_migration(database):
    files = SCHEMA | SEEDS | {"2_b.sql": "CREATE TABLE later ()"}
    result = database.up(files, environment="test")
    assert ([one.version for one in result.applied], [one.rows for one in result.seeds]) == (["2"], [1])


def test_an_environment_without_seeds_is_refused(database):
    result = database.run(Action.SEED, SCHEMA | SEEDS, environment="prod")
    assert (result.outcome, result.reason) == ("Terminal", "NoSeeds")


def test_a_seed_that_fails_leaves_nothing(database):
    files = SCHEMA | {
        "seeds/dev/1.sql": "INSERT INTO customers VALUES (1, 'a');\nINSERT INTO customers VALUES (1, 'b');"
    }
    result = database.run(Action.SEED, files, environment="dev")
    assert result.failed is not None
    assert (result.failed.file, result.failed.line, result.failed.sqlstate) == ("seeds/dev/1.sql", 2, "23505")
    assert database.value("SELECT count(*) FROM customers") == 0
    assert database.value("SELECT count(*) FROM servicedb_migrations.seed_rows") == 0
