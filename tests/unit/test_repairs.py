"""What is told as taken back: changes by hand, also in a round in which a login takes a turn, and not that turn."""

import pytest
from servicedb.plan.observed import Membership, Privilege
from servicedb.plan.repairs import repairs
from servicedb.plan.steps import (
    AlterRole,
    ChangeSetting,
    CloseLogin,
    DropRole,
    Grant,
    GrantByDefault,
    NoteOnLogin,
    OpenLogin,
    PrepareSecret,
    ProveLogin,
    Revoke,
    RevokeOnDatabase,
    SetPassword,
)

from tests.unit.given import APP_A, APP_B, MIGRATOR_A, ONLY_APP, OWNER, RO, RW, WANTED

WHY = "why"
PUBLIC_CONNECT = RevokeOnDatabase(WHY, "orders", Privilege("PUBLIC", "CONNECT"))
SUPERUSER = AlterRole(WHY, APP_B, ("NOSUPERUSER",))
TURN = (PrepareSecret(WHY, "app", APP_B), OpenLogin(WHY, APP_B), SetPassword(WHY, "app", APP_B))
OTHER_ACCESS = (
    Grant("missing", Membership(RO, APP_B, inherit=True, set_role=True)),
    Revoke("not in the spec", Membership(RW, APP_A, inherit=True, set_role=True)),
    ChangeSetting(WHY, "orders", APP_B, "role", RO),
    AlterRole(WHY, APP_B, ("NOINHERIT",)),
)


@pytest.mark.parametrize(
    ("done", "told"),
    [
        pytest.param((), [], id="nothing was done"),
        pytest.param((PUBLIC_CONNECT, ProveLogin(WHY, "app", APP_A)), [PUBLIC_CONNECT], id="changed by hand"),
        pytest.param(TURN, [], id="a rotation"),
        pytest.param((*TURN, PUBLIC_CONNECT), [PUBLIC_CONNECT], id="changed by hand during a rotation"),
        pytest.param((*TURN, *OTHER_ACCESS), [], id="another access"),
        pytest.param((*TURN, SUPERUSER), [SUPERUSER], id="the login in question was made superuser"),
        pytest.param((CloseLogin(WHY, APP_A), *OTHER_ACCESS), [], id="a closed half is made ready"),
        pytest.param(
            (NoteOnLogin(WHY, MIGRATOR_A, ""), OTHER_ACCESS[0]), [OTHER_ACCESS[0]], id="beside a turn of another login"
        ),
        pytest.param(
            (PrepareSecret(WHY, "app", APP_A, repairs=True), SetPassword(WHY, "app", APP_A)),
            [SetPassword(WHY, "app", APP_A)],
            id="a password that was changed by hand",
        ),
        pytest.param(
            (RevokeOnDatabase(WHY, "orders", Privilege(MIGRATOR_A, "CONNECT")), DropRole(WHY, MIGRATOR_A)),
            [],
            id="a login that leaves",
        ),
        pytest.param(
            (CloseLogin(WHY, APP_A), GrantByDefault(WHY, OWNER, "TABLES", Privilege(RO, "SELECT"))),
            [GrantByDefault(WHY, OWNER, "TABLES", Privilege(RO, "SELECT"))],
            id="inside the database",
        ),
    ],
)
def test_what_is_told_is_what_somebody_had_changed(done, told):
    assert repairs(done, WANTED if MIGRATOR_A in str(done) else ONLY_APP) == told
