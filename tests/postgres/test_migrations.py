"""Migrations on real servers: up, down, and what a run leaves when it can't go on."""

from collections.abc import Iterator

import pytest

from tests.postgres.migrations import Database
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
