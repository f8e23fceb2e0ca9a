"""Credentials: which half gets the next password, and that none that works is lost on the way there."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from servicedb.errors import Terminal
from servicedb.plan.credentials import LoginState, SeenSecret, login_state, secret_steps
from servicedb.plan.observed import Role
from servicedb.plan.roles import role_steps
from servicedb.plan.steps import PrepareSecret, RoleStep, SetPassword
from servicedb.plan.wanted import Login, Wanted

from tests.unit.given import (
    APP,
    APP_A,
    APP_B,
    FIXED,
    MARKER,
    NOW,
    ONLY_APP,
    ONLY_FIXED,
    OVERLAP,
    WANTED,
    note,
    roles_in_sync,
    scan,
)
from tests.unit.simulated import Simulated

NO_PASSWORD, NOT_ACCEPTED = "no password yet, or its Secret was lost", "the server no longer accepts its password"


def secret(
    username: str | None = None,
    password: str | None = "pw",
    *,
    pending: str | None = None,
    pending_password: str | None = "next",
    ours: bool = True,
) -> SeenSecret:
    return SeenSecret(
        ours,
        "uid/1",
        username,
        SecretStr(password) if password is not None and username is not None else None,
        pending,
        SecretStr(pending_password) if pending_password is not None and pending is not None else None,
    )


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        pytest.param(None, LoginState(None, None), id="no Secret"),
        pytest.param(secret(), LoginState(None, None), id="empty"),
        pytest.param(secret(APP_A), LoginState(APP_A, None), id="in use"),
        pytest.param(secret(pending=APP_B), LoginState(None, APP_B), id="pending"),
        pytest.param(secret(APP_A, pending=APP_B), LoginState(APP_A, APP_B), id="both"),
        pytest.param(secret("orders__migrator_a"), LoginState(None, None), id="another login's"),
        pytest.param(secret("orders__owner", pending="orders__owner"), LoginState(None, None), id="the owner"),
        pytest.param(secret("postgres", pending="postgres"), LoginState(None, None), id="a stranger"),
        pytest.param(secret(APP_A, ""), LoginState(None, None), id="empty password"),
        pytest.param(secret(APP_A, None), LoginState(None, None), id="no password"),
        pytest.param(secret(APP_A, "a\0b"), LoginState(None, None), id="a password that no server takes"),
        pytest.param(secret(APP_A, pending=APP_B, pending_password="\0"), LoginState(APP_A, None), id="pending, alike"),
        pytest.param(secret(pending=APP_A, pending_password=""), LoginState(None, None), id="empty pending password"),
        pytest.param(secret(pending=APP_A, pending_password=None), LoginState(None, None), id="no pending password"),
    ],
)
def test_a_secret_says_which_half_is_in_use_and_which_is_next(seen, state):
    assert login_state(APP, seen) == state


def halves(*, a: bool, b: bool, a_leaves: bool = False, b_leaves: bool = False) -> dict[str, Role]:
    """The app's halves, whether each logs in, and whether each has a time noted at which it leaves."""
    time = NOW + OVERLAP
    return {
        APP_A: Role(APP_A, login=a, comment=note(APP, retire_at=time if a_leaves else None)),
        APP_B: Role(APP_B, login=b, comment=note(APP, retire_at=time if b_leaves else None)),
    }


@pytest.mark.parametrize(
    ("seen", "roles", "refused", "half"),
    [
        pytest.param(None, {}, False, APP_A, id="from nothing"),
        pytest.param(secret(APP_A), halves(a=True, b=False), False, None, id="in use"),
        pytest.param(secret(pending=APP_B), halves(a=True, b=False), False, None, id="pending is gone on with"),
        pytest.param(None, halves(a=True, b=False), False, APP_B, id="lost while a is in use"),
        pytest.param(None, halves(a=False, b=True), False, APP_A, id="lost while b is in use"),
        pytest.param(None, halves(a=True, b=True, a_leaves=True), False, APP_A, id="lost in the overlap of a"),
        pytest.param(None, halves(a=True, b=True, b_leaves=True), False, APP_B, id="lost in the overlap of b"),
        pytest.param(None, halves(a=True, b=True), False, APP_A, id="lost while both log in"),
        pytest.param(None, {APP_A: halves(a=True, b=True)[APP_A]}, False, APP_B, id="lost, b was dropped by hand"),
        pytest.param(secret("postgres"), halves(a=True, b=False), False, APP_B, id="edited to a stranger's name"),
        pytest.param(secret(APP_A, ""), halves(a=True, b=False), False, APP_B, id="edited to no password"),
        pytest.param(secret(APP_B), halves(a=True, b=True), True, APP_B, id="refused: in place"),
    ],
)
def test_the_half_that_nobody_uses_gets_the_next_password(seen, roles, refused, half):
    steps = secret_steps(ONLY_APP, {"app": seen}, roles, refused=frozenset({"app"} if refused else ()))
    reason = NOT_ACCEPTED if refused else NO_PASSWORD
    assert steps == ([PrepareSecret(reason, "app", half, repairs=refused)] if half is not None else [])


def test_a_pending_password_that_is_refused_is_replaced_on_the_same_half():
    steps = secret_steps(
        ONLY_APP, {"app": secret(APP_A, pending=APP_B)}, halves(a=True, b=True), refused=frozenset({"app"})
    )
    assert steps == [PrepareSecret("the server does not accept its pending password", "app", APP_B, repairs=True)]


@pytest.mark.parametrize("there", [{}, {"orders_user": Role("orders_user", login=True, comment=note(FIXED))}])
def test_a_fixed_login_has_no_other_half(there):
    assert secret_steps(ONLY_FIXED, {}, there) == [PrepareSecret(NO_PASSWORD, "app", "orders_user")]


def test_each_login_has_a_secret_of_its_own():
    roles = roles_in_sync()
    secrets = {"app": secret(APP_A), "readonly": secret(APP_A)}
    assert secret_steps(WANTED, secrets, roles) == [
        PrepareSecret(NO_PASSWORD, "migrator", "orders__migrator_b"),
        PrepareSecret(NO_PASSWORD, "readonly", "orders__readonly_b"),
    ]


@pytest.mark.parametrize("seen", [secret(ours=False), secret(APP_A, ours=False), secret(pending=APP_A, ours=False)])
def test_a_secret_that_is_not_ours_is_a_conflict(seen):
    with pytest.raises(Terminal, match='Secret "orders-app" in namespace "shop" exists') as raised:
        secret_steps(ONLY_APP, {"app": seen}, {})
    assert raised.value.reason == "SecretConflict"
    assert raised.value.condition == "CredentialsReady"


class Killed(Exception):
    """The operator's process ended before this write."""


@dataclass(slots=True)
class Site:
    """The app's Secret, and its roles with their passwords, brought on as a reconcile does: one write at a time."""

    wanted: Wanted = ONLY_APP
    secret: SeenSecret | None = None
    server: Simulated = field(default_factory=lambda: Simulated(scan()))
    passwords: dict[str, str] = field(default_factory=dict)
    now: datetime = NOW
    writes_left: int = 0
    writes: int = 0
    refused: bool = False
    prepared: int = 0

    @property
    def login(self) -> Login:
        return self.wanted.logins[0]

    @property
    def state(self) -> LoginState:
        return login_state(self.login, self.secret)

    def works(self, username: str | None, password: SecretStr | None) -> bool:
        role = self.server.roles.get(username or "")
        if role is None or password is None:
            return False
        return role.login and self.passwords.get(role.name) == password.get_secret_value()

    def secret_works(self) -> bool:
        return self.secret is not None and self.works(self.secret.username, self.secret.password)

    def reconcile(self, *, killed_after: int = 1000) -> int:
        """One round, killed after so many writes; returns how many it made."""
        self.writes, self.writes_left, self.refused = 0, killed_after, False
        with suppress(Killed):
            for _ in range(2):  # the second time for what the proof has shown
                self._prepare()
                self._change_roles()
                self._prove_and_activate()
            self._change_roles()
        return self.writes

    def _prepare(self) -> None:
        refused = frozenset({self.login.role} if self.refused else ())
        for step in secret_steps(self.wanted, {self.login.role: self.secret}, self.server.roles, refused=refused):
            password = SecretStr(f"password {self.prepared}")
            self.prepared += 1
            there = self.secret if self.secret is not None else secret()
            prepared = replace(there, pending_username=step.half, pending_password=password)
            self._write(partial(setattr, self, "secret", prepared))

    def _change_roles(self) -> None:
        states = {self.login.role: self.state}
        steps = list(role_steps(self.wanted, MARKER, states, self.server.roles, now=self.now, overlap=OVERLAP))
        if steps:
            self._write(partial(self._apply, steps))

    def _apply(self, steps: list[RoleStep]) -> None:
        for step in steps:
            if isinstance(step, SetPassword):
                assert self.secret is not None
                assert self.secret.pending_password is not None
                self.passwords[step.half] = self.secret.pending_password.get_secret_value()
            else:
                self.server.apply(step)

    def _prove_and_activate(self) -> None:
        state, there = self.state, self.secret
        if state.pending is None:
            self.refused = state.active is not None and not self.secret_works()
        elif there is not None and self.works(state.pending, there.pending_password):
            active = replace(secret(state.pending), password=there.pending_password)
            self._write(partial(setattr, self, "secret", active))

    def _write(self, change: Callable[[], None]) -> None:
        """What an application read from the Secret a moment ago, and what it reads now, both log in afterwards."""
        if self.writes_left == 0:
            raise Killed
        self.writes_left -= 1
        self.writes += 1
        worked = self.secret if self.secret_works() else None
        change()
        if worked is not None:
            assert self.works(worked.username, worked.password), "a password in use was lost"
            assert self.secret_works(), "the Secret names what does not log in"


def started(wanted: Wanted = ONLY_APP) -> Site:
    site = Site(wanted)
    site.reconcile()
    return site


def test_from_nothing_to_a_password_that_works():
    site = Site()
    assert site.reconcile() == 3
    assert site.state == LoginState(APP_A, None)
    assert site.secret_works()
    assert site.reconcile() == 0


@pytest.mark.parametrize("wanted", [ONLY_APP, ONLY_FIXED], ids=["pair", "fixed"])
@pytest.mark.parametrize("killed_after", range(4))
def test_a_killed_round_is_gone_on_with(wanted, killed_after):
    site = Site(wanted)
    site.reconcile(killed_after=killed_after)
    pending = site.secret.pending_password if site.secret is not None else None
    site.reconcile()
    assert site.secret_works()
    assert site.secret is not None
    assert pending is None or site.secret.password == pending


def test_a_lost_secret_moves_to_the_other_half_and_those_who_hold_the_old_one_keep_it_for_the_overlap():
    site = started()
    assert site.secret is not None
    old = site.secret
    site.secret = None
    site.reconcile()
    assert site.state == LoginState(APP_B, None)
    assert site.works(old.username, old.password)
    site.now += OVERLAP
    site.reconcile()
    assert not site.works(old.username, old.password)
    assert site.secret_works()


def test_a_password_changed_on_the_server_is_replaced_in_place():
    site = started()
    site.passwords[APP_A] = "by hand"
    site.reconcile()
    assert site.state == LoginState(APP_A, None)
    assert site.secret_works()


@pytest.mark.parametrize(
    ("before", "after"),
    [pytest.param(ONLY_APP, ONLY_FIXED, id="to fixed"), pytest.param(ONLY_FIXED, ONLY_APP, id="to a pair")],
)
def test_another_login_name_takes_over_however_long_its_proof_takes(before, after):
    site = started(before)
    site.wanted = after
    for _ in range(3):
        site.reconcile(killed_after=2)  # prepared, the password given, never proved
        site.now += 2 * OVERLAP
        assert site.secret_works()
    site.reconcile()
    assert site.secret_works()
    assert site.state.active in after.logins[0].halves


def kill(site: Site, after: int) -> None:
    site.reconcile(killed_after=after)


def lose_secret(site: Site) -> None:
    site.secret = None


def edit_secret(site: Site) -> None:
    if site.secret is not None and site.secret.password is not None:
        site.secret = replace(site.secret, password=SecretStr("edited"))


def edit_username(site: Site) -> None:
    if site.secret is not None:
        site.secret = replace(site.secret, username="postgres")


def lose_pending(site: Site) -> None:
    if site.secret is not None:
        site.secret = replace(site.secret, pending_username=None, pending_password=None)


def change_passwords(site: Site) -> None:
    site.passwords = dict.fromkeys(site.passwords, "by hand")


def close_logins(site: Site) -> None:
    site.server.roles = {name: replace(role, login=False) for name, role in site.server.roles.items()}


def drop_a_half(site: Site) -> None:
    site.server.roles.pop(APP_A, None)
    site.passwords.pop(APP_A, None)


def rename_login(site: Site) -> None:
    site.wanted = ONLY_FIXED if site.wanted is ONLY_APP else ONLY_APP


def wait(site: Site, time: timedelta) -> None:
    site.now += time


EVENTS: Mapping[str, Callable[[Site], None]] = {
    **{f"killed after {count}": partial(kill, after=count) for count in range(5)},
    "reconciled": partial(kill, after=1000),
    "Secret lost": lose_secret,
    "Secret edited": edit_secret,
    "username edited": edit_username,
    "pending keys removed": lose_pending,
    "passwords changed by hand": change_passwords,
    "logins closed by hand": close_logins,
    "half dropped by hand": drop_a_half,
    "other loginName": rename_login,
    "half an overlap later": partial(wait, time=OVERLAP / 2),
    "two overlaps later": partial(wait, time=2 * OVERLAP),
}


@settings(max_examples=400)
@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=12))
def test_whatever_happens_one_round_ends_with_a_password_that_works(events):
    site = Site()
    for event in events:
        EVENTS[event](site)
    site.reconcile()
    assert site.secret_works()
    assert site.state.pending is None
    assert site.state.active in site.login.halves
    site.now += OVERLAP
    site.reconcile()
    site.now += OVERLAP
    site.reconcile()
    assert [role.name for role in site.server.roles.values() if role.login] == [site.state.active]
    assert site.secret_works()
    assert site.reconcile() == 0


@given(st.integers(0, 8))
def test_a_rotation_interrupted_anywhere_never_leaves_an_application_without(prefix):
    """The Secret is lost, and lost again in the overlap, with the operator killed once in between."""
    site = started()
    lose_secret(site)
    site.reconcile(killed_after=prefix)
    site.reconcile()
    held = site.secret
    assert held is not None
    lose_secret(site)
    site.reconcile(killed_after=prefix)
    assert site.works(held.username, held.password)
