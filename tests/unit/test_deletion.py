"""Dropping: never before its time by any clock, never what is not for certain ours, never what somebody may keep."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.api.database_server import Adoptable
from servicedb.errors import NeedsDecision
from servicedb.plan.deletion import (
    check_is_not_shared,
    check_is_ours,
    check_nothing_is_kept,
    due_at,
    is_beyond_undoing,
    is_due,
    roles_to_drop,
    waiting,
)
from servicedb.plan.holdings import Holding
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import Role
from servicedb.plan.release import marker_of_gone

from tests.unit.given import (
    APP_A,
    APP_B,
    MARKER,
    MIGRATOR,
    MIGRATOR_A,
    MIGRATOR_B,
    NAMES,
    NOW,
    OWNER,
    RO,
    RW,
    STRANGER,
    database,
    note,
    roles_in_sync,
    scan,
)

OID = 16_400
DELETED = replace(MARKER, policy="Delete", grace="7d", oid=OID, deleted_at=NOW.isoformat())
WEEK = timedelta(days=7)
DROPPING = replace(DELETED, dropping=(NOW + WEEK).isoformat())


@pytest.mark.parametrize(
    ("marker", "expected"),
    [
        pytest.param(DELETED, NOW + WEEK, id="a week"),
        pytest.param(replace(DELETED, grace="0s"), NOW, id="no grace"),
        pytest.param(replace(DELETED, grace="500ms"), NOW + timedelta(milliseconds=500), id="half a second"),
        pytest.param(replace(DELETED, grace="999999d"), NOW + timedelta(days=999_999), id="for ages"),
        pytest.param(
            replace(DELETED, deleted_at="2025-03-01T14:00:00+02:00"), NOW + WEEK, id="written in another zone"
        ),
        pytest.param(MARKER, None, id="not deleted"),
        pytest.param(replace(MARKER, released=NOW.isoformat()), None, id="released"),
        pytest.param(replace(DELETED, policy="Retain"), None, id="deleted, but to be kept"),
        pytest.param(replace(DELETED, grace=""), None, id="no grace noted"),
        pytest.param(replace(DELETED, grace="a week"), None, id="a grace in prose"),
        pytest.param(replace(DELETED, grace="-1s"), None, id="a grace below zero"),
        pytest.param(replace(DELETED, grace="1h30m"), None, id="a grace of two units"),
        pytest.param(replace(DELETED, grace="7d\n"), None, id="a grace with a newline"),
        pytest.param(replace(DELETED, grace="\u0667d"), None, id="a grace in other digits"),
        pytest.param(replace(DELETED, deleted_at=""), None, id="no time"),
        pytest.param(replace(DELETED, deleted_at="soon"), None, id="a time in prose"),
        pytest.param(replace(DELETED, deleted_at="2025-03-01T12:00:00"), None, id="a time of no zone"),
        pytest.param(replace(DELETED, deleted_at="9999-12-31T00:00:00+00:00"), None, id="a time beyond all times"),
    ],
)
def test_when_the_grace_is_over(marker, expected):
    assert due_at(marker) == expected
    assert due_at(Marker.read(marker.comment()) or MARKER) == expected


@pytest.mark.parametrize(
    ("clocks", "expected"),
    [
        pytest.param([NOW + WEEK, NOW + WEEK], True, id="to the moment"),
        pytest.param([NOW + 2 * WEEK, NOW + 3 * WEEK], True, id="nobody looked for weeks"),
        pytest.param([NOW + WEEK - timedelta(microseconds=1)] * 2, False, id="a moment before"),
        pytest.param([NOW + 10 * WEEK, NOW], False, id="the operator's clock runs ahead"),
        pytest.param([NOW, NOW + 10 * WEEK], False, id="the server's clock runs ahead"),
        pytest.param([NOW - 10 * WEEK, NOW + WEEK], False, id="the operator's clock jumped back"),
        pytest.param([], False, id="no clock"),
    ],
)
def test_it_is_due_by_all_clocks_or_not_at_all(clocks, expected):
    assert is_due(DELETED, *clocks) is expected


TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))
GRACES = st.builds(
    lambda number, unit: f"{number}{unit}", st.integers(0, 999_999), st.sampled_from("ms s m h d".split())
)
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


@given(TIMES, TIMES, GRACES, TIMES, TIMES)
def test_nothing_is_due_before_its_grace_has_passed_by_every_clock(operator, server, grace, now, there):
    """`operator` and `server` are the clocks when the object was found gone, `now` and `there` when it is looked at."""
    deleted = marker_of_gone(replace(DELETED, deleted_at=None, grace=grace), max(operator, server))
    if is_due(Marker.read(deleted.comment()) or MARKER, now, there):
        unit = grace.lstrip("0123456789")
        seconds = int(grace.removesuffix(unit)) * UNITS[unit]
        for clock, before in ((now, operator), (there, server)):
            assert (clock - before) / timedelta(seconds=1) >= seconds - 1e-6


def test_a_grace_begins_to_the_microsecond():
    found = NOW + timedelta(microseconds=999_999)
    deleted = marker_of_gone(replace(DELETED, deleted_at=None, grace="500ms"), found)
    assert due_at(deleted) == found + timedelta(milliseconds=500)


@given(st.text(), st.text(), TIMES)
def test_what_can_not_be_read_is_never_due(grace, time, now):
    marker = replace(DELETED, grace=grace, deleted_at=time)
    due = due_at(marker)
    assert due is None or due.tzinfo is not None
    assert due is not None or not is_due(marker, now)


@pytest.mark.parametrize(
    ("marker", "bases", "sentence"),
    [
        pytest.param(DELETED, [database(oid=OID)], "", id="ours"),
        pytest.param(DROPPING, [database(oid=OID, is_open=False)], "", id="ours, closed"),
        pytest.param(DROPPING, [], "", id="gone"),
        pytest.param(replace(DELETED, oid=None), [database(is_open=False)], "", id="never opened"),
        pytest.param(replace(DELETED, oid=None), [database()], "another under its name", id="opened by somebody"),
        pytest.param(
            replace(DELETED, oid=None), [database(is_open=False, owner=STRANGER)], "another under its name",
            id="somebody else's, closed",
        ),
        pytest.param(DELETED, [database(oid=777)], "has OID 777, not 16400", id="another of that name"),
        pytest.param(DELETED, [database("kept", oid=OID)], 'now named "kept"', id="renamed"),
        pytest.param(
            DROPPING, [database("kept", oid=OID), database(oid=777)], 'now named "kept"', id="renamed, another there"
        ),
    ],
)  # fmt: skip
def test_only_what_the_marker_knows_is_dropped(marker, bases, sentence):
    seen = scan(roles_in_sync().values(), bases)
    if not sentence:
        check_is_ours("orders", marker, seen, server="main")
        return
    with pytest.raises(NeedsDecision) as raised:
        check_is_ours("orders", marker, seen, server="main")
    assert raised.value.reason == "DropBlocked"
    assert sentence in raised.value.message


@pytest.mark.parametrize(
    ("marker", "base", "expected"),
    [
        pytest.param(DELETED, None, False, id="dropped by hand"),
        pytest.param(DELETED, database(), False, id="within its grace"),
        pytest.param(DROPPING, database(is_open=False), False, id="closed, all data there"),
        pytest.param(DROPPING, None, True, id="the database is gone"),
        pytest.param(DROPPING, replace(database(), valid=False), True, id="half of it is gone"),
    ],
)
def test_a_drop_can_be_undone_while_the_data_is_there(marker, base, expected):
    assert is_beyond_undoing(marker, base) is expected


def test_every_role_of_the_database_goes_and_no_other_the_marker_last():
    roles = {
        **roles_in_sync(),
        "orders_user": Role("orders_user", login=False, comment=note(MIGRATOR)),
        "orders__intern": Role("orders__intern", login=True),
        "orders__prose": Role("orders__prose", login=False, comment="by hand"),
        "reporting": Role("reporting", login=True),
        "invoices__app_a": Role("invoices__app_a", login=True, comment=RoleNote("invoices__owner", "app").comment()),
    }
    found = roles_to_drop(scan(roles.values()), NAMES)
    ours = [APP_A, APP_B, MIGRATOR_A, MIGRATOR_B, "orders__readonly_a", "orders__readonly_b", "orders_user"]
    assert found == [*ours, RW, RO, OWNER]


TABLE = Holding(OWNER, "orders_copy", "pg_class", True, 3)


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        pytest.param([], "", id="nothing"),
        pytest.param([replace(TABLE, database="orders")], "", id="its own tables"),
        pytest.param([replace(TABLE, owned=False)], "", id="privileges on a table elsewhere"),
        pytest.param([Holding(APP_A, "postgres", "pg_largeobject", True)], "", id="a large object elsewhere"),
        pytest.param([Holding(OWNER, "invoices", "pg_default_acl", True)], "", id="default privileges elsewhere"),
        pytest.param([Holding(RO, None, "pg_database", False)], "", id="CONNECT on another database"),
        pytest.param(
            [TABLE], f'role "{OWNER}" owns 3 tables, views or sequences in database "orders_copy"', id="a copy"
        ),
        pytest.param([Holding(APP_A, "postgres", "pg_proc", True)], "1 routines", id="a routine"),
        pytest.param([Holding(OWNER, "postgres", "pg_namespace", True)], "1 schemas", id="a schema"),
        pytest.param([Holding(OWNER, "postgres", "pg_type", True)], "1 entries of pg_type", id="a type"),
        pytest.param([Holding(OWNER, None, "pg_database", True)], "on the server", id="a database"),
        pytest.param([replace(TABLE, database=f"d{n}") for n in range(9)], "; and more", id="much"),
    ],
)
def test_what_somebody_may_keep_is_not_dropped(held, sentence):
    if not sentence:
        check_nothing_is_kept("orders", held, server="main")
        return
    with pytest.raises(NeedsDecision) as raised:
        check_nothing_is_kept("orders", held, server="main")
    assert sentence in raised.value.message
    assert raised.value.reason == "DropBlocked"


def test_what_waits_for_its_drop_is_said():
    assert waiting([("orders", MARKER), ("x", replace(DELETED, grace="never"))]) == ""
    assert waiting([("orders", DELETED)]) == (
        "to be dropped, unless their ServiceDatabase is made again: orders (not before 2025-03-08T12:00:00Z)"
    )
    assert waiting([(f"d{number}", DELETED) for number in range(7)]).endswith(" and 2 more")


@pytest.mark.parametrize(
    ("shared_with", "listed", "kept"),
    [
        (("legacy",), "kyc-service", True),
        ((), "kyc-service", True),
        (("legacy",), "another", False),
        (None, "kyc-service", False),
    ],
    ids=["shared", "of superusers alone", "no longer listed", "not shared"],
)
def test_what_others_go_on_using_is_not_dropped_as_long_as_they_may(shared_with, listed, kept):
    marker = replace(MARKER, name="kyc-service", shared_with=shared_with)
    entry = Adoptable(database_name="orders", namespace=marker.namespace, name=listed)
    if not kept:
        check_is_not_shared("orders", marker, [entry], server="main")
        return
    with pytest.raises(NeedsDecision, match="take the entry out to have it dropped"):
        check_is_not_shared("orders", marker, [entry], server="main")
