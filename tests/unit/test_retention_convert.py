"""What is left to do to divide a plain table by time."""

from datetime import UTC, datetime

import pytest
from servicedb.plan.retention.calendar import Interval
from servicedb.plan.retention.convert import Step, conversion, conversion_refusals
from servicedb.plan.retention.divisible import Constraint, Divisible, Index
from servicedb.plan.retention.rule import Name
from servicedb.plan.retention.table import Column

NAME = Name("public", "metrics")
NOW = datetime(2026, 11, 22, 4, 30, tzinfo=UTC)
ALL = [Step.ADD_CHECK, Step.VALIDATE, Step.SWAP, Step.ANALYZE]


def table(*constraints: Constraint, **changes: object) -> Divisible:
    columns = (Column("id", "bigint", not_null=True), Column("at", "timestamp(3) with time zone", not_null=True))
    whole: dict[str, object] = {
        "oid": 1,
        "name": NAME,
        "kind": "r",
        "owner": "o",
        "acts_as_owner": True,
        "columns": columns,
        "constraints": constraints,
    }
    return Divisible(**whole | changes)  # type: ignore[arg-type]


def check(day: str, column: str = "at", *, valid: bool = True) -> Constraint:
    return Constraint(f"servicedb_convert_until_{day}", "c", "", (column,), valid, stays=False)


@pytest.mark.parametrize(
    ("constraints", "steps", "until"),
    [
        pytest.param([], ALL, "20270101", id="nothing is done"),
        pytest.param([check("20270101", valid=False)], ALL[1:], "20270101", id="killed before it was validated"),
        pytest.param([check("20270101")], ALL[2:], "20270101", id="killed before the swap"),
        pytest.param([check("20261201")], ALL[2:], "20261201", id="begun last month"),
        pytest.param([check("20261101")], [Step.DROP_CHECK, *ALL], "20270101", id="its day has come"),
        pytest.param([check("20270115")], [Step.DROP_CHECK, *ALL], "20270101", id="of another interval"),
        pytest.param([check("20270101", "id")], [Step.DROP_CHECK, *ALL], "20270101", id="of another column"),
        pytest.param([check("soon")], [Step.DROP_CHECK, *ALL], "20270101", id="with no day"),
    ],
)
def test_a_conversion_goes_on_where_it_was_ended(constraints, steps, until):
    found = conversion(table(*constraints), "at", Interval.MONTH, 2, NOW)
    assert (list(found.steps), f"{found.until:%Y%m%d}") == (steps, until)
    assert found.ahead[0].span.low == found.until
    assert len(found.ahead) == 2


def test_names_stay_within_what_postgresql_keeps():
    found = conversion(table(name=Name("public", "m" * 63)), "at", Interval.DAY, 1, NOW)
    assert [one.table[-8:] for one in found.new_names] == ["20261124", "20261124"]
    assert {len(one.table) for one in found.new_names} == {63}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"columns": (Column("at", "text", not_null=True),)}, "name one of type timestamptz"),
        ({"columns": (Column("at", "date"),)}, "may be NULL"),
        ({"columns": (Column("at", "date", not_null=True, is_generated=True),)}, "is computed"),
        ({"indexes": (Index("pk", "", ("id",), True, True, True),)}, "pk is unique without"),
        ({"indexes": (Index("half", "", ("at",), False, False, False),)}, "half is not valid"),
        ({"constraints": (Constraint("x", "x", "", ("at",), True, stays=True),)}, "exclusion constraint x"),
        ({"kind": "v"}, "is no table"),
        ({"kind": "p"}, "is partitioned already"),
        ({"acts_as_owner": False}, "act as that role"),
    ],
)
def test_what_postgresql_can_t_divide_is_refused(changes, words):
    (said,) = conversion_refusals(NAME, table(**changes), "at")
    assert words in said


def test_a_table_that_can_be_divided_is_not_refused():
    assert conversion_refusals(NAME, table(check("20261101")), "at") == []
