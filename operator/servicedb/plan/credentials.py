"""Which half of each login carries the password, and when a new one is needed.

The Secret is written before the role and activated after a real login, so that at no moment the only copy of a
working password stands in memory: a kill anywhere leaves either the old one in use or a pending one to go on with.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from servicedb.errors import Terminal
from servicedb.plan.marker import RoleNote
from servicedb.plan.observed import Role
from servicedb.plan.steps import PrepareSecret
from servicedb.plan.wanted import Login, Wanted


@dataclass(frozen=True, slots=True)
class SeenSecret:
    """A Secret as it was read. `version` (its UID and resourceVersion) tells one content from the next."""

    ours: bool
    version: str
    username: str | None = None
    password: SecretStr | None = None
    pending_username: str | None = None
    pending_password: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class LoginState:
    """Of one login: the half whose password applications read, and the half that is about to get a new one."""

    active: str | None
    pending: str | None


def login_state(login: Login, secret: SeenSecret | None) -> LoginState:
    """What the Secret says, as far as it names a half of this login."""
    if secret is None:
        return LoginState(None, None)
    active = secret.username if secret.password and secret.username in login.halves else None
    pending = secret.pending_username if secret.pending_password and secret.pending_username in login.halves else None
    return LoginState(active, pending)


def secret_steps(
    wanted: Wanted,
    secrets: Mapping[str, SeenSecret | None],
    roles: Mapping[str, Role],
    *,
    refused: frozenset[str] = frozenset(),
) -> list[PrepareSecret]:
    """A PrepareSecret for each login that has no usable password. `secrets` and `refused` go by the login's role.

    `refused` holds those whose password the server turned down although everything else was in order.
    Raises Terminal (SecretConflict) for a Secret that is not ours.
    """
    steps = []
    for login in wanted.logins:
        secret = secrets.get(login.role)
        if secret is not None and not secret.ours:
            raise Terminal(
                "SecretConflict",
                f'Secret "{login.secret_name}" in namespace "{wanted.marker.namespace}" exists and was not made for '
                f"this database; delete or rename it, or choose another secretName for spec.roles {login.role}",
                condition="CredentialsReady",
            )
        state = login_state(login, secret)
        if state.pending is not None:
            continue
        if state.active is None:
            steps.append(PrepareSecret("no password yet, or its Secret was lost", login.role, _free_half(login, roles)))
        elif login.role in refused:
            steps.append(PrepareSecret("the server no longer accepts its password", login.role, state.active))
    return steps


def _free_half(login: Login, roles: Mapping[str, Role]) -> str:
    """The half that nobody may be using: one that can't log in, else one that is on its way out."""
    halves = [half for half in login.halves if not (half in roles and roles[half].login)]
    if halves:
        return halves[0]
    for half in login.halves:
        note = RoleNote.read(roles[half].comment)
        if note is not None and note.retire_at:
            return half
    return login.halves[0]
