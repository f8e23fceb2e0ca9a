"""The orders of the example ecommerce: their rules, whoever writes, and the events that tell of them."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.errors import CheckViolation, UniqueViolation

from tests.postgres.examples.analytics import may_analytics, tables
from tests.postgres.examples.database import Database, indexes_used
from tests.postgres.provision import Site

ORDER = """
WITH placed AS (
    INSERT INTO orders (user_id, subtotal, shipping_address) VALUES (%s, %s, '{"city": "Riga"}') RETURNING id, subtotal
), item AS (
    INSERT INTO order_items (order_id, line_number, product_id, sku, product_name, quantity, unit_price)
    SELECT id, 1, gen_random_uuid(), 'SKU', 'thing', 1, subtotal FROM placed
)
SELECT id FROM placed
"""
CLAIM = "SELECT id, aggregate_id FROM claim_outbox_events(%s, %s, %s::interval)"


@pytest.fixture(scope="module")
def shop(module_site: Site) -> Iterator[Database]:
    database = Database.new(module_site, "ecommerce", "order-service.yaml", "migrations/order")
    yield database
    database.drop()


def place(shop: Database, user: UUID | None = None, total: Any = 10) -> UUID:
    made: UUID = shop.execute(ORDER, user or uuid4(), total)[0][0]
    return made


# Ten to ten thousand dollars


@pytest.mark.parametrize("total", ["10", "10000"])
def test_an_order_comes_to_10_to_10000_dollars(shop: Database, total: str) -> None:
    assert place(shop, total=total)


@pytest.mark.parametrize("total", ["9.99", "10000.01"])
def test_and_to_no_other_sum(shop: Database, total: str) -> None:
    with pytest.raises(CheckViolation, match="orders_total_is_10_to_10000"):
        place(shop, total=total)


def test_shipping_tax_and_discount_count(shop: Database) -> None:
    placed = place(shop, total=10)
    change = "UPDATE orders SET shipping = %s, tax = %s, discount = %s WHERE id = %s RETURNING total"
    assert shop.execute(change, 5, 2, 1, placed) == [(16,)]
    with pytest.raises(CheckViolation, match="orders_total_is_10_to_10000"):
        shop.execute(change, 0, 0, 1, placed)


# Fifty items, which come to the order's sum


def place_of_many(shop: Database, lines: int) -> None:
    with shop.login() as connection, connection.transaction():
        address = '{"city": "Riga"}'
        order = "INSERT INTO orders (user_id, subtotal, shipping_address) VALUES (%s, %s, %s) RETURNING id"
        placed = connection.execute(order, (uuid4(), lines, address)).fetchone()
        assert placed is not None
        connection.execute(
            """
            INSERT INTO order_items (order_id, line_number, product_id, sku, product_name, quantity, unit_price)
            SELECT %s, n, gen_random_uuid(), 'SKU', 'thing', 1, 1 FROM generate_series(1, %s) AS n
            """,
            (placed[0], lines),
        )


def test_an_order_has_fifty_items(shop: Database) -> None:
    place_of_many(shop, 50)


def test_and_no_more(shop: Database) -> None:
    with pytest.raises(CheckViolation, match="order_items_fifty_an_order"):
        place_of_many(shop, 51)


def test_an_order_without_items_is_none(shop: Database) -> None:
    with pytest.raises(CheckViolation, match="do not come to its subtotal"):
        shop.execute("INSERT INTO orders (user_id, subtotal, shipping_address) VALUES (%s, 10, '{}')", uuid4())


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE order_items SET quantity = 2 WHERE order_id = %s",
        "DELETE FROM order_items WHERE order_id = %s",
        "UPDATE orders SET subtotal = 11 WHERE id = %s",
    ],
)
def test_items_and_sum_change_together(shop: Database, change: str) -> None:
    placed = place(shop, total=10)
    with pytest.raises(CheckViolation, match="do not come to its subtotal"):
        shop.execute(change, placed)


# Five pending orders


def test_of_twenty_orders_of_one_user_at_once_five_are_pending(shop: Database) -> None:
    user = uuid4()
    answers = shop.at_once(20, ORDER, [(user, 10)] * 20)
    refused = [str(answer) for answer in answers if isinstance(answer, CheckViolation)]
    assert sum(isinstance(answer, UUID) for answer in answers) == 5
    assert len(refused) == 15
    assert {message.partition("\n")[0] for message in refused} == {f"user {user} has 5 pending orders"}


def test_the_place_of_an_order_that_is_paid_for_is_free_again(shop: Database) -> None:
    user = uuid4()
    first, *_ = [place(shop, user) for _ in range(5)]
    with pytest.raises(CheckViolation, match="5 pending orders"):
        place(shop, user)
    shop.execute("UPDATE orders SET status = 'PAID' WHERE id = %s", first)
    place(shop, user)
    with pytest.raises(CheckViolation, match="5 pending orders"):
        shop.execute("UPDATE orders SET status = 'PENDING' WHERE id = %s", first)


def test_nobody_gives_an_order_a_place_of_their_own(shop: Database) -> None:
    user = uuid4()
    placed = [place(shop, user) for _ in range(2)]
    shop.execute("UPDATE orders SET pending_slot = 5 WHERE id = %s", placed[1])
    assert shop.execute("SELECT pending_slot FROM orders WHERE user_id = %s ORDER BY 1", user) == [(1,), (2,)]


# What an application is told beforehand


@pytest.mark.parametrize(
    ("total", "items", "rules"),
    [
        pytest.param("10", 1, set(), id="smallest"),
        pytest.param("10000", 50, set(), id="largest"),
        pytest.param("9.99", 1, {"minimum_total"}, id="too cheap"),
        pytest.param("10000.01", 1, {"maximum_total"}, id="too dear"),
        pytest.param("20", 0, {"item_count"}, id="nothing in it"),
        pytest.param("20", 51, {"item_count"}, id="too many items"),
        pytest.param("5", 51, {"minimum_total", "item_count"}, id="two rules"),
        pytest.param(None, None, {"minimum_total", "maximum_total", "item_count"}, id="nothing known"),
    ],
)
def test_the_rules_that_an_order_would_break_are_told(
    shop: Database, total: str | None, items: int | None, rules: set[str]
) -> None:
    broken = "SELECT rule FROM validate_order_business_rules(%s, %s::numeric, %s::int)"
    assert {rule for (rule,) in shop.execute(broken, uuid4(), total, items)} == rules


def test_a_user_with_five_pending_orders_is_told_so(shop: Database) -> None:
    user = uuid4()
    for _ in range(5):
        assert shop.execute("SELECT rule FROM validate_order_business_rules(%s, 20, 1)", user) == []
        place(shop, user)
    assert shop.execute("SELECT rule, message FROM validate_order_business_rules(%s, 20, 1)", user) == [
        ("pending_orders", "Nobody has more than 5 pending orders.")
    ]


def test_every_change_of_status_is_noted_with_the_login_that_made_it(shop: Database) -> None:
    placed = place(shop)
    for status in ("CONFIRMED", "CONFIRMED", "PAID"):
        shop.execute("UPDATE orders SET status = %s WHERE id = %s", status, placed)
    noted = "SELECT from_status, to_status, changed_by FROM order_status_history WHERE order_id = %s ORDER BY id"
    (login,) = shop.execute("SELECT session_user")[0]
    changes = [(None, "PENDING"), ("PENDING", "CONFIRMED"), ("CONFIRMED", "PAID")]
    assert shop.execute(noted, placed) == [(*change, login) for change in changes]


def test_a_request_is_known_by_its_key_once(shop: Database) -> None:
    user, insert = uuid4(), "INSERT INTO idempotency_keys (user_id, key, request_digest) VALUES (%s, 'k', sha256('r'))"
    answers = shop.at_once(8, f"{insert} RETURNING key", [(user,)] * 8)
    assert sorted(map(type, answers), key=str) == sorted([str, *[UniqueViolation] * 7], key=str)


# The outbox


@pytest.fixture
def outbox(shop: Database) -> Iterator[Database]:
    yield shop
    shop.execute("DELETE FROM outbox_events")


def tell(outbox: Database, *, priority: int = 5, max_attempts: int = 8) -> int:
    insert = """
        INSERT INTO outbox_events (aggregate_type, aggregate_id, event_type, payload, priority, max_attempts)
        VALUES ('order', gen_random_uuid(), 'OrderPlaced', '{}', %s, %s) RETURNING id
    """
    made: int = outbox.execute(insert, priority, max_attempts)[0][0]
    return made


def claim(outbox: Database, worker: str = "w", most: int = 10, for_how_long: str = "1 minute") -> list[int]:
    return [event for event, _ in outbox.execute(CLAIM, worker, most, for_how_long)]


def make_due(outbox: Database) -> None:
    """As if an hour had passed."""
    outbox.execute("UPDATE outbox_events SET due_at = due_at - interval '2 hours'")


def test_the_most_urgent_event_is_published_first(outbox: Database) -> None:
    events = {priority: tell(outbox, priority=priority) for priority in (5, 9, 1, 3)}
    assert claim(outbox, most=3) == [events[priority] for priority in (1, 3, 5)]
    assert claim(outbox) == [events[9]]


def test_no_two_workers_publish_the_same_event_and_none_waits_for_another(outbox: Database) -> None:
    events = [tell(outbox) for _ in range(10)]
    with outbox.login() as first, outbox.login() as second, first.transaction():
        second.execute("SET lock_timeout = '10s'")
        claimed = [
            worker.execute(CLAIM, (name, 5, "1 minute")).fetchall() for worker, name in ((first, "a"), (second, "b"))
        ]
    assert [[event for event, _ in some] for some in claimed] == [events[:5], events[5:]]


def test_what_a_worker_that_died_had_claimed_is_anothers(outbox: Database) -> None:
    event = tell(outbox)
    assert claim(outbox, "dead") == [event]
    assert claim(outbox, "alive") == []
    make_due(outbox)
    assert claim(outbox, "alive") == [event]
    assert outbox.execute("SELECT report_outbox_event(%s, 'dead')", event) == [(False,)]
    assert outbox.execute("SELECT report_outbox_event(%s, 'alive')", event) == [(True,)]
    assert outbox.execute("SELECT status FROM outbox_events WHERE id = %s", event) == [("PUBLISHED",)]


def test_a_failed_event_waits_longer_each_time_and_ends_as_a_dead_letter(outbox: Database) -> None:
    event = tell(outbox, max_attempts=4)
    state = """
        SELECT status, attempts, last_error, round(extract(epoch FROM due_at - clock_timestamp()))::int
        FROM outbox_events WHERE id = %s
    """
    for attempt, seconds in ((1, 2), (2, 4), (3, 8)):
        assert claim(outbox) == [event]
        outbox.execute("SELECT report_outbox_event(%s, 'w', 'no broker')", event)
        status, attempts, error, due_in = outbox.execute(state, event)[0]
        assert (status, attempts, error) == ("PENDING", attempt, "no broker")
        assert seconds / 2 < due_in <= seconds
        assert claim(outbox) == []
        make_due(outbox)
    assert claim(outbox) == [event]
    outbox.execute("SELECT report_outbox_event(%s, 'w', 'no broker')", event)
    make_due(outbox)
    assert outbox.execute(state, event)[0][:3] == ("DEAD_LETTER", 4, "no broker")
    assert claim(outbox) == []


def test_an_event_that_kills_its_workers_ends_as_a_dead_letter(outbox: Database) -> None:
    event = tell(outbox, max_attempts=2)
    for _ in range(2):
        assert claim(outbox) == [event]
        make_due(outbox)
    assert claim(outbox) == []
    assert outbox.execute("SELECT status, last_error FROM outbox_events WHERE id = %s", event) == [
        ("DEAD_LETTER", "claimed, and never reported on")
    ]


def test_analytics_reads_every_table_and_calls_no_function(shop: Database) -> None:
    assert tables(shop) == {
        "orders",
        "order_items",
        "outbox_events",
        "order_status_history",
        "order_notes",
        "order_fulfillment",
        "idempotency_keys",
    }
    may = may_analytics(shop)
    assert {statement for statement in may if may[statement]} == {f"SELECT FROM {table}" for table in tables(shop)}


# By which index


@pytest.fixture(scope="module")
def full(shop: Database) -> Database:
    """With rows enough that an index is worth its while."""
    shop.execute(
        """
        INSERT INTO orders (id, user_id, status, subtotal, shipping_address, created_at)
        SELECT gen_random_uuid(), md5((n % 2000)::text)::uuid, CASE n % 50 WHEN 0 THEN 'PAID' ELSE 'DELIVERED' END, 20,
            jsonb_build_object('city', 'city ' || n % 1000), now() - n * interval '1 minute'
        FROM generate_series(1, 4000) AS n;
        INSERT INTO order_items (order_id, line_number, product_id, sku, product_name, quantity, unit_price)
        SELECT id, line, md5((order_number % 1000)::text || line)::uuid, 'SKU', 'thing', 1, 10
        FROM orders, generate_series(1, 2) AS line WHERE subtotal = 20;
        INSERT INTO outbox_events
            (aggregate_type, aggregate_id, event_type, payload, priority, status, published_at, created_at)
        SELECT 'order', id, 'OrderPlaced', jsonb_build_object('order', order_number), 5,
            CASE WHEN waits THEN 'PENDING' ELSE 'PUBLISHED' END, CASE WHEN NOT waits THEN now() END, created_at
        FROM orders CROSS JOIN LATERAL (SELECT order_number % 50 = 0 AS waits) AS how;
        INSERT INTO idempotency_keys (user_id, key, request_digest, created_at, expires_at)
        SELECT id, 'k', sha256('r'), created_at, created_at + interval '24 hours' FROM orders;
        ANALYZE orders, order_items, outbox_events, idempotency_keys
        """,
        role="migrator",
    )
    return shop


@pytest.mark.parametrize(
    ("index", "query"),
    [
        ("orders_pkey", "SELECT * FROM orders WHERE id = md5('7')::uuid"),
        ("orders_by_user", "SELECT * FROM orders WHERE user_id = md5('7')::uuid ORDER BY created_at DESC LIMIT 20"),
        (
            "orders_pending_slot_is_taken_once",
            "SELECT count(*) FROM orders WHERE user_id = md5('7')::uuid AND status = 'PENDING'",
        ),
        (
            "orders_open_by_status",
            "SELECT * FROM orders WHERE status = 'PAID' AND created_at < now() - interval '1 day'",
        ),
        ("orders_shipping_address", """SELECT * FROM orders WHERE shipping_address @> '{"city": "city 7"}'"""),
        ("order_items_pkey", "SELECT * FROM order_items WHERE order_id = md5('7')::uuid AND line_number = 1"),
        ("order_items_by_product", "SELECT sum(quantity) FROM order_items WHERE product_id = md5('71')::uuid"),
        (
            "outbox_events_waiting",
            "SELECT id FROM outbox_events WHERE status IN ('PENDING', 'CLAIMED') AND due_at <= clock_timestamp() "
            "AND attempts < max_attempts ORDER BY priority, due_at, id LIMIT 10 FOR UPDATE SKIP LOCKED",
        ),
        ("outbox_events_dead", "SELECT * FROM outbox_events WHERE status = 'DEAD_LETTER' ORDER BY created_at"),
        (
            "outbox_events_by_aggregate",
            "SELECT * FROM outbox_events WHERE aggregate_type = 'order' AND aggregate_id = md5('7')::uuid ORDER BY id",
        ),
        ("outbox_events_payload", """SELECT * FROM outbox_events WHERE payload @> '{"order": 7}'"""),
        ("idempotency_keys_by_expiry", "DELETE FROM idempotency_keys WHERE expires_at < now() - interval '6 days'"),
    ],
)
def test_an_index_answers(full: Database, index: str, query: str) -> None:
    with full.login() as connection:
        assert index in indexes_used(connection, query)
