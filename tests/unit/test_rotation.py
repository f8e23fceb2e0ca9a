"""Why and when a password is replaced that works."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from servicedb.plan.credentials import SeenSecret
from servicedb.plan.marker import LeftSecret
from servicedb.plan.observed import Role
from servicedb.plan.rotation import Rotation, Schedule, is_handled, next_rotation, rotations
from servicedb.plan.wanted import Access

from tests.unit.given import (
    APP,
    APP_A,
    APP_B,
    FIXED,
    MIGRATOR,
    MIGRATOR_A,
    NOW,
    ONLY_APP,
    ONLY_FIXED,
    OVERLAP,
    RO,
    WANTED,
    note,
    roles_in_sync,
)

DAY = timedelta(days=1)
ASKED, EVERY_DAY = Schedule(asked="today"), Schedule(every=DAY)
A_NEW_VALUE = "the annotation servicedb.io/rotate-at has a new value"
TOO_OLD = "its password is as old as spec.credentials.rotateEvery allows"
READS_ONLY = replace(ONLY_APP, logins=(replace(APP, access=Access.READ_ONLY, works_as=RO),))


def secret(
    username: str | None = APP_A,
    *,
    age: timedelta | None = timedelta(),
    handled: str | None = None,
    pending: str | None = None,
) -> SeenSecret:
    return SeenSecret(
        True,
        "uid/1",
        username,
        SecretStr("pw") if username is not None else None,
        pending,
        SecretStr("next") if pending is not None else None,
        NOW - age if age is not None else None,
        handled,
    )


def halves(*logging_in: str, left: Iterable[LeftSecret] = (), login=APP) -> dict[str, Role]:
    return {
        half: Role(half, login=half in logging_in, comment=note(login, left=left if half in logging_in else ()))
        for half in login.halves
    }


IN_USE = halves(APP_A)
BOTH = halves(APP_A, APP_B)


@pytest.mark.parametrize(
    ("schedule", "seen", "reason"),
    [
        pytest.param(Schedule(), secret(age=1000 * DAY), None, id="nobody asks"),
        pytest.param(ASKED, secret(), A_NEW_VALUE, id="asked for the first time"),
        pytest.param(ASKED, secret(handled="yesterday"), A_NEW_VALUE, id="asked again"),
        pytest.param(ASKED, secret(handled="today"), None, id="handled"),
        pytest.param(Schedule(asked=""), secret(), A_NEW_VALUE, id="asked with an empty value"),
        pytest.param(Schedule(), secret(handled="today"), None, id="the annotation was taken away"),
        pytest.param(ASKED, None, None, id="no Secret: it is made afresh"),
        pytest.param(ASKED, secret(None), None, id="no password: it is made afresh"),
        pytest.param(ASKED, secret("postgres"), None, id="a stranger's name: it is made afresh"),
        pytest.param(ASKED, secret(pending=APP_B), None, id="on its way already"),
        pytest.param(EVERY_DAY, secret(age=DAY - timedelta(seconds=1)), None, id="not old enough"),
        pytest.param(EVERY_DAY, secret(age=DAY), TOO_OLD, id="old at the very second"),
        pytest.param(EVERY_DAY, secret(age=None), TOO_OLD, id="of unknown age"),
        pytest.param(Schedule("today", DAY), secret(age=2 * DAY), A_NEW_VALUE, id="both"),
        pytest.param(Schedule("today", DAY), secret(age=2 * DAY, handled="today"), TOO_OLD, id="old since"),
    ],
)
def test_why_a_password_is_replaced(schedule, seen, reason):
    expected = [Rotation(APP, APP_A, reason, waits=False)] if reason is not None else []
    assert rotations(ONLY_APP, {"app": seen}, IN_USE, schedule, now=NOW) == expected
    waiting = [replace(rotation, waits=True) for rotation in expected]
    assert rotations(ONLY_APP, {"app": seen}, BOTH, schedule, now=NOW) == waiting


def test_another_access_is_a_reason_for_a_pair_alone():
    assert [due.reason for due in rotations(READS_ONLY, {"app": secret()}, IN_USE, Schedule(), now=NOW)] == [
        "its access was ReadWrite"
    ]
    fixed = replace(READS_ONLY, logins=(replace(READS_ONLY.logins[0], halves=FIXED.halves),))
    roles = halves("orders_user", login=FIXED)
    assert rotations(fixed, {"app": secret("orders_user")}, roles, Schedule(), now=NOW) == []


@pytest.mark.parametrize("comment", [None, "by hand", note(APP, owner="other__owner")])
def test_an_access_that_is_not_known_is_no_reason(comment):
    roles = {APP_A: Role(APP_A, login=True, comment=comment)}
    assert rotations(READS_ONLY, {"app": secret()}, roles, Schedule(), now=NOW) == []


def test_a_password_that_another_secret_holds_is_replaced_as_soon_as_a_half_is_free():
    roles = halves(APP_A, left=[LeftSecret("first", NOW + OVERLAP)])
    reasons = [due.reason for due in rotations(ONLY_APP, {"app": secret()}, roles, Schedule(), now=NOW)]
    assert reasons == ["the Secret of before holds its password, too"]
    past = halves(APP_A, left=[LeftSecret("first", NOW)])
    assert rotations(ONLY_APP, {"app": secret()}, past, Schedule(), now=NOW) == []
    roles = halves("orders_user", left=[LeftSecret("first", NOW + OVERLAP)], login=FIXED)
    assert rotations(ONLY_FIXED, {"app": secret("orders_user")}, roles, Schedule(), now=NOW) == []


def test_a_fixed_login_waits_for_nobody():
    roles = halves("orders_user", login=FIXED)
    assert [due.waits for due in rotations(ONLY_FIXED, {"app": secret("orders_user")}, roles, ASKED, now=NOW)] == [
        False
    ]


def test_each_login_has_a_time_of_its_own():
    secrets = {"app": secret(age=2 * DAY), "migrator": secret(MIGRATOR_A, age=DAY / 2)}
    found = rotations(WANTED, secrets, roles_in_sync(), EVERY_DAY, now=NOW)
    assert [due.login.role for due in found] == ["app"]
    calm = {**secrets, "app": secret(age=DAY / 4)}
    assert next_rotation(WANTED, calm, roles_in_sync(), EVERY_DAY, now=NOW) == NOW + DAY / 2


@pytest.mark.parametrize(
    ("schedule", "seen", "roles", "time"),
    [
        pytest.param(Schedule(), secret(), IN_USE, None, id="nobody asks"),
        pytest.param(ASKED, secret(handled="today"), IN_USE, None, id="handled"),
        pytest.param(ASKED, secret(), IN_USE, NOW, id="asked: now"),
        pytest.param(ASKED, secret(), BOTH, None, id="asked, waits: the end of the overlap is a time of its own"),
        pytest.param(EVERY_DAY, secret(age=OVERLAP), IN_USE, NOW - OVERLAP + DAY, id="later"),
        pytest.param(EVERY_DAY, secret(age=2 * DAY), IN_USE, NOW, id="too old: now"),
        pytest.param(EVERY_DAY, secret(age=2 * DAY), BOTH, None, id="too old, waits"),
        pytest.param(EVERY_DAY, None, IN_USE, None, id="no Secret"),
    ],
)
def test_when_the_next_one_falls_due(schedule, seen, roles, time):
    assert next_rotation(ONLY_APP, {"app": seen}, roles, schedule, now=NOW) == time


@pytest.mark.parametrize(
    ("secrets", "handled"),
    [
        pytest.param({"app": secret(handled="today"), "migrator": secret(MIGRATOR_A, handled="today")}, True, id="all"),
        pytest.param({"app": secret(handled="today"), "migrator": secret(MIGRATOR_A)}, False, id="not all"),
        pytest.param({"app": secret(handled="today"), "migrator": None}, False, id="one without a Secret"),
        pytest.param({}, False, id="none"),
    ],
)
def test_it_is_handled_once_every_login_has_it(secrets, handled):
    assert is_handled(replace(WANTED, logins=(APP, MIGRATOR)), secrets, "today") is handled


@given(
    st.builds(Schedule, st.none() | st.just("today"), st.none() | st.just(DAY)),
    st.none() | st.datetimes(min_value=datetime(2025, 2, 20), max_value=datetime(2025, 3, 10)),
    st.sampled_from([IN_USE, BOTH]),
)
def test_what_is_not_due_is_so_when_the_time_has_come(schedule, rotated_at, roles):
    """The time that the loop sleeps until is the one at which there is something to do."""
    time = rotated_at.replace(tzinfo=NOW.tzinfo) if rotated_at is not None else None
    secrets = {"app": replace(secret(handled="today"), rotated_at=time)}
    due = next_rotation(ONLY_APP, secrets, roles, schedule, now=NOW)
    if due is None:
        found = rotations(ONLY_APP, secrets, roles, schedule, now=NOW)
        assert all(rotation.waits for rotation in found)
    else:
        assert due >= NOW
        assert rotations(ONLY_APP, secrets, roles, schedule, now=due) != []
