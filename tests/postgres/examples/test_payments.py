"""The payments of the example ecommerce: one authorization a payment, and never more given back than was taken."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.errors import CheckViolation, NoDataFound, ObjectNotInPrerequisiteState, UniqueViolation

from tests.postgres.examples.analytics import may_analytics, tables
from tests.postgres.examples.database import Database, indexes_used
from tests.postgres.provision import Site

AUTHORIZE = "SELECT process_payment_authorization(%s, %s, %s)"


@pytest.fixture(scope="module")
def till(module_site: Site) -> Iterator[Database]:
    database = Database.new(module_site, "ecommerce", "payment-service.yaml", "migrations/payment")
    yield database
    database.drop()


def method(till: Database, **columns: Any) -> UUID:
    given = {
        "user_id": uuid4(),
        "kind": "CARD",
        "gateway_token": f"tok_{uuid4()}",
        "brand": "visa",
        "last_four": "4242",
        "expires_on": "2030-01-01",
        **columns,
    }
    insert = f"INSERT INTO payment_methods ({', '.join(given)}) VALUES ({', '.join(['%s'] * len(given))}) RETURNING id"
    made: UUID = till.execute(insert, *given.values())[0][0]
    return made


def pay(till: Database, amount: Any = 100, order: UUID | None = None) -> UUID:
    insert = """
        INSERT INTO payments (order_id, user_id, payment_method_id, amount)
        SELECT %s, user_id, id, %s FROM payment_methods WHERE id = %s RETURNING id
    """
    made: UUID = till.execute(insert, order or uuid4(), amount, method(till))[0][0]
    return made


def captured(till: Database, amount: Any = 100) -> UUID:
    paid = pay(till, amount)
    till.execute(AUTHORIZE, paid, f"auth-{paid}", True)
    till.execute("UPDATE payments SET status = 'CAPTURED' WHERE id = %s", paid)
    return paid


def transactions(till: Database, paid: UUID) -> list[tuple[Any, ...]]:
    rows = "SELECT kind, amount, succeeded FROM payment_transactions WHERE payment_id = %s ORDER BY id"
    return till.execute(rows, paid)


@pytest.mark.parametrize("amount", ["9.99", "10000.01"])
def test_nobody_pays_what_no_order_may_come_to(till: Database, amount: str) -> None:
    with pytest.raises(CheckViolation, match="payments_amount_is_10_to_10000"):
        pay(till, amount)


def test_an_order_is_paid_for_once_unless_the_first_payment_was_declined(till: Database) -> None:
    order = uuid4()
    first = pay(till, order=order)
    with pytest.raises(UniqueViolation, match="payments_one_live_an_order"):
        pay(till, order=order)
    till.execute(AUTHORIZE, first, "declined-1", False)
    assert pay(till, order=order) != first


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        ({"last_four": None}, "payment_methods_card_is_described"),
        ({"last_four": "42424"}, "payment_methods_last_four_are_four"),
        ({"gateway_token": "4242 4242 4242 4242"}, "payment_methods_token_is_no_card_number"),
    ],
)
def test_a_card_is_described_and_its_number_is_not_kept(
    till: Database, columns: dict[str, Any], constraint: str
) -> None:
    with pytest.raises(CheckViolation, match=constraint):
        method(till, **columns)


def test_a_user_has_one_default_method(till: Database) -> None:
    user = uuid4()
    method(till, user_id=user, is_default=True)
    with pytest.raises(UniqueViolation, match="payment_methods_one_default"):
        method(till, user_id=user, is_default=True)


# Authorization


@pytest.mark.parametrize(("approved", "status"), [(True, "AUTHORIZED"), (False, "DECLINED")])
def test_the_gateways_answer_is_taken_once_however_often_it_comes(till: Database, approved: bool, status: str) -> None:
    paid, reference = pay(till), str(uuid4())
    for _ in range(3):
        assert till.execute(AUTHORIZE, paid, reference, approved) == [(status,)]
    assert transactions(till, paid) == [("AUTHORIZATION", 100, approved)]


def test_the_same_answer_ten_times_at_once_is_one_transaction(till: Database) -> None:
    paid, reference = pay(till), str(uuid4())
    assert till.at_once(10, AUTHORIZE, [(paid, reference, True)] * 10) == ["AUTHORIZED"] * 10
    assert transactions(till, paid) == [("AUTHORIZATION", 100, True)]


def test_of_ten_different_answers_at_once_one_counts(till: Database) -> None:
    paid = pay(till)
    answers = till.at_once(10, AUTHORIZE, [(paid, str(uuid4()), True) for _ in range(10)])
    refused = [answer for answer in answers if isinstance(answer, ObjectNotInPrerequisiteState)]
    assert (len(refused), answers.count("AUTHORIZED")) == (9, 1)
    assert transactions(till, paid) == [("AUTHORIZATION", 100, True)]


def test_a_reference_belongs_to_one_payment(till: Database) -> None:
    reference = str(uuid4())
    till.execute(AUTHORIZE, pay(till), reference, True)
    other = pay(till)
    with pytest.raises(UniqueViolation, match="payment_transactions_gateway_reference_key"):
        till.execute(AUTHORIZE, other, reference, True)
    assert transactions(till, other) == []


def test_a_payment_that_is_not_there_is_an_error(till: Database) -> None:
    with pytest.raises(NoDataFound):
        till.execute(AUTHORIZE, uuid4(), "nobodys", True)


# Refunds


REFUND = "INSERT INTO refunds (payment_id, amount, reason) VALUES (%s, %s, 'returned') RETURNING amount"


def test_refunds_come_to_the_payment_at_most(till: Database) -> None:
    paid = captured(till)
    state = "SELECT status, refunded_amount FROM payments WHERE id = %s"
    till.execute(REFUND, paid, 40)
    assert till.execute(state, paid) == [("PARTIALLY_REFUNDED", 40)]
    with pytest.raises(CheckViolation, match="payments_refunds_are_within_the_amount"):
        till.execute(REFUND, paid, "60.01")
    till.execute(REFUND, paid, 60)
    assert till.execute(state, paid) == [("REFUNDED", 100)]


def test_of_twenty_refunds_at_once_as_many_are_made_as_the_payment_is_worth(till: Database) -> None:
    paid = captured(till)
    answers = till.at_once(20, REFUND, [(paid, 15)] * 20)
    assert sum(answer == 15 for answer in answers) == 6
    assert till.execute("SELECT refunded_amount FROM payments WHERE id = %s", paid) == [(90,)]
    assert till.execute("SELECT sum(amount) FROM refunds WHERE payment_id = %s", paid) == [(90,)]


def test_what_was_not_captured_is_not_given_back(till: Database) -> None:
    paid = pay(till)
    with pytest.raises(CheckViolation, match="was not captured"):
        till.execute(REFUND, paid, 1)


def test_a_day_is_summed_up_and_summed_up_again(till: Database) -> None:
    till.execute(REFUND, captured(till, 200), 50)
    day = "'2020-02-02'::date"
    till.execute(f"UPDATE payments SET created_at = {day} + interval '12 hours' WHERE amount = 200")
    for _ in range(2):
        till.execute(f"SELECT summarize_payments({day})")
    figures = "SELECT method_kind, payments, authorized, declined, amount, refunded FROM payment_analytics"
    assert till.execute(figures) == [("CARD", 1, 1, 0, 200, 50)]


def test_analytics_reads_every_table_and_calls_no_function(till: Database) -> None:
    assert tables(till) == {
        "payments",
        "payment_methods",
        "payment_transactions",
        "refunds",
        "payment_disputes",
        "payment_analytics",
    }
    may = may_analytics(till)
    assert {statement for statement in may if may[statement]} == {f"SELECT FROM {table}" for table in tables(till)}


# By which index


@pytest.fixture(scope="module")
def full(till: Database) -> Database:
    """With rows enough that an index is worth its while."""
    till.execute(
        """
        INSERT INTO payment_methods (user_id, kind, gateway_token)
        SELECT md5((n % 1000)::text)::uuid, 'WALLET', 'wallet ' || n FROM generate_series(1, 3000) AS n;
        INSERT INTO payments (order_id, user_id, payment_method_id, amount, status, created_at)
        SELECT gen_random_uuid(), user_id, id, 20, CASE WHEN random() < 0.02 THEN 'PENDING' ELSE 'CAPTURED' END,
            now() - random() * interval '100 days'
        FROM payment_methods, generate_series(1, 3);
        INSERT INTO payment_transactions (payment_id, kind, amount, succeeded, gateway_reference, gateway_response)
        SELECT id, 'CAPTURE', 20, true, id::text, jsonb_build_object('network', order_id::text) FROM payments;
        INSERT INTO payment_disputes (payment_id, gateway_case, reason, amount, status, answer_due_at, resolved_at)
        SELECT id, id::text, 'fraud', 20, CASE WHEN is_open THEN 'OPEN' ELSE 'WON' END, now(),
            CASE WHEN NOT is_open THEN now() END
        FROM (SELECT id, random() < 0.02 AS is_open FROM payments) AS disputed;
        ANALYZE payment_methods, payments, payment_transactions, payment_disputes
        """,
        role="migrator",
    )
    return till


@pytest.mark.parametrize(
    ("index", "query"),
    [
        (
            "payment_methods_by_user",
            "SELECT * FROM payment_methods WHERE user_id = md5('7')::uuid AND removed_at IS NULL",
        ),
        ("payments_by_user", "SELECT * FROM payments WHERE user_id = md5('7')::uuid ORDER BY created_at DESC LIMIT 2"),
        (
            "payments_one_live_an_order",
            "SELECT * FROM payments WHERE order_id = md5('7')::uuid AND status NOT IN ('DECLINED', 'VOIDED')",
        ),
        (
            "payments_waiting",
            "SELECT id FROM payments WHERE status IN ('PENDING', 'AUTHORIZED') AND created_at < '2020-01-01'",
        ),
        ("payments_by_method", "SELECT count(*) FROM payments WHERE payment_method_id = md5('7')::uuid"),
        (
            "payment_transactions_by_payment",
            "SELECT * FROM payment_transactions WHERE payment_id = md5('7')::uuid ORDER BY created_at",
        ),
        (
            "payment_transactions_gateway_response",
            """SELECT * FROM payment_transactions WHERE gateway_response @> '{"network": "7"}'""",
        ),
        (
            "payment_disputes_to_answer",
            "SELECT * FROM payment_disputes WHERE status = 'OPEN' AND answer_due_at < now() ORDER BY answer_due_at",
        ),
    ],
)
def test_an_index_answers(full: Database, index: str, query: str) -> None:
    with full.login() as connection:
        assert index in indexes_used(connection, query)
