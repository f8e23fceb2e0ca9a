"""Memberships: from what is to what is wanted, without a moment in which a login lacks its role."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.plan.memberships import membership_steps, wanted_memberships
from servicedb.plan.observed import Membership
from servicedb.plan.steps import Grant, Revoke

from tests.unit.given import APP_A, APP_B, MIGRATOR_A, MIGRATOR_B, ONLY_FIXED, OWNER, RO, RW, STRANGER, WANTED, scan
from tests.unit.simulated import Simulated

APP = Membership(RW, APP_A, inherit=True, set_role=True)
APP_WITHOUT_SET = replace(APP, set_role=False)
APP_WITHOUT_INHERIT = replace(APP, inherit=False)
BY_HAND = Membership(OWNER, STRANGER, inherit=True, set_role=True)
APP_WITH_ADMIN = replace(APP, grantable=True)
MISSING, OTHERWISE, UNWANTED = "missing", "granted with other options", "not in the spec"


def memberships(grantable: st.SearchStrategy[bool]) -> st.SearchStrategy[frozenset[Membership]]:
    """One membership at most of each member in each group."""
    one = st.builds(
        Membership,
        st.sampled_from([OWNER, RW, RO]),
        st.sampled_from([APP_A, APP_B, STRANGER]),
        st.booleans(),
        st.booleans(),
        grantable,
    )
    return st.frozensets(one, max_size=6).map(
        lambda all_: frozenset({(m.group, m.member): m for m in sorted(all_)}.values())
    )


@pytest.mark.parametrize(
    ("seen", "steps"),
    [
        pytest.param({APP}, [], id="in sync"),
        pytest.param(set(), [Grant(MISSING, APP)], id="missing"),
        pytest.param({APP_WITHOUT_SET}, [Grant(OTHERWISE, APP)], id="without SET"),
        pytest.param({APP_WITHOUT_INHERIT}, [Grant(OTHERWISE, APP)], id="without INHERIT"),
        pytest.param(
            {APP_WITH_ADMIN}, [Revoke("could be passed on", APP_WITH_ADMIN), Grant(OTHERWISE, APP)], id="with ADMIN"
        ),
        pytest.param({APP, BY_HAND}, [Revoke(UNWANTED, BY_HAND)], id="granted by hand"),
        pytest.param({BY_HAND}, [Grant(MISSING, APP), Revoke(UNWANTED, BY_HAND)], id="grants before revokes"),
    ],
)
def test_steps_lead_from_what_is_to_what_is_wanted(seen, steps):
    assert list(membership_steps(frozenset({APP}), frozenset(seen))) == steps


def test_a_login_on_its_way_out_keeps_what_it_has():
    assert list(membership_steps(frozenset({APP}), frozenset({APP, BY_HAND}), leaving=[STRANGER])) == []


def test_each_half_is_a_member_of_the_role_that_it_works_as():
    assert wanted_memberships(WANTED) == {
        *(Membership(RW, half, inherit=True, set_role=True) for half in (APP_A, APP_B)),
        *(Membership(OWNER, half, inherit=False, set_role=True) for half in (MIGRATOR_A, MIGRATOR_B)),
        *(Membership(RO, half, inherit=True, set_role=True) for half in ("orders__readonly_a", "orders__readonly_b")),
    }


def test_a_fixed_login_is_one_member():
    assert wanted_memberships(ONLY_FIXED) == {Membership(RW, "orders_user", inherit=True, set_role=True)}


@given(memberships(st.just(False)), memberships(st.booleans()), st.sets(st.sampled_from([APP_B, STRANGER])))
def test_applying_the_steps_ends_the_work(wanted, seen, leaving):
    leaving -= {m.member for m in wanted}
    server = Simulated(scan(memberships=seen))
    server.apply_all(membership_steps(wanted, seen, leaving=leaving))
    assert wanted <= server.memberships
    assert {m.member for m in server.memberships - wanted} <= leaving
    assert not list(membership_steps(wanted, frozenset(server.memberships), leaving=leaving))
