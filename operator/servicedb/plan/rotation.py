"""Why and when a login gets a new password although the one it has works.

The Secret is the authority: it says which value of the annotation was handled and how old its password is, so a
status that was lost never rotates anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from servicedb.api.common import ROTATE_AT
from servicedb.plan.credentials import SeenSecret, login_state
from servicedb.plan.leaving import note_on
from servicedb.plan.observed import Role
from servicedb.plan.wanted import Login, Wanted


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to rotate: `asked` is the annotation's value, `every` the longest time that a password is in use."""

    asked: str | None = None
    every: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Rotation:
    """One that is due for `login`, whose half `active` is in use. `waits`: the last one's overlap is not over, and
    the other half still logs in."""

    login: Login
    active: str
    reason: str
    waits: bool


def rotations(
    wanted: Wanted,
    secrets: Mapping[str, SeenSecret | None],
    roles: Mapping[str, Role],
    schedule: Schedule,
    *,
    now: datetime,
) -> list[Rotation]:
    """Those that are due. `secrets` goes by the login's role; one whose Secret is about to change is none."""
    found = []
    for login, active, secret in _in_use(wanted, secrets):
        reason = _reason(wanted, login, active, secret, roles, schedule, now)
        if reason is not None:
            found.append(Rotation(login, active, reason, _other_logs_in(login, active, roles)))
    return found


def next_rotation(
    wanted: Wanted,
    secrets: Mapping[str, SeenSecret | None],
    roles: Mapping[str, Role],
    schedule: Schedule,
    *,
    now: datetime,
) -> datetime | None:
    """When the next one falls due by itself; one that waits comes with the end of the overlap, a retirement."""
    if any(not rotation.waits for rotation in rotations(wanted, secrets, roles, schedule, now=now)):
        return now
    if schedule.every is None:
        return None
    ages = [secret.rotated_at for _, _, secret in _in_use(wanted, secrets) if secret.rotated_at is not None]
    return min((age + schedule.every for age in ages if now < age + schedule.every), default=None)


def is_handled(wanted: Wanted, secrets: Mapping[str, SeenSecret | None], asked: str) -> bool:
    """Whether every login has been rotated since the annotation got the value `asked`."""
    return all((secret := secrets.get(login.role)) and secret.rotate_at == asked for login in wanted.logins)


def _in_use(wanted: Wanted, secrets: Mapping[str, SeenSecret | None]) -> Iterator[tuple[Login, str, SeenSecret]]:
    """Each login whose Secret says a password and is not about to say another: with the half in use."""
    for login in wanted.logins:
        secret = secrets.get(login.role)
        state = login_state(login, secret)
        if secret is not None and state.active is not None and state.pending is None:
            yield login, state.active, secret


def _reason(
    wanted: Wanted,
    login: Login,
    active: str,
    secret: SeenSecret,
    roles: Mapping[str, Role],
    schedule: Schedule,
    now: datetime,
) -> str | None:
    if schedule.asked is not None and schedule.asked != secret.rotate_at:
        return f"the annotation {ROTATE_AT} has a new value"
    if schedule.every is not None and (secret.rotated_at is None or now >= secret.rotated_at + schedule.every):
        return "its password is as old as spec.credentials.rotateEvery allows"
    note = note_on(wanted, roles.get(active))
    if note is None or len(login.halves) == 1:
        return None
    if note.access not in (None, login.access):
        return f"its access was {note.access}"
    known = any(left.until is None or now < left.until for left in note.left)
    return "the Secret of before holds its password, too" if known else None


def _other_logs_in(login: Login, active: str, roles: Mapping[str, Role]) -> bool:
    other = login.other_half(active)
    return other != active and other in roles and roles[other].login
