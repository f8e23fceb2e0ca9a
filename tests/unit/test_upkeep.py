"""What is done even where changes by hand are only listed."""

import pytest
from servicedb.plan.observed import Membership
from servicedb.plan.steps import (
    AlterRole,
    CloseLogin,
    CommentOnRole,
    CreateRole,
    DropRole,
    Grant,
    NoteOnLogin,
    OpenLogin,
    Revoke,
    SetPassword,
)
from servicedb.plan.upkeep import upkeep, upkeep_at_rest

from tests.unit.given import APP_A, MARKER, OWNER, RW, WANTED

MEMBERSHIP = Membership(RW, APP_A, inherit=True, set_role=True)


@pytest.mark.parametrize(
    ("step", "goes_on", "also_at_rest"),
    [
        (SetPassword("", "app", APP_A), True, False),
        (OpenLogin("", APP_A), True, False),
        (NoteOnLogin("", APP_A, "{}"), True, False),
        (CloseLogin("", APP_A), True, True),
        (CommentOnRole("", OWNER, MARKER.comment()), True, True),
        (CommentOnRole("", APP_A, "{}"), False, False),
        (AlterRole("", APP_A, ("LOGIN",)), False, False),
        (AlterRole("", RW, ("NOLOGIN",)), False, False),
        (CreateRole("", RW, False, True, -1, ""), False, False),
        (DropRole("", APP_A), False, False),
        (Grant("", MEMBERSHIP), False, False),
        (Revoke("", MEMBERSHIP), False, False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_can_not_wait_for_a_person_is_done(step, goes_on, also_at_rest):
    assert list(upkeep([step], WANTED)) == [step] * goes_on
    assert list(upkeep_at_rest([step], WANTED)) == [step] * also_at_rest
