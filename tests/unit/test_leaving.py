"""What goes for good: which Secrets and roles, and not before nobody needs them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr
from servicedb.plan.credentials import LoginState, SeenSecret, overtaken_by, secret_steps, secrets_before
from servicedb.plan.leaving import departure_steps, former_groups, next_retirement
from servicedb.plan.marker import LeftSecret, RoleNote
from servicedb.plan.observed import Role
from servicedb.plan.roles import earlier_access, role_steps
from servicedb.plan.steps import CloseLogin, DeleteSecret, DropRole, NoteOnLogin, PrepareSecret, SetPassword, Step
from servicedb.plan.wanted import Access, Wanted

from tests.unit.given import (
    APP,
    APP_A,
    APP_B,
    FIXED,
    MARKER,
    MIGRATOR,
    MIGRATOR_A,
    MIGRATOR_B,
    NAMES,
    NOW,
    ONLY_APP,
    ONLY_FIXED,
    OVERLAP,
    OWNER,
    RO,
    WANTED,
    note,
    roles_in_sync,
    scan,
)
from tests.unit.simulated import Simulated

IN_USE = {"app": LoginState(APP_A, None)}
DELETED, NOTED, DROPPED = "nobody is to use it any more", "its Secret is deleted", "no longer in the spec"
MOVED = replace(ONLY_APP, logins=(replace(APP, secret_name="new"),))
MOVED_FIXED = replace(ONLY_FIXED, logins=(replace(FIXED, secret_name="new"),))


def going(
    roles: Mapping[str, Role], wanted: Wanted = ONLY_APP, states: Mapping[str, LoginState] = IN_USE
) -> list[Step]:
    return departure_steps(wanted, states, roles, now=NOW)


def with_roles(*roles: Role) -> dict[str, Role]:
    """Those of a database with the app alone, with `roles` besides or in the place of theirs."""
    return {**roles_in_sync(ONLY_APP), **{role.name: role for role in roles}}


def test_nothing_goes_from_a_database_that_is_as_it_should_be():
    assert departure_steps(WANTED, {}, roles_in_sync(), now=NOW) == []


def test_a_login_that_is_closed_and_no_longer_in_the_spec_goes_and_its_secret_before_it():
    closed = [Role(half, login=False, comment=note(MIGRATOR)) for half in (MIGRATOR_A, MIGRATOR_B)]
    unnamed = RoleNote(OWNER, "migrator", access="Owner").comment()
    assert going(with_roles(*closed)) == [
        DeleteSecret(DELETED, "migrator", "orders-migrator"),
        NoteOnLogin(NOTED, MIGRATOR_A, unnamed),
        NoteOnLogin(NOTED, MIGRATOR_B, unnamed),
        DropRole(DROPPED, MIGRATOR_A),
        DropRole(DROPPED, MIGRATOR_B),
    ]


GROUP = NAMES.own_group("app")


@pytest.mark.parametrize(
    ("retire_at", "steps"),
    [
        pytest.param(None, [], id="its overlap is yet to begin"),
        pytest.param(NOW + OVERLAP, [], id="in its overlap"),
        pytest.param(NOW, [DropRole(DROPPED, GROUP)], id="its overlap is over"),
    ],
)
def test_a_group_that_the_spec_has_no_need_of_goes_after_its_overlap(retire_at, steps):
    role = Role(GROUP, login=False, comment=RoleNote(OWNER, "app_grp", retire_at=retire_at, granted=True).comment())
    assert going(with_roles(role)) == steps
    assert next_retirement(ONLY_APP, with_roles(role), after=NOW) == (retire_at if steps == [] else None)


@pytest.mark.parametrize(
    "role",
    [
        pytest.param(Role(GROUP, login=False), id="without a note"),
        pytest.param(
            Role(GROUP, False, comment=RoleNote("other__owner", "app_grp", retire_at=NOW).comment()), id="a neighbour's"
        ),
        pytest.param(Role("orders__mine", False, comment=RoleNote(OWNER, "app_grp").comment()), id="of another name"),
    ],
)
def test_a_group_is_told_by_its_note_and_its_name(role):
    assert former_groups(ONLY_APP, with_roles(role)) == {}


def test_as_long_as_one_half_logs_in_its_secret_stays_and_only_the_closed_one_goes():
    halves = [Role(half, login=half == MIGRATOR_A, comment=note(MIGRATOR)) for half in (MIGRATOR_A, MIGRATOR_B)]
    assert going(with_roles(*halves)) == [DropRole(DROPPED, MIGRATOR_B)]


@pytest.mark.parametrize(
    "role",
    [
        pytest.param(Role("orders_reporting", login=False), id="without a note"),
        pytest.param(Role("orders__x_a", login=False, comment="by hand"), id="with another comment"),
        pytest.param(Role("x__app_a", login=False, comment=note(APP, owner="x__owner")), id="another database's"),
        pytest.param(Role("orders__etl_grp", login=False, comment=RoleNote(OWNER, "etl").comment()), id="a group"),
        pytest.param(Role("orders__x_a", login=False, comment=MARKER.comment()), id="with a marker"),
    ],
)
def test_a_role_that_is_no_login_of_ours_never_goes(role):
    assert going(with_roles(role)) == []


@pytest.mark.parametrize("state", [LoginState(None, None), LoginState(None, "orders_user")])
def test_nothing_is_dropped_before_the_login_in_its_place_is_in_use(state):
    roles = {**with_roles(replace(roles_in_sync()[APP_A], login=False)), **roles_in_sync(ONLY_FIXED)}
    assert going(roles, ONLY_FIXED, {"app": state}) == []
    in_use = {"app": LoginState("orders_user", None)}
    assert going(roles, ONLY_FIXED, in_use) == [DropRole(DROPPED, APP_A), DropRole(DROPPED, APP_B)]


def test_a_secret_that_a_login_of_the_spec_has_taken_over_is_not_deleted():
    reader = replace(MIGRATOR, secret_name="orders-app")
    closed = Role(MIGRATOR_A, login=False, comment=note(reader))
    assert going(with_roles(closed)) == [DropRole(DROPPED, MIGRATOR_A)]


def test_the_secret_of_a_half_that_was_closed_after_a_move_is_deleted_and_the_half_stays():
    roles = with_roles(
        Role(APP_A, login=False, comment=note(APP)), Role(APP_B, login=True, comment=note(MOVED.logins[0]))
    )
    assert going(roles, MOVED, {"app": LoginState(APP_B, None)}) == [
        DeleteSecret(DELETED, "app", "orders-app"),
        NoteOnLogin(NOTED, APP_A, RoleNote(OWNER, "app", access="ReadWrite").comment()),
    ]


@pytest.mark.parametrize(
    ("until", "goes"), [(None, False), (NOW + timedelta(seconds=1), False), (NOW, True), (NOW - OVERLAP, True)]
)
def test_a_secret_that_held_the_same_password_is_deleted_when_its_time_has_come(until, goes):
    login = MOVED_FIXED.logins[0]
    left = Role("orders_user", login=True, comment=note(login, left=[LeftSecret("orders-app", until)]))
    roles = {**roles_in_sync(MOVED_FIXED), left.name: left}
    expected = [DeleteSecret(DELETED, "app", "orders-app"), NoteOnLogin(NOTED, "orders_user", note(login))]
    assert going(roles, MOVED_FIXED, {"app": LoginState("orders_user", None)}) == (expected if goes else [])
    assert next_retirement(MOVED_FIXED, roles, after=NOW) == (until if until and until > NOW else None)


# Secrets that move


def secret(username: str, *, ours: bool = True) -> SeenSecret:
    return SeenSecret(ours, "uid/1", username, SecretStr("pw"))


LOST = "no password yet, or its Secret was lost"


@pytest.mark.parametrize(
    ("wanted", "roles", "before", "step"),
    [
        pytest.param(MOVED, {APP_A: True, APP_B: False}, secret(APP_A), PrepareSecret(LOST, "app", APP_B), id="free"),
        pytest.param(
            MOVED, {APP_A: True, APP_B: True}, secret(APP_A),
            PrepareSecret("it moves from another Secret", "app", APP_A, "orders-app"), id="no half is free",
        ),
        pytest.param(
            MOVED, {APP_A: True, APP_B: True}, replace(secret(APP_A), pending_username=APP_B,
            pending_password=SecretStr("next")), PrepareSecret("it moves from another Secret", "app", APP_B),
            id="one is prepared, and in use by nobody",
        ),
        pytest.param(
            MOVED_FIXED, {"orders_user": True}, secret("orders_user"),
            PrepareSecret("it moves from another Secret", "app", "orders_user", "orders-app"), id="fixed",
        ),
        pytest.param(
            MOVED_FIXED, {"orders_user": True}, secret("orders_user", ours=False),
            PrepareSecret(LOST, "app", "orders_user"), id="from a Secret of somebody else's",
        ),
        pytest.param(
            MOVED_FIXED, {"orders_user": True}, secret(APP_A), PrepareSecret(LOST, "app", "orders_user"),
            id="from a Secret with another login",
        ),
        pytest.param(
            MOVED_FIXED, {"orders_user": True}, None, PrepareSecret(LOST, "app", "orders_user"), id="from nowhere",
        ),
    ],
)  # fmt: skip
def test_whose_password_stands_in_a_secret_that_is_new(wanted, roles, before, step):
    seen = {half: Role(half, login=login, comment=note(APP)) for half, login in roles.items()}
    known = {"app": ("orders-app", before)} if before is not None else {}
    assert secret_steps(wanted, {}, seen, before=known) == [step]


def test_what_was_prepared_in_a_secret_is_not_gone_on_with_when_its_half_is_in_use_by_another():
    stale = replace(secret(APP_A), pending_username=APP_B, pending_password=SecretStr("next"))
    login, elsewhere = MOVED.logins[0], note(replace(APP, secret_name="third"))
    halves = {
        APP_A: Role(APP_A, login=True, comment=note(APP)),
        APP_B: Role(APP_B, login=True, comment=elsewhere),
    }
    assert secret_steps(MOVED, {}, halves, before={"app": ("orders-app", stale)}) == [
        PrepareSecret("it moves from another Secret", "app", APP_A, "orders-app")
    ]
    here = replace(stale, username=None, password=None)
    assert overtaken_by(login, here, halves) == "third"
    assert not secret(APP_B).holds_what_is_pending_in(here)
    assert replace(secret(APP_B), password=SecretStr("next")).holds_what_is_pending_in(here)
    assert overtaken_by(APP, here, {**halves, APP_B: replace(halves[APP_B], comment=note(APP))}) is None
    assert overtaken_by(login, here, {**halves, APP_B: replace(halves[APP_B], login=False)}) is None


def test_the_secrets_of_before_are_known_by_the_notes_the_one_in_use_first():
    halves = {
        APP_A: Role(APP_A, login=True, comment=note(replace(APP, secret_name="older"), retire_at=NOW)),
        APP_B: Role(APP_B, login=True, comment=note(APP, left=[LeftSecret("old")])),
    }
    assert secrets_before(MOVED.logins[0], halves) == ["orders-app", "old", "older"]
    closed = {name: replace(role, login=False) for name, role in halves.items()}
    assert secrets_before(MOVED.logins[0], closed) == []


def test_the_note_names_the_secret_of_before_until_its_time_is_known_and_over():
    server = Simulated(scan(roles_in_sync(ONLY_FIXED).values()))
    login, name = MOVED_FIXED.logins[0], "orders_user"

    def noted(state: LoginState) -> RoleNote | None:
        steps = role_steps(MOVED_FIXED, MARKER, {"app": state}, server.roles, now=NOW, overlap=OVERLAP)
        server.apply_all(step for step in steps if not isinstance(step, SetPassword))
        return RoleNote.read(server.roles[name].comment)

    before = RoleNote.read(note(FIXED))
    assert before is not None
    moving = replace(before, secret=login.secret_name, left=(LeftSecret("orders-app"),))
    assert noted(LoginState(None, name)) == moving
    moved = replace(moving, left=(LeftSecret("orders-app", NOW + OVERLAP),))
    assert noted(LoginState(name, None)) == moved
    assert noted(LoginState(name, None)) == moved


def test_a_closed_half_that_is_opened_for_another_secret_leaves_the_one_of_before_to_be_deleted_now():
    """It holds nothing that the half will log in with: there is no overlap to wait for."""
    roles = {**roles_in_sync(MOVED), APP_B: Role(APP_B, login=False, comment=note(APP))}
    steps = role_steps(MOVED, MARKER, {"app": LoginState(None, APP_B)}, roles, now=NOW, overlap=OVERLAP)
    noted = [step.comment for step in steps if isinstance(step, NoteOnLogin) and step.name == APP_B]
    assert noted == [note(MOVED.logins[0], left=[LeftSecret("orders-app", NOW)])]


# Accesses that change


READS = replace(ONLY_APP, logins=(replace(APP, access=Access.READ_ONLY, works_as=RO),))


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        pytest.param(LoginState(APP_A, None), [APP_A], id="in use"),
        pytest.param(LoginState(APP_A, APP_B), [APP_A], id="the other one about to take over"),
        pytest.param(LoginState(None, APP_B), [APP_A], id="its Secret is lost"),
        pytest.param(LoginState(None, APP_A), [], id="it gets a new password itself"),
    ],
)
def test_who_logs_in_keeps_the_access_of_before(state, kept):
    roles = {
        APP_A: Role(APP_A, login=True, comment=note(APP)),
        APP_B: Role(APP_B, login=APP_B in (state.active, state.pending), comment=note(APP)),
    }
    found = earlier_access(READS, {"app": state}, roles)
    assert found == dict.fromkeys(kept, Access.READ_WRITE)
    halves = dict(replace(READS, earlier=found).halves())
    assert {half for half, login in halves.items() if login.works_as != RO} == set(kept)


def test_a_half_that_was_the_owners_stays_so_also_where_overrides_come_with_the_new_access():
    group = NAMES.own_group("app")
    wanted = replace(READS, logins=(replace(READS.logins[0], works_as=group, overrides={}),))
    for access, expected in ((Access.OWNER, OWNER), (Access.READ_WRITE, group)):
        halves = dict(replace(wanted, earlier={APP_A: access}).halves())
        assert (halves[APP_A].works_as, halves[APP_B].works_as) == (expected, group)


@pytest.mark.parametrize("access", [None, "", "ReadOnly", "Everything"])
def test_an_access_that_is_the_same_or_not_known_is_not_kept(access):
    comment = RoleNote(OWNER, "app", "orders-app", access=access).comment()
    roles = {APP_A: Role(APP_A, login=True, comment=comment)}
    assert earlier_access(READS, {"app": LoginState(APP_A, None)}, roles) == {}


def test_a_fixed_login_changes_its_access_in_place():
    fixed = replace(READS, logins=(replace(READS.logins[0], halves=FIXED.halves),))
    roles = {"orders_user": Role("orders_user", login=True, comment=note(FIXED))}
    assert earlier_access(fixed, {"app": LoginState("orders_user", None)}, roles) == {}


def test_a_half_that_was_closed_is_made_ready_for_its_next_turn():
    roles = {**roles_in_sync(READS, active=[APP_B]), APP_A: replace(roles_in_sync()[APP_A], login=False)}
    state = {"app": LoginState(APP_B, None)}
    assert earlier_access(READS, state, roles) == {}
    steps = list(role_steps(READS, MARKER, state, roles, now=NOW, overlap=OVERLAP))
    assert [(type(step), getattr(step, "name", "")) for step in steps] == [(NoteOnLogin, APP_A)]
    assert not [step for step in steps if isinstance(step, CloseLogin)]


def comments(wanted: Wanted, states: Mapping[str, LoginState], roles: Mapping[str, Role]) -> dict[str, RoleNote | None]:
    steps = role_steps(wanted, MARKER, states, roles, now=NOW, overlap=OVERLAP)
    return {step.name: RoleNote.read(step.comment) for step in steps if isinstance(step, NoteOnLogin)}


def test_a_secret_is_named_before_it_is_made():
    found = comments(MOVED, {"app": LoginState(None, None)}, roles_in_sync(ONLY_APP))
    assert {name: note.secrets for name, note in found.items() if note is not None} == dict.fromkeys(
        (APP_A, APP_B), (APP.secret_name, "new")
    )


def test_a_secret_of_which_nothing_came_goes_at_once():
    awaiting = RoleNote(OWNER, "app", APP.secret_name, access=APP.access, awaited=("never",)).comment()
    roles = with_roles(replace(roles_in_sync(ONLY_APP)[APP_A], comment=awaiting))
    assert going(roles) == [DeleteSecret(DELETED, "app", "never"), NoteOnLogin(NOTED, APP_A, note(APP))]


def test_an_awaited_secret_that_is_in_use_is_awaited_no_longer():
    awaiting = RoleNote(OWNER, "app", APP.secret_name, access=APP.access, awaited=("new",)).comment()
    roles = with_roles(*(replace(roles_in_sync(ONLY_APP)[half], comment=awaiting) for half in (APP_A, APP_B)))
    found = comments(MOVED, {"app": LoginState(APP_B, None)}, roles)
    assert [note.awaited for note in found.values() if note is not None] == [(), ()]
    assert not [
        step for step in going(roles, MOVED, {"app": LoginState(APP_B, None)}) if isinstance(step, DeleteSecret)
    ]


def test_after_a_release_the_secret_is_named_again_before_it_is_made():
    released = RoleNote(OWNER, "app", access=APP.access).comment()
    closed = (replace(roles_in_sync(ONLY_APP)[half], login=False, comment=released) for half in (APP_A, APP_B))
    found = comments(ONLY_APP, {"app": LoginState(None, None)}, with_roles(*closed))
    assert [note.secret for note in found.values() if note is not None] == [APP.secret_name] * 2
