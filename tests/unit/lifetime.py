"""A database with its Secrets over time: roles come, change and go, passwords are rotated, the operator is killed.

What applications hold is kept as promises: whoever read a Secret while it was the one in the spec can log in, and work
as it did, until an overlap has passed since it no longer was.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from pydantic import SecretStr
from servicedb.plan.credentials import LoginState, SeenSecret, login_state, overtaken_by, secret_steps, secrets_before
from servicedb.plan.database import current_marker, database_steps
from servicedb.plan.leaving import departure_steps, leaving, next_retirement
from servicedb.plan.memberships import membership_steps, wanted_memberships
from servicedb.plan.observed import Role
from servicedb.plan.roles import earlier_access, role_steps
from servicedb.plan.rotation import Schedule, rotations
from servicedb.plan.steps import (
    DatabaseStep,
    DeleteSecret,
    DropRole,
    NoteOnLogin,
    OpenDatabase,
    SetPassword,
    Step,
)
from servicedb.plan.wanted import Login, Wanted

from tests.unit.given import FIXED, NOW, ONLY_APP, OVERLAP, scan
from tests.unit.simulated import Simulated


class Killed(Exception):
    """The operator's process ended before this write."""


@dataclass(slots=True)
class Promise:
    """Somebody holds this login's password and works as `works_as`; until None while a Secret of the spec says it."""

    half: str
    password: str
    works_as: str
    until: datetime | None = None


@dataclass(slots=True)
class Lifetime:
    """One object, brought on as reconcile/work.py does, one write at a time; after each all promises are kept."""

    wanted: Wanted = ONLY_APP
    schedule: Schedule = field(default_factory=Schedule)
    now: datetime = NOW
    secrets: dict[str, SeenSecret] = field(default_factory=dict)
    server: Simulated = field(default_factory=lambda: Simulated(scan()))
    passwords: dict[str, str] = field(default_factory=dict)
    promises: list[Promise] = field(default_factory=list)
    left_at: dict[str, datetime] = field(default_factory=dict)
    """When a Secret's name was last taken out of the spec."""
    steps: list[Step] = field(default_factory=list)
    made: int = 0
    writes_left: int = 0

    def change(self, wanted: Wanted) -> None:
        """Another spec. What was read from a Secret that is in it no more is to work for one more overlap."""
        names = {login.secret_name for login in wanted.logins}
        self.left_at |= {login.secret_name: self.now for login in self.wanted.logins if login.secret_name not in names}
        self.wanted = wanted
        held = {(s.username, _text(s.password)) for name, s in self.secrets.items() if name in names}
        self._let_go([promise for promise in self.promises if (promise.half, promise.password) not in held])

    def reconcile(self, *, killed_after: int = 1000) -> list[Step]:
        """One round; the steps that it took."""
        self.steps, self.writes_left = [], killed_after
        with suppress(Killed):
            self._prepare()
            for _ in range(4):
                standing = self.standing()
                if not self._change_server(standing):
                    break
                self._activate(standing)
            for step in departure_steps(self.wanted, self.states, self.server.roles, now=self.now):
                self._write(step, lambda step=step: self._depart(step))  # type: ignore[misc]
        return self.steps

    @property
    def states(self) -> dict[str, LoginState]:
        return {login.role: login_state(login, self.secrets.get(login.secret_name)) for login in self.wanted.logins}

    def standing(self) -> Wanted:
        return replace(self.wanted, earlier=earlier_access(self.wanted, self.states, self.server.roles))

    def works(self, half: str | None, password: str | None) -> bool:
        role = self.server.roles.get(half or "")
        return role is not None and role.login and password is not None and self.passwords.get(role.name) == password

    def _prepare(self) -> None:
        roles = self.server.roles
        for login in self.wanted.logins:
            there = self.secrets.get(login.secret_name)
            name = overtaken_by(login, there, roles)
            if there is not None and name is not None:
                other = self.secrets.get(name)
                if other is None or not other.holds_what_is_pending_in(there):
                    self.secrets[login.secret_name] = there.without_pending()
        seen = {login.role: self.secrets.get(login.secret_name) for login in self.wanted.logins}
        due = rotations(self.wanted, seen, roles, self.schedule, now=self.now)
        for step in secret_steps(
            self.wanted,
            seen,
            roles,
            rotate={rotation.login.role: rotation.reason for rotation in due if not rotation.waits},
            before={login.role: found for login in self.wanted.logins if (found := self._before(login, roles))},
        ):
            login = next(login for login in self.wanted.logins if login.role == step.role)
            if step.taken_from is not None:
                password = _text(self.secrets[step.taken_from].password) or ""
            else:
                self.made += 1
                password = f"password {self.made}"
                kept = [promise for promise in self.promises if promise.half != step.half or not self._holds(promise)]
                in_place = len(login.halves) == 1 or step.reason.startswith("no password")
                assert in_place or kept == self.promises, "a half in use was taken"
                self.promises = kept  # in place: what a fixed login had, or one that came back in its overlap, is gone
            there = self.secrets.get(login.secret_name, SeenSecret(True, "uid/1"))
            prepared = replace(there, pending_username=step.half, pending_password=SecretStr(password))
            self._write(step, lambda name=login.secret_name, new=prepared: self._put(name, new))  # type: ignore[misc]

    def _before(self, login: Login, roles: dict[str, Role]) -> tuple[str, SeenSecret] | None:
        if self.states[login.role] != LoginState(None, None):
            return None
        names = [name for name in secrets_before(login, roles) if name in self.secrets]
        return next(
            ((name, self.secrets[name]) for name in names if login_state(login, self.secrets[name]).active), None
        )

    def _change_server(self, wanted: Wanted) -> bool:
        seen = self.server.scan()
        roles: list[Step] = [
            *role_steps(wanted, current_marker(wanted, seen), self.states, seen.roles, now=self.now, overlap=OVERLAP),
            *membership_steps(wanted_memberships(wanted), seen.memberships, leaving=leaving(wanted, seen.roles)),
        ]
        base = list(database_steps(wanted, seen))
        if roles:
            self._write(roles[0], lambda: self._apply(roles))
        for step in base:
            if not isinstance(step, DatabaseStep | OpenDatabase):
                self._write(step, lambda step=step: self._apply([step]))  # type: ignore[misc]
        together: list[Step] = [step for step in base if isinstance(step, DatabaseStep | OpenDatabase)]
        if together:
            self._write(together[0], lambda: self._apply(together))
        return bool(roles or base)

    def _apply(self, steps: list[Step]) -> None:
        for step in steps:
            if isinstance(step, SetPassword):
                secret = next(
                    self.secrets[login.secret_name] for login in self.wanted.logins if login.role == step.role
                )
                self.passwords[step.half] = _text(secret.pending_password) or ""
            else:
                self.server.apply(step)

    def _activate(self, standing: Wanted) -> None:
        for login in self.wanted.logins:
            state, there = self.states[login.role], self.secrets.get(login.secret_name)
            if state.pending is None or there is None:
                continue
            assert self.works(state.pending, _text(there.pending_password))
            works_as = dict(standing.halves())[state.pending].works_as
            assert self._role_setting(state.pending) == works_as, "it was not given what it is to work with"
            active = SeenSecret(
                True, "uid/1", state.pending, there.pending_password, rotated_at=self.now, rotate_at=self.schedule.asked
            )
            step = SetPassword("", login.role, state.pending)
            self._write(step, lambda name=login.secret_name, new=active: self._put(name, new))  # type: ignore[misc]
            self.promises.append(Promise(state.pending, _text(there.pending_password) or "", works_as))

    def _role_setting(self, half: str) -> str | None:
        return self.server.settings.get((self.wanted.database, half), {}).get("role")

    def _put(self, name: str, secret: SeenSecret) -> None:
        """A Secret that says another password ends what was read from it, after an overlap."""
        before = self.secrets.get(name)
        self.secrets[name] = secret
        if before is not None and (before.username, before.password) != (secret.username, secret.password):
            held = (before.username, _text(before.password))
            self._let_go([promise for promise in self.promises if (promise.half, promise.password) == held])

    def _let_go(self, promises: list[Promise]) -> None:
        for promise in promises:
            promise.until = promise.until or self.now + OVERLAP

    def _depart(self, step: Step) -> None:
        match step:
            case DeleteSecret():
                secret = self.secrets.pop(step.name, None)
                assert step.name not in {login.secret_name for login in self.wanted.logins}
                if secret is not None and secret.password is not None:
                    assert self.now >= self.left_at[step.name] + OVERLAP, f"{step.name} was deleted too early"
            case DropRole():
                assert step.name not in self.wanted.role_names, "a role of the spec was dropped"
                self.server.apply(step)
                self.server.settings.pop((self.wanted.database, step.name), None)
                database = self.server.databases[self.wanted.database]
                assert step.name not in {privilege.grantee for privilege in database.privileges}
            case NoteOnLogin():
                self.server.apply(step)

    def is_settled(self) -> bool:
        """Whether nothing will be done any more, however much time passes."""
        return not self.reconcile() and next_retirement(self.wanted, self.server.roles, after=self.now) is None

    def _holds(self, promise: Promise) -> bool:
        return promise.until is None or self.now < promise.until

    def _write(self, step: Step, change: Callable[[], None]) -> None:
        if self.writes_left == 0:
            raise Killed
        self.writes_left -= 1
        self.steps.append(step)
        change()
        self.check()

    def check(self) -> None:
        """Every promise is kept, and every Secret in the spec that says a password says one that works."""
        self.promises = [promise for promise in self.promises if self._holds(promise)]
        for promise in self.promises:
            assert self.works(promise.half, promise.password), f"{promise} is broken"
            groups = {m.group for m in self.server.memberships if m.member == promise.half}
            changes_in_place = promise.half in FIXED.halves
            if groups and not changes_in_place:
                assert promise.works_as in groups, f"{promise} works as {groups}"


def _text(password: SecretStr | None) -> str | None:
    return password.get_secret_value() if password is not None else None


def after(lifetime: Lifetime, time: timedelta) -> None:
    lifetime.now += time
    lifetime.check()
