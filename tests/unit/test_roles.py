"""Roles: made from nothing, repaired one attribute at a time, and let in only while somebody needs them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.plan.credentials import LoginState
from servicedb.plan.leaving import leaving, next_retirement
from servicedb.plan.marker import RoleNote
from servicedb.plan.observed import Role
from servicedb.plan.roles import role_steps
from servicedb.plan.steps import (
    AlterRole,
    CloseLogin,
    CommentOnRole,
    CreateRole,
    NoteOnLogin,
    OpenLogin,
    RoleStep,
    SetPassword,
)
from servicedb.plan.wanted import Wanted

from tests.unit.given import (
    APP,
    APP_A,
    APP_B,
    MARKER,
    MIGRATOR,
    MIGRATOR_A,
    MIGRATOR_B,
    NOW,
    ONLY_APP,
    ONLY_FIXED,
    OVERLAP,
    OWNER,
    READER,
    RO,
    RW,
    WANTED,
    note,
    roles_in_sync,
    scan,
)
from tests.unit.simulated import Simulated

IN_USE = {login.role: LoginState(login.halves[0], None) for login in WANTED.logins}
NOBODY: dict[str, LoginState] = {}
PAST, LATER = NOW - timedelta(minutes=1), NOW + timedelta(minutes=1)


def steps(
    roles: Mapping[str, Role],
    states: Mapping[str, LoginState] = IN_USE,
    *,
    wanted: Wanted = WANTED,
    now: datetime = NOW,
    overlap: timedelta = OVERLAP,
) -> list[RoleStep]:
    return list(role_steps(wanted, MARKER, states, roles, now=now, overlap=overlap))


def changed(roles: Mapping[str, Role], name: str, **changes: object) -> dict[str, Role]:
    return {**roles, name: replace(roles[name], **changes)}  # type: ignore[arg-type]


def app_halves(*, a: str | None, b: str | None, a_logs_in: bool, b_logs_in: bool) -> dict[str, Role]:
    """The roles of a database with the app alone; `a` and `b` are the halves' comments, None as they should be."""
    roles = roles_in_sync(ONLY_APP, active=[])
    for half, comment, login in ((APP_A, a, a_logs_in), (APP_B, b, b_logs_in)):
        roles = changed(roles, half, login=login, comment=comment or note(APP))
    return roles


def test_from_nothing_every_role_is_made_and_only_what_has_a_password_logs_in():
    found = steps({}, {"app": LoginState(None, APP_A), "migrator": LoginState(None, MIGRATOR_A)})
    app, migrator, reader = note(APP), note(MIGRATOR), note(READER)
    assert found == [
        CreateRole("missing", OWNER, False, True, -1, MARKER.comment()),
        CreateRole("missing", RW, False, True, -1, RoleNote(OWNER, "rw", granted=True).comment()),
        CreateRole("missing", RO, False, True, -1, RoleNote(OWNER, "ro", granted=True).comment()),
        CreateRole("missing", APP_A, True, True, 20, app),
        CreateRole("missing", APP_B, False, True, 20, app),
        SetPassword("its Secret holds a pending password", "app", APP_A),
        CreateRole("missing", MIGRATOR_A, True, False, -1, migrator),
        CreateRole("missing", MIGRATOR_B, False, False, -1, migrator),
        SetPassword("its Secret holds a pending password", "migrator", MIGRATOR_A),
        CreateRole("missing", "orders__readonly_a", False, True, -1, reader),
        CreateRole("missing", "orders__readonly_b", False, True, -1, reader),
    ]


def test_nothing_is_done_to_roles_that_are_as_they_should_be():
    assert steps(roles_in_sync()) == []


@pytest.mark.parametrize(
    ("name", "changes", "option"),
    [
        pytest.param(APP_A, {"login": False}, "LOGIN", id="the half in use can't log in"),
        pytest.param(OWNER, {"login": True}, "NOLOGIN", id="the owner can log in"),
        pytest.param(RW, {"login": True}, "NOLOGIN", id="a group can log in"),
        pytest.param(APP_A, {"inherit": False}, "INHERIT", id="the app does not inherit"),
        pytest.param(MIGRATOR_A, {"inherit": True}, "NOINHERIT", id="the migrator inherits"),
        pytest.param(APP_A, {"connection_limit": -1}, "CONNECTION LIMIT 20", id="no limit"),
        pytest.param(MIGRATOR_B, {"connection_limit": 3}, "CONNECTION LIMIT -1", id="a limit"),
        pytest.param(OWNER, {"superuser": True}, "NOSUPERUSER", id="superuser"),
        pytest.param(APP_B, {"createdb": True}, "NOCREATEDB", id="createdb"),
        pytest.param(RO, {"createrole": True}, "NOCREATEROLE", id="createrole"),
        pytest.param(APP_A, {"replication": True}, "NOREPLICATION", id="replication"),
        pytest.param(MIGRATOR_A, {"bypassrls": True}, "NOBYPASSRLS", id="bypassrls"),
        pytest.param(APP_A, {"valid_until": "2020-01-01 00:00:00+00"}, "VALID UNTIL infinity", id="expired"),
    ],
)
def test_an_attribute_that_differs_is_repaired_alone(name, changes, option):
    assert steps(changed(roles_in_sync(), name, **changes)) == [AlterRole("its attributes differ", name, (option,))]


def test_attributes_of_one_role_are_repaired_in_one_statement():
    roles = changed(roles_in_sync(), APP_A, login=False, superuser=True, connection_limit=1)
    assert steps(roles) == [AlterRole("its attributes differ", APP_A, ("LOGIN", "CONNECTION LIMIT 20", "NOSUPERUSER"))]


@pytest.mark.parametrize(
    ("name", "comment"),
    [
        pytest.param(OWNER, MARKER.comment(), id="marker"),
        pytest.param(RW, RoleNote(OWNER, "rw", granted=True).comment(), id="group"),
        pytest.param(APP_A, note(APP), id="login"),
    ],
)
@pytest.mark.parametrize("there", [None, "", "by hand", '{"servicedb":1,"owner":"x__owner","role":"rw"}'])
def test_a_comment_that_differs_is_repaired(name, comment, there):
    expected = [CommentOnRole("its comment differs", name, comment)]
    assert steps(changed(roles_in_sync(), name, comment=there)) == expected


@pytest.mark.parametrize("granted", [True, False])
def test_the_note_of_first_grants_stays_as_it_is(granted):
    comment = RoleNote(OWNER, "rw", granted=granted).comment()
    assert steps(changed(roles_in_sync(), RW, comment=comment)) == []


def test_a_group_that_is_made_when_the_database_is_there_has_its_first_grants_yet_to_come():
    roles = {name: role for name, role in roles_in_sync().items() if name != RW}
    opened = list(role_steps(WANTED, MARKER.with_oid(16_400), {}, roles, now=NOW, overlap=OVERLAP))
    assert CreateRole("missing", RW, False, True, -1, RoleNote(OWNER, "rw").comment()) in opened


COURSE = "its Secret, its access or its time to leave differs"
HOUR_FROM_NOW = note(APP, retire_at=NOW + OVERLAP)


@pytest.mark.parametrize(
    ("state", "roles", "expected"),
    [
        pytest.param(
            LoginState(APP_A, None),
            app_halves(a=None, b=None, a_logs_in=True, b_logs_in=False),
            [],
            id="a in use",
        ),
        pytest.param(
            LoginState(APP_B, None),
            app_halves(a=None, b=None, a_logs_in=True, b_logs_in=True),
            [NoteOnLogin(COURSE, APP_A, HOUR_FROM_NOW)],
            id="moved to b: the overlap of a begins",
        ),
        pytest.param(
            LoginState(APP_B, None),
            app_halves(a=note(APP, retire_at=LATER), b=None, a_logs_in=True, b_logs_in=True),
            [],
            id="in the overlap a still logs in",
        ),
        pytest.param(
            LoginState(APP_B, None),
            app_halves(a=note(APP, retire_at=NOW), b=None, a_logs_in=True, b_logs_in=True),
            [CloseLogin("its overlap is over", APP_A), NoteOnLogin(COURSE, APP_A, note(APP))],
            id="the overlap ends at its very second",
        ),
        pytest.param(
            LoginState(APP_B, None),
            app_halves(a=None, b=None, a_logs_in=False, b_logs_in=True),
            [],
            id="a has left",
        ),
        pytest.param(
            LoginState(APP_B, None),
            app_halves(a=note(APP, retire_at=LATER), b=None, a_logs_in=False, b_logs_in=True),
            [NoteOnLogin(COURSE, APP_A, note(APP))],
            id="a was closed by hand in its overlap",
        ),
        pytest.param(
            LoginState(APP_A, APP_B),
            app_halves(a=None, b=None, a_logs_in=True, b_logs_in=False),
            [OpenLogin("it is about to get a password", APP_B),
             SetPassword("its Secret holds a pending password", "app", APP_B)],
            id="b about to take over: both log in",
        ),
        pytest.param(
            LoginState(APP_B, APP_A),
            app_halves(a=note(APP, retire_at=LATER), b=None, a_logs_in=True, b_logs_in=True),
            [NoteOnLogin(COURSE, APP_A, note(APP)),
             SetPassword("its Secret holds a pending password", "app", APP_A)],
            id="a comes back in its overlap",
        ),
        pytest.param(
            LoginState(None, APP_B),
            app_halves(a=None, b=None, a_logs_in=True, b_logs_in=True),
            [SetPassword("its Secret holds a pending password", "app", APP_B)],
            id="Secret lost: a stays until b is in use",
        ),
        pytest.param(
            LoginState(None, APP_B),
            app_halves(a=note(APP, retire_at=PAST), b=None, a_logs_in=True, b_logs_in=True),
            [SetPassword("its Secret holds a pending password", "app", APP_B)],
            id="Secret lost: even one whose time has come stays until b is in use",
        ),
        pytest.param(
            LoginState(None, None),
            app_halves(a=None, b=None, a_logs_in=True, b_logs_in=False),
            [],
            id="Secret lost, nothing prepared yet",
        ),
    ],
)  # fmt: skip
def test_who_may_log_in(state, roles, expected):
    assert steps(roles, {"app": state}, wanted=ONLY_APP) == expected


def test_without_an_overlap_the_old_half_leaves_at_once():
    roles = app_halves(a=None, b=None, a_logs_in=True, b_logs_in=True)
    found = steps(roles, {"app": LoginState(APP_B, None)}, wanted=ONLY_APP, overlap=timedelta(0))
    assert found == [CloseLogin("its overlap is over", APP_A)]


def test_a_fixed_login_gets_its_next_password_in_place():
    roles = roles_in_sync(ONLY_FIXED)
    found = steps(roles, {"app": LoginState("orders_user", "orders_user")}, wanted=ONLY_FIXED)
    assert found == [SetPassword("its Secret holds a pending password", "app", "orders_user")]


TO_FIXED: dict[str, Role] = {**roles_in_sync(ONLY_APP), **roles_in_sync(ONLY_FIXED)}
"""The app has got a fixed login name; the halves of before are still there."""


def test_a_login_that_left_the_spec_is_given_its_overlap_then_loses_login():
    server = Simulated(scan(TO_FIXED.values()))
    state = {"app": LoginState("orders_user", None)}
    first = steps(server.roles, state, wanted=ONLY_FIXED)
    assert first == [NoteOnLogin("no longer in the spec: its time to leave is noted", APP_A, HOUR_FROM_NOW)]
    server.apply_all(first)
    assert next_retirement(ONLY_FIXED, server.roles, after=NOW) == NOW + OVERLAP
    assert steps(server.roles, state, wanted=ONLY_FIXED, now=NOW + OVERLAP - timedelta(seconds=1)) == []
    last = steps(server.roles, state, wanted=ONLY_FIXED, now=NOW + OVERLAP)
    assert last == [CloseLogin("no longer in the spec", APP_A)]
    server.apply_all(last)
    assert steps(server.roles, state, wanted=ONLY_FIXED, now=NOW + OVERLAP) == []
    assert next_retirement(ONLY_FIXED, server.roles, after=NOW) is None


@pytest.mark.parametrize("state", [LoginState(None, None), LoginState(None, "orders_user")])
@pytest.mark.parametrize("retire_at", [pytest.param(None, id="not noted"), pytest.param(PAST, id="noted, passed")])
def test_a_login_that_left_the_spec_stays_until_the_one_in_its_place_is_in_use(state, retire_at):
    roles = changed(TO_FIXED, APP_A, comment=note(APP, retire_at=retire_at))
    changes = [step for step in steps(roles, {"app": state}, wanted=ONLY_FIXED) if not isinstance(step, SetPassword)]
    assert not [step for step in changes if getattr(step, "name", None) == APP_A]


def test_a_login_whose_role_left_the_spec_leaves_whatever_becomes_of_the_others():
    roles = roles_in_sync()
    found = steps(roles, {"app": LoginState(None, APP_A)}, wanted=ONLY_APP)
    reason = "no longer in the spec: its time to leave is noted"
    assert [step for step in found if not isinstance(step, SetPassword)] == [
        NoteOnLogin(reason, MIGRATOR_A, note(MIGRATOR, retire_at=NOW + OVERLAP)),
        NoteOnLogin(reason, "orders__readonly_a", note(READER, retire_at=NOW + OVERLAP)),
    ]


@pytest.mark.parametrize(
    "comment",
    [None, "by hand", note(APP, owner="invoices__owner"), MARKER.comment()],
    ids=["no comment", "prose", "another database's", "a marker"],
)
def test_a_login_without_our_note_is_left_alone(comment):
    stranger = Role("orders_reporting", login=True, comment=comment)
    roles = {**roles_in_sync(), stranger.name: stranger}
    assert steps(roles) == []
    assert leaving(WANTED, roles) == {}


def test_those_that_leave_are_known_with_their_notes():
    noted = RoleNote(OWNER, "app", "orders-app", access="ReadWrite")
    assert leaving(ONLY_FIXED, TO_FIXED) == {APP_A: noted, APP_B: noted}
    assert leaving(WANTED, TO_FIXED) == {"orders_user": noted}


def test_what_was_due_and_still_waits_is_not_looked_at_again_at_once():
    roles = changed(roles_in_sync(active=[APP_A]), APP_A, comment=note(APP, retire_at=NOW))
    assert next_retirement(WANTED, roles, after=NOW) is None
    assert next_retirement(WANTED, roles, after=PAST) == NOW


def test_the_next_retirement_is_the_earliest_of_this_database():
    roles = roles_in_sync(active=[APP_A, APP_B, MIGRATOR_A])
    roles = changed(roles, APP_A, comment=note(APP, retire_at=NOW + timedelta(hours=2)))
    roles = changed(roles, APP_B, comment=note(APP, retire_at=NOW + timedelta(hours=3)))
    roles = changed(roles, MIGRATOR_B, comment=note(MIGRATOR, retire_at=NOW))
    other = Role("x__app_a", login=True, comment=note(APP, retire_at=PAST, owner="x__owner"))
    assert next_retirement(WANTED, {**roles, other.name: other}, after=NOW) == NOW + timedelta(hours=2)
    assert next_retirement(WANTED, roles_in_sync(), after=NOW) is None


COMMENTS = [
    None,
    "by hand",
    MARKER.comment(),
    *(note(login, retire_at=time) for login in (APP, MIGRATOR, READER) for time in (None, PAST, LATER)),
    note(APP, owner="invoices__owner"),
]
NAMES = [*WANTED.role_names, "orders_user", "stranger"]
ROLE = st.builds(
    Role,
    st.just(""),
    st.booleans(),
    st.booleans(),
    superuser=st.booleans(),
    createdb=st.booleans(),
    createrole=st.booleans(),
    replication=st.booleans(),
    bypassrls=st.booleans(),
    connection_limit=st.sampled_from([-1, 0, 20]),
    comment=st.sampled_from(COMMENTS),
)
TABLES = st.dictionaries(st.sampled_from(NAMES), ROLE).map(
    lambda roles: {name: replace(role, name=name) for name, role in roles.items()}
)


@st.composite
def states_of(draw: st.DrawFn, wanted: Wanted) -> dict[str, LoginState]:
    return {
        login.role: LoginState(
            draw(st.sampled_from([None, *login.halves])), draw(st.sampled_from([None, *login.halves]))
        )
        for login in wanted.logins
    }


@st.composite
def situations(draw: st.DrawFn) -> tuple[Wanted, dict[str, Role], dict[str, LoginState]]:
    wanted = draw(st.sampled_from([WANTED, ONLY_APP, ONLY_FIXED]))
    return wanted, draw(TABLES), draw(states_of(wanted))


def without_passwords(found: list[RoleStep]) -> list[RoleStep]:
    """A pending password is set in every round until the Secret says that it is in use."""
    return [step for step in found if not isinstance(step, SetPassword)]


@given(situations(), st.sampled_from([timedelta(seconds=1), OVERLAP]))
def test_applying_the_steps_ends_the_work(situation, overlap):
    wanted, roles, states = situation
    server = Simulated(scan(roles.values()))
    server.apply_all(without_passwords(steps(roles, states, wanted=wanted, overlap=overlap)))
    assert without_passwords(steps(server.roles, states, wanted=wanted, overlap=overlap)) == []
    assert set(wanted.role_names) <= set(server.roles)


@given(situations())
def test_whoever_is_in_use_or_about_to_be_logs_in(situation):
    wanted, roles, states = situation
    server = Simulated(scan(roles.values()))
    server.apply_all(without_passwords(steps(roles, states, wanted=wanted)))
    for state in states.values():
        assert all(server.roles[half].login for half in (state.active, state.pending) if half is not None)


@given(situations())
def test_when_every_overlap_is_over_only_those_in_use_log_in(situation):
    wanted, roles, states = situation
    states = {login.role: LoginState(states[login.role].active or login.halves[0], None) for login in wanted.logins}
    server = Simulated(scan(roles.values()))
    for now in (NOW, NOW + OVERLAP, NOW + OVERLAP):
        server.apply_all(steps(server.roles, states, wanted=wanted, now=now))
    may = {state.active for state in states.values()}
    ours = {name for name, role in server.roles.items() if (n := RoleNote.read(role.comment)) and n.owner == OWNER}
    assert {name for name in ours | set(wanted.role_names) if server.roles[name].login} == may
    assert steps(server.roles, states, wanted=wanted, now=NOW + OVERLAP) == []


@given(TABLES)
def test_roles_that_are_not_ours_are_never_touched(roles):
    ours = set(WANTED.role_names) | {
        name for name, role in roles.items() if (n := RoleNote.read(role.comment)) and n.owner == OWNER
    }
    touched = {step.half if isinstance(step, SetPassword) else getattr(step, "name", "") for step in steps(roles)}
    assert touched <= ours
