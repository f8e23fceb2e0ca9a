"""What keeps a role from being dropped: leftovers are given up, what may be worth keeping is not."""

import pytest
from servicedb.naming import LOCK_DATABASE
from servicedb.plan.holdings import Holding, freeing_steps, what_is_kept

from tests.unit.given import APP_A, OWNER, RO

LARGE_OBJECT = Holding(APP_A, "orders", "pg_largeobject", True, 2)
TABLE = Holding(APP_A, "orders", "pg_class", True)


@pytest.mark.parametrize(
    ("held", "own", "sentence"),
    [
        pytest.param([], "orders", None, id="nothing"),
        pytest.param([Holding(APP_A, "orders", "pg_class", False)], "orders", None, id="privileges on a table"),
        pytest.param([Holding(APP_A, None, "pg_database", False)], "orders", None, id="CONNECT"),
        pytest.param([Holding(APP_A, "orders", "pg_default_acl", True)], "orders", None, id="default privileges"),
        pytest.param([LARGE_OBJECT], "invoices", None, id="large objects elsewhere"),
        pytest.param(
            [LARGE_OBJECT],
            "orders",
            f'role "{APP_A}" owns 2 large objects in database "orders"',
            id="large objects in its own database",
        ),
        pytest.param(
            [TABLE], "orders", f'role "{APP_A}" owns 1 tables, views or sequences in database "orders"', id="a table"
        ),
    ],
)
def test_what_somebody_may_keep_is_named(held, own, sentence):
    kept = what_is_kept(held, own=own)
    assert kept is None if sentence is None else kept is not None and kept.startswith(sentence)


def test_roles_are_freed_where_they_hold_something_once_each():
    held = [
        Holding(APP_A, "postgres", "pg_largeobject", True, 2),
        Holding(APP_A, "postgres", "pg_class", False),
        Holding(RO, None, "pg_database", False),
        Holding(OWNER, "invoices", "pg_class", False, 9),
    ]
    freed = [(step.database, step.role) for step in freeing_steps(held)]
    assert freed == [("invoices", OWNER), ("postgres", APP_A), (LOCK_DATABASE, RO)]
