"""What is done even where changes by hand are only listed."""

from dataclasses import replace

import pytest
from servicedb.plan.credentials import LoginState
from servicedb.plan.observed import Membership
from servicedb.plan.steps import AlterRole, CommentOnRole, CreateRole, DropRole, Grant, Revoke, SetPassword
from servicedb.plan.upkeep import upkeep

from tests.unit.given import APP, APP_A, APP_B, MARKER, NOW, OVERLAP, OWNER, RW, WANTED, note, roles_in_sync

ENDED, TO_END = note(APP, retire_at=NOW), note(APP, retire_at=NOW + OVERLAP)
ROLES = roles_in_sync()
LEAVING = {**ROLES, APP_B: replace(ROLES[APP_B], login=True, comment=ENDED)}
ROTATING = {"app": LoginState(APP_A, APP_B)}
SETTLED = {"app": LoginState(APP_A, None)}
PASSWORD = SetPassword("", "app", APP_B)
MEMBERSHIP = Membership(RW, APP_A, inherit=True, set_role=True)


@pytest.mark.parametrize(
    ("step", "roles", "states", "expected"),
    [
        pytest.param(PASSWORD, ROLES, ROTATING, PASSWORD, id="a pending password"),
        pytest.param(PASSWORD, ROLES, None, None, id="a pending password, where no rotation goes on"),
        pytest.param(DropRole("", APP_B), ROLES, None, DropRole("", APP_B), id="a login that has left"),
        pytest.param(
            CommentOnRole("", OWNER, MARKER.comment()), ROLES, None, CommentOnRole("", OWNER, MARKER.comment()),
            id="the marker",
        ),
        pytest.param(
            CommentOnRole("", APP_B, TO_END), ROLES, SETTLED, CommentOnRole("", APP_B, TO_END), id="an end is noted",
        ),
        pytest.param(
            CommentOnRole("", APP_B, note(APP)), {**ROLES, APP_B: replace(ROLES[APP_B], comment="by hand")}, SETTLED,
            None, id="a comment by hand",
        ),
        pytest.param(
            AlterRole("", APP_B, ("LOGIN", "NOSUPERUSER")), ROLES, ROTATING, AlterRole("", APP_B, ("LOGIN",)),
            id="the half that is about to be used, and no more",
        ),
        pytest.param(AlterRole("", APP_A, ("LOGIN",)), ROLES, SETTLED, None, id="a login closed by hand"),
        pytest.param(
            AlterRole("", APP_B, ("NOLOGIN", "CONNECTION LIMIT 1")), LEAVING, SETTLED,
            AlterRole("", APP_B, ("NOLOGIN",)), id="the end of an overlap, and no more",
        ),
        pytest.param(
            AlterRole("", APP_B, ("NOLOGIN",)), {**LEAVING, APP_B: replace(LEAVING[APP_B], comment=TO_END)}, SETTLED,
            None, id="an overlap that has not ended",
        ),
        pytest.param(AlterRole("", RW, ("NOLOGIN",)), ROLES, SETTLED, None, id="a group that logs in"),
        pytest.param(CreateRole("", RW, False, True, -1, ""), ROLES, SETTLED, None, id="a role that is missing"),
        pytest.param(Grant("", MEMBERSHIP), ROLES, ROTATING, None, id="a membership that is missing"),
        pytest.param(Revoke("", MEMBERSHIP), ROLES, ROTATING, None, id="a membership too many"),
    ],
)  # fmt: skip
def test_what_can_not_wait_for_a_person_is_done(step, roles, states, expected):
    found = list(upkeep([step], WANTED, roles, now=NOW, states=states))
    assert found == ([expected] if expected is not None else [])
