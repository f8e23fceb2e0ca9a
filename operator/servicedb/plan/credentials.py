"""Which half of each login carries the password, and when a new one is needed.

The Secret is written before the role and activated after a real login, so that at no moment the only copy of a
working password stands in memory: a kill anywhere leaves either the old one in use or a pending one to go on with.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import SecretStr

from servicedb.errors import Terminal
from servicedb.plan.marker import RoleNote
from servicedb.plan.observed import Role
from servicedb.plan.steps import PrepareSecret
from servicedb.plan.wanted import GUESTS, Login, Wanted


@dataclass(frozen=True, slots=True)
class SeenSecret:
    """A Secret as it was read. `version` (its UID and resourceVersion) tells one content from the next.

    `rotated_at` is the time of its password, `rotate_at` the value of the annotation that was handled with it.
    """

    ours: bool
    version: str
    username: str | None = None
    password: SecretStr | None = None
    pending_username: str | None = None
    pending_password: SecretStr | None = None
    rotated_at: datetime | None = None
    rotate_at: str | None = None

    def without_pending(self) -> "SeenSecret":
        return replace(self, pending_username=None, pending_password=None)

    def holds_what_is_pending_in(self, other: "SeenSecret") -> bool:
        pending = (other.pending_username, other.pending_password)
        return self.ours and (self.username, self.password) == pending


@dataclass(frozen=True, slots=True)
class LoginState:
    """Of one login: the half whose password applications read, and the half that is about to get a new one."""

    active: str | None
    pending: str | None


def login_state(login: Login, secret: SeenSecret | None) -> LoginState:
    """What the Secret says, as far as it names a half of this login."""
    if secret is None:
        return LoginState(None, None)
    active = secret.username if _usable(secret.password) and secret.username in login.halves else None
    pending = secret.pending_username if _usable(secret.pending_password) else None
    return LoginState(active, pending if pending in login.halves else None)


def _usable(password: SecretStr | None) -> bool:
    """Whether a server can be given it at all: NUL ends a string there."""
    return bool(password) and password is not None and "\0" not in password.get_secret_value()


def overtaken_by(login: Login, secret: SeenSecret | None, roles: Mapping[str, Role]) -> str | None:
    """The other Secret by whose password the half that is pending here logs in by now, by its note.

    A pending password that is not the same as there was left behind by a secretName that came back: nobody may be
    given it, since what the half has is in use.
    """
    role = roles.get(login_state(login, secret).pending or "")
    note = RoleNote.read(role.comment) if role is not None and role.login else None
    return note.secret if note is not None and note.secret != login.secret_name else None


def secret_steps(
    wanted: Wanted,
    secrets: Mapping[str, SeenSecret | None],
    roles: Mapping[str, Role],
    *,
    refused: frozenset[str] = frozenset(),
    rotate: Mapping[str, str] | None = None,
    before: Mapping[str, tuple[str, SeenSecret]] | None = None,
) -> list[PrepareSecret]:
    """A PrepareSecret for each login that needs a new password. All mappings go by the login's role.

    `refused` holds those whose password the server turned down although everything else was in order, `rotate` those
    whose password works and has to be replaced all the same, with the reason. `before` is the Secret that a login
    had until its secretName was changed, by its name.
    Raises Terminal (SecretConflict) for a Secret that is not ours.
    """
    steps = []
    for login in wanted.logins:
        secret = secrets.get(login.role)
        if secret is not None and not secret.ours:
            named_in_spec = f", or choose another secretName for spec.roles {login.role}"
            raise Terminal(
                "SecretConflict",
                f'Secret "{login.secret_name}" in namespace "{wanted.marker.namespace}" exists and was not made for '
                f"this database; delete or rename it{'' if login.role in GUESTS else named_in_spec}",
                condition="CredentialsReady",
            )
        state = login_state(login, secret)
        in_use = state.pending or state.active
        if in_use is None:
            steps.append(_first(login, roles, (before or {}).get(login.role)))
        elif login.role in refused:
            which = "does not accept its pending" if state.pending is not None else "no longer accepts its"
            steps.append(PrepareSecret(f"the server {which} password", login.role, in_use, repairs=True))
        elif state.pending is None and login.role in (rotate or {}):
            steps.append(PrepareSecret((rotate or {})[login.role], login.role, login.other_half(in_use)))
    return steps


def _first(login: Login, roles: Mapping[str, Role], before: tuple[str, SeenSecret] | None) -> PrepareSecret:
    """Where a Secret says nothing yet, a half that nobody uses gets a new password. Where all are in use, the one in
    the Secret of before keeps its own: those who read it there must not be cut off."""
    closed = [half for half in login.halves if not (half in roles and roles[half].login)]
    if closed:
        return PrepareSecret("no password yet, or its Secret was lost", login.role, closed[0])
    notes = {half: RoleNote.read(roles[half].comment) for half in login.halves}
    if before is not None and before[1].ours:
        name, secret = before
        state = login_state(login, secret)
        prepared = notes.get(state.pending or "")
        if state.active is not None and state.pending != state.active and prepared and prepared.secret == name:
            return PrepareSecret("it moves from another Secret", login.role, state.pending or "")  # not in use yet
        if state.active is not None:
            return PrepareSecret("it moves from another Secret", login.role, state.active, taken_from=name)
    on_its_way_out = [half for half, note in notes.items() if note is not None and note.retire_at]
    return PrepareSecret(
        "no password yet, or its Secret was lost", login.role, (on_its_way_out or list(login.halves))[0]
    )


def secrets_before(login: Login, roles: Mapping[str, Role]) -> list[str]:
    """The Secrets that held the password of a half of `login` which logs in, by its notes, but its present one."""
    halves = [roles[half] for half in login.halves if half in roles and roles[half].login]
    notes = [note for role in halves if (note := RoleNote.read(role.comment)) is not None]
    notes.sort(key=lambda note: note.retire_at is not None)  # the half in use first
    names = dict.fromkeys(name for note in notes for name in note.secrets)
    return [name for name in names if name != login.secret_name]
