"""The inventory of the example ecommerce: nothing is sold twice, and what is kept is kept for five minutes."""

from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from psycopg.errors import CheckViolation, NoDataFound

from tests.postgres.examples.analytics import may_analytics, tables
from tests.postgres.examples.database import Database, indexes_used
from tests.postgres.migrations import until
from tests.postgres.provision import Site

RESERVE = "SELECT reservation FROM reserve_inventory(%s, %s, %s)"


@pytest.fixture(scope="module")
def stock(module_site: Site) -> Iterator[Database]:
    database = Database.new(module_site, "ecommerce", "inventory-service.yaml", "migrations/inventory")
    yield database
    database.drop()


def product(stock: Database, pieces: int, *, reorder_level: int = 0) -> UUID:
    """A new product, so many pieces of it in stock."""
    made = uuid4()
    insert = "INSERT INTO inventory (product_id, sku, reorder_level) VALUES (%s, %s, %s)"
    stock.execute(insert, made, str(made), reorder_level)
    stock.execute("SELECT receive_inventory(%s, %s)", made, pieces)
    return made


def reserve(stock: Database, of: UUID, pieces: int = 1, order: UUID | None = None) -> tuple[UUID | None, int]:
    row = stock.execute(
        "SELECT reservation, left_over FROM reserve_inventory(%s, %s, %s)", of, order or uuid4(), pieces
    )
    return row[0][0], row[0][1]


def pieces_of(stock: Database, of: UUID) -> tuple[int, int]:
    """On hand, and reserved of these."""
    row = stock.execute("SELECT on_hand, reserved FROM inventory WHERE product_id = %s", of)
    return row[0][0], row[0][1]


def let_time_pass(stock: Database, of: UUID) -> None:
    """As if the reservations of a product had been made ten minutes earlier."""
    earlier = "reserved_at - interval '10 minutes', expires_at - interval '10 minutes'"
    statement = f"UPDATE inventory_reservations SET (reserved_at, expires_at) = ({earlier}) WHERE product_id = %s"
    stock.execute(statement, of)


# Nothing is sold twice


def test_of_a_hundred_buyers_at_once_as_many_get_one_as_there_are(stock: Database) -> None:
    there = product(stock, 60)
    answers = stock.at_once(100, RESERVE, [(there, uuid4(), 1) for _ in range(100)])
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert sum(answer is not None for answer in answers) == len({*answers} - {None}) == 60
    assert pieces_of(stock, there) == (60, 60)
    active = "SELECT count(*), sum(quantity) FROM inventory_reservations WHERE product_id = %s AND status = 'ACTIVE'"
    assert stock.execute(active, there) == [(60, 60)]


def test_a_buyer_waits_for_the_one_before_and_is_told_how_many_are_left(stock: Database) -> None:
    there = product(stock, 3)
    with stock.login() as first, stock.login() as second, second.pipeline():  # sent, and not waited for
        first.execute("BEGIN")
        first.execute(RESERVE, (there, uuid4(), 2))
        answer = second.execute("SELECT left_over FROM reserve_inventory(%s, %s, 2)", (there, uuid4()))
        until(lambda: waiting(stock, second.info.backend_pid))
        first.execute("COMMIT")
        assert answer.fetchone() == (1,)
    assert pieces_of(stock, there) == (3, 2)


def waiting(stock: Database, pid: int) -> bool:
    with stock.site.as_superuser() as watching:
        row = watching.execute("SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone()
        return row == ("Lock",)


def test_whoever_writes_past_the_function_is_held_by_the_constraint(stock: Database) -> None:
    there = product(stock, 3)
    with pytest.raises(CheckViolation, match="inventory_reserved_is_there"):
        stock.execute("UPDATE inventory SET reserved = reserved + 4 WHERE product_id = %s", there)


def test_the_same_order_asks_twice_and_has_one_reservation(stock: Database) -> None:
    there, order = product(stock, 5), uuid4()
    assert reserve(stock, there, 2, order)[0] == reserve(stock, there, 2, order)[0]
    assert pieces_of(stock, there) == (5, 2)


def test_a_product_that_is_not_in_stock_at_all_is_an_error(stock: Database) -> None:
    with pytest.raises(NoDataFound):
        reserve(stock, uuid4())


# Five minutes


def test_a_reservation_lasts_five_minutes_and_no_longer(stock: Database) -> None:
    there = product(stock, 1)
    kept, _ = reserve(stock, there)
    lasts = "SELECT extract(epoch FROM expires_at - reserved_at)::int FROM inventory_reservations WHERE id = %s"
    assert stock.execute(lasts, kept) == [(300,)]
    longer = "UPDATE inventory_reservations SET expires_at = expires_at + interval '1 second' WHERE id = %s"
    with pytest.raises(CheckViolation, match="inventory_reservations_last_five_minutes"):
        stock.execute(longer, kept)


def test_when_its_time_is_over_the_next_buyer_gets_the_piece(stock: Database) -> None:
    there = product(stock, 1)
    kept, _ = reserve(stock, there)
    assert reserve(stock, there) == (None, 0)
    let_time_pass(stock, there)
    mine, _ = reserve(stock, there)
    assert mine is not None
    assert stock.execute("SELECT status FROM inventory_reservations WHERE id = %s", kept) == [("EXPIRED",)]
    assert stock.execute("SELECT close_reservation(%s, true)", kept) == [(False,)]
    assert pieces_of(stock, there) == (1, 1)


@pytest.mark.parametrize(
    ("sold", "left", "movements"),
    [pytest.param(True, (3, 0), [-2], id="sold"), pytest.param(False, (5, 0), [], id="given up")],
)
def test_a_reservation_ends_once(stock: Database, sold: bool, left: tuple[int, int], movements: list[int]) -> None:
    there = product(stock, 5)
    kept, _ = reserve(stock, there, 2)
    answers = stock.at_once(8, "SELECT close_reservation(%s, %s)", [(kept, sold)] * 8)
    assert sorted(answers) == [False] * 7 + [True]
    assert pieces_of(stock, there) == left
    noted = stock.execute("SELECT quantity FROM inventory_movements WHERE product_id = %s AND kind = 'SALE'", there)
    assert [quantity for (quantity,) in noted] == movements


# What comes of it


def test_an_alert_is_raised_once_and_resolved_by_what_arrives(stock: Database) -> None:
    there = product(stock, 5, reorder_level=2)
    for _ in range(4):
        reserve(stock, there)
    alerts = "SELECT kind, available, resolved_at IS NULL FROM inventory_alerts WHERE product_id = %s"
    assert stock.execute(alerts, there) == [("LOW_STOCK", 2, True)]
    stock.execute("SELECT receive_inventory(%s, 10)", there)
    assert stock.execute(alerts, there) == [("LOW_STOCK", 2, False)]


def test_a_days_movements_are_summed_up_and_summed_up_again(stock: Database) -> None:
    there = product(stock, 5)
    kept, _ = reserve(stock, there, 2)
    stock.execute("SELECT close_reservation(%s, true)", kept)
    figures = "SELECT received, sold, adjusted FROM inventory_analytics WHERE product_id = %s"
    for adjusted in (0, -1):
        if adjusted:
            stock.execute("SELECT receive_inventory(%s, %s, 'ADJUSTMENT')", there, adjusted)
        stock.execute("SELECT summarize_movements(d) FROM (SELECT (now() AT TIME ZONE 'UTC')::date AS d) AS today")
        assert stock.execute(figures, there) == [(5, 2, adjusted)]


def test_analytics_reads_every_table_and_calls_no_function(stock: Database) -> None:
    assert tables(stock) == {
        "inventory",
        "inventory_reservations",
        "inventory_movements",
        "inventory_alerts",
        "inventory_suppliers",
        "inventory_categories",
        "inventory_analytics",
    }
    may = may_analytics(stock)
    assert {statement for statement in may if may[statement]} == {f"SELECT FROM {table}" for table in tables(stock)}


@pytest.fixture(scope="module")
def full(stock: Database) -> Database:
    """With rows enough that an index is worth its while."""
    stock.execute(
        """
        INSERT INTO inventory_categories (name) SELECT 'category ' || n FROM generate_series(1, 20) AS n;
        INSERT INTO inventory_suppliers (name, email, lead_time_days)
        SELECT 'supplier ' || n, 'supplier' || n || '@shop.example', 7 FROM generate_series(1, 50) AS n;
        INSERT INTO inventory (product_id, sku, category_id, supplier_id, on_hand, reorder_level)
        SELECT gen_random_uuid(), 'SKU-' || n, category.id, supplier.id, CASE n % 100 WHEN 0 THEN 1 ELSE 50 END, 5
        FROM generate_series(1, 5000) AS n
        JOIN inventory_categories AS category ON category.name = 'category ' || n % 20 + 1
        JOIN inventory_suppliers AS supplier ON supplier.name = 'supplier ' || n % 50 + 1;
        INSERT INTO inventory_reservations (product_id, order_id, quantity, status)
        SELECT product_id, gen_random_uuid(), 1, CASE random() < 0.05 WHEN true THEN 'ACTIVE' ELSE 'CONFIRMED' END
        FROM inventory, generate_series(1, 4);
        INSERT INTO inventory_movements (product_id, kind, quantity)
        SELECT product_id, 'RECEIPT', 1 FROM inventory, generate_series(1, 4);
        ANALYZE inventory, inventory_reservations, inventory_movements
        """,
        role="migrator",
    )
    return stock


@pytest.mark.parametrize(
    ("index", "query"),
    [
        ("inventory_pkey", "SELECT * FROM inventory WHERE product_id = '{product}'"),
        ("inventory_sku_key", "SELECT * FROM inventory WHERE sku = 'SKU-7'"),
        (
            "inventory_to_reorder",
            "SELECT product_id FROM inventory WHERE on_hand - reserved <= reorder_level AND supplier_id = '{supplier}'",
        ),
        (
            "inventory_by_category",
            "SELECT * FROM inventory WHERE category_id = '{category}' AND available < 10",
        ),
        (
            "inventory_reservations_to_expire",
            "SELECT id FROM inventory_reservations "
            "WHERE product_id = '{product}' AND status = 'ACTIVE' AND expires_at <= now()",
        ),
        (
            "inventory_reservations_one_an_order",
            "SELECT id FROM inventory_reservations WHERE order_id = '{product}' AND status = 'ACTIVE'",
        ),
        (
            "inventory_movements_by_product",
            "SELECT * FROM inventory_movements WHERE product_id = '{product}' ORDER BY moved_at DESC LIMIT 20",
        ),
    ],
)
def test_an_index_answers(full: Database, index: str, query: str) -> None:
    (some,) = full.execute("SELECT product_id, category_id, supplier_id FROM inventory WHERE sku = 'SKU-1'")
    with full.login() as connection:
        asked = query.format(product=some[0], category=some[1], supplier=some[2])
        assert index in indexes_used(connection, asked)
