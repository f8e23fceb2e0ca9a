"""The roles of a database: their attributes and notes, and the steps that bring them there."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from servicedb.plan.credentials import LoginState
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import Role
from servicedb.plan.steps import AlterRole, CommentOnRole, CreateRole, RoleStep, SetPassword
from servicedb.plan.wanted import Group, Login, Wanted

_NEVER = {
    "superuser": "NOSUPERUSER",
    "createdb": "NOCREATEDB",
    "createrole": "NOCREATEROLE",
    "replication": "NOREPLICATION",
    "bypassrls": "NOBYPASSRLS",
}


def role_steps(
    wanted: Wanted,
    marker: Marker,
    states: Mapping[str, LoginState],
    roles: Mapping[str, Role],
    *,
    now: datetime,
    overlap: timedelta,
) -> Iterator[RoleStep]:
    """Yield what creates or repairs the owner, the groups and the logins. `states` goes by the login's role."""
    yield from _role(Role(wanted.names.owner, login=False), marker.comment(), roles)
    for group in wanted.all_groups:
        note = group_note(wanted, group, roles, anew=marker.oid is None)
        yield from _role(Role(group.name, login=False), note.comment(), roles)
    for login in wanted.logins:
        state = states.get(login.role, LoginState(None, None))
        for half in login.halves:
            yield from _login(wanted, login, half, state, roles, now=now, overlap=overlap)
        if state.pending is not None:
            yield SetPassword("its Secret holds a pending password", login.role, state.pending)
    yield from _retired(wanted, states, roles, now=now, overlap=overlap)


def group_note(wanted: Wanted, group: Group, roles: Mapping[str, Role], *, anew: bool = False) -> RoleNote:
    """What the comment of `group` should say. One made before its database needs no first grants: nothing is there.

    Where the comment was lost, they were given: a migration's own REVOKEs weigh more than a grant too few.
    """
    note = RoleNote(wanted.names.owner, group.note)
    seen = roles.get(group.name)
    if seen is None:
        return replace(note, granted=anew)
    noted = RoleNote.read(seen.comment)
    lost = noted is None or noted.owner != note.owner
    return replace(note, granted=lost or (noted is not None and noted.granted))


def _login(
    wanted: Wanted,
    login: Login,
    half: str,
    state: LoginState,
    roles: Mapping[str, Role],
    *,
    now: datetime,
    overlap: timedelta,
) -> Iterator[RoleStep]:
    """One half. In use: it logs in. Not in use any more: it does until its overlap has passed, which begins only
    when another half is in use: a pending password may yet turn out not to work."""
    note = RoleNote(wanted.names.owner, login.role, login.secret_name)
    may_log_in = half in (state.active, state.pending)
    seen = roles.get(half)
    if not may_log_in and state.active is None and seen is not None:
        may_log_in = seen.login
        noted = RoleNote.read(seen.comment)
        note = replace(note, retire_at=noted.retire_at if noted is not None else None)
    elif not may_log_in and seen is not None and seen.login:
        note = _retiring(note, seen, (now + overlap).replace(microsecond=0))
        may_log_in = note.retire_at is not None and now < note.retire_at
        if not may_log_in:
            note = replace(note, retire_at=None)
    role = Role(half, login=may_log_in, inherit=login.inherits, connection_limit=login.connection_limit)
    yield from _role(role, note.comment(), roles)


def leaving(wanted: Wanted, roles: Mapping[str, Role]) -> dict[str, RoleNote]:
    """Logins of this database that the spec no longer names and that may still log in, with their notes.

    Until their overlap has passed, their memberships and privileges stay as they are.
    """
    notes = {
        role.name: RoleNote.read(role.comment)
        for role in roles.values()
        if role.login and role.name not in wanted.role_names
    }
    return {name: note for name, note in sorted(notes.items()) if note and note.owner == wanted.names.owner}


def next_retirement(wanted: Wanted, roles: Mapping[str, Role]) -> datetime | None:
    """When the next login of this database loses LOGIN; None where none is on its way out."""
    notes = (RoleNote.read(role.comment) for role in roles.values() if role.login)
    times = [
        note.retire_at
        for note in notes
        if note is not None and note.owner == wanted.names.owner and note.retire_at is not None
    ]
    return min(times, default=None)


def _retired(
    wanted: Wanted, states: Mapping[str, LoginState], roles: Mapping[str, Role], *, now: datetime, overlap: timedelta
) -> Iterator[RoleStep]:
    """Logins that carry our note and stand in the spec no longer lose LOGIN when their overlap has passed, which
    begins only when the login that takes their place is in use."""
    awaited = {login.role for login in wanted.logins if states.get(login.role, LoginState(None, None)).active is None}
    for name, note in leaving(wanted, roles).items():
        if note.role in awaited:
            continue
        role = roles[name]
        retiring = _retiring(note, role, (now + overlap).replace(microsecond=0))
        if retiring != note:
            yield CommentOnRole("no longer in the spec: its time to leave is noted", role.name, retiring.comment())
        elif retiring.retire_at is not None and now >= retiring.retire_at:
            yield AlterRole("no longer in the spec", role.name, ("NOLOGIN",))


def _retiring(note: RoleNote, seen: Role, default: datetime) -> RoleNote:
    """`note` with the time at which this login goes: the one noted already, else `default`."""
    noted = RoleNote.read(seen.comment)
    return replace(note, retire_at=noted.retire_at if noted is not None and noted.retire_at else default)


def _role(role: Role, comment: str, roles: Mapping[str, Role]) -> Iterator[RoleStep]:
    seen = roles.get(role.name)
    if seen is None:
        yield CreateRole("missing", role.name, role.login, role.inherit, role.connection_limit, comment)
        return
    options = tuple(_options(role, seen))
    if options:
        yield AlterRole("its attributes differ", role.name, options)
    if seen.comment != comment:
        yield CommentOnRole("its comment differs", role.name, comment)


def _options(role: Role, seen: Role) -> Iterator[str]:
    """Only what differs: for an administrator that is no superuser even a needless NOSUPERUSER is refused."""
    if seen.login != role.login:
        yield "LOGIN" if role.login else "NOLOGIN"
    if seen.inherit != role.inherit:
        yield "INHERIT" if role.inherit else "NOINHERIT"
    if seen.connection_limit != role.connection_limit:
        yield f"CONNECTION LIMIT {role.connection_limit}"
    if seen.valid_until is not None:
        yield "VALID UNTIL infinity"
    for attribute, option in _NEVER.items():
        if getattr(seen, attribute):
            yield option
