"""What stands on a server by the notes alone: which logins are in use, and which only wait for their end."""

import pytest
from servicedb.plan.marker import RoleNote
from servicedb.plan.noted import as_noted
from servicedb.plan.observed import Role

from tests.unit.given import APP, APP_A, APP_B, FIXED, MARKER, NOW, ONLY_APP, note, roles_in_sync, scan


def noted(*roles: Role):
    return as_noted("orders", MARKER, scan(roles), known_oid="7").logins


def test_a_login_in_use_is_as_it_was_made():
    (login,) = noted(*roles_in_sync(ONLY_APP).values())
    assert login == APP


@pytest.mark.parametrize("in_use", [APP_A, APP_B])
def test_the_half_whose_end_is_noted_is_the_other_one(in_use):
    halves = [
        Role(half, login=True, comment=note(APP, retire_at=None if half == in_use else NOW)) for half in APP.halves
    ]
    (login,) = noted(*halves)
    assert (login.halves, login.secret_name) == (APP.halves, APP.secret_name)


@pytest.mark.parametrize(
    "role",
    [
        pytest.param(Role(APP_A, login=True, comment=note(APP, retire_at=NOW)), id="on its way out"),
        pytest.param(Role(APP_A, login=False, comment=note(APP)), id="closed"),
        pytest.param(Role(APP_A, login=True, comment=note(APP, owner="invoices__owner")), id="a neighbour's"),
        pytest.param(Role(APP_A, login=True), id="without a note"),
        pytest.param(
            Role(APP_A, login=True, comment=RoleNote("orders__owner", "app").comment()),
            id="of which no Secret is known",
        ),
    ],
)
def test_what_is_not_in_use_is_no_login(role):
    assert noted(role) == ()


def test_a_fixed_login_has_no_other_half_and_an_unknown_access_is_none_of_the_owners():
    fixed = Role("orders_user", login=True, comment=note(FIXED))
    unknown = RoleNote("orders__owner", "odd", "orders-odd", access="Everything")
    odd = Role("orders__odd_a", login=True, comment=unknown.comment())
    found = {login.role: (login.halves, login.access) for login in noted(fixed, odd)}
    assert found == {"app": (("orders_user",), "ReadWrite"), "odd": (("orders__odd_a", "orders__odd_b"), "ReadWrite")}
