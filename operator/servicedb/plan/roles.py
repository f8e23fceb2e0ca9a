"""The roles of a database: their attributes and notes, and the steps that bring them there."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from servicedb.plan.credentials import LoginState
from servicedb.plan.leaving import leaving_steps, note_on, retirement
from servicedb.plan.marker import LeftSecret, Marker, RoleNote
from servicedb.plan.observed import Role
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
from servicedb.plan.wanted import Access, Group, Login, Wanted

_NO_SECRET = LoginState(None, None)

_KEPT = frozenset(Access) - {Access.ALL_DATA}
"""What a half may go on doing for a while; what holds in every database of a server is taken back at once."""

_NEVER = {
    "superuser": "NOSUPERUSER",
    "createdb": "NOCREATEDB",
    "createrole": "NOCREATEROLE",
    "replication": "NOREPLICATION",
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
        yield from _role(Role(group.name, login=False), note.comment(), roles, course=_was_leaving(roles, group))
    for login in wanted.logins:
        state = states.get(login.role, LoginState(None, None))
        for half, of_half in wanted.halves(login):
            if wanted.is_closed(login):
                yield from _closed(wanted, of_half, half, roles)
            else:
                yield from _login(wanted, of_half, half, state, roles, now=now, overlap=overlap)
        if state.pending is not None and not wanted.is_closed(login):
            yield SetPassword("its Secret holds a pending password", login.role, state.pending)
    yield from leaving_steps(wanted, states, roles, now=now, overlap=overlap)


def earlier_access(wanted: Wanted, states: Mapping[str, LoginState], roles: Mapping[str, Role]) -> dict[str, Access]:
    """The halves that logged in with another access than the spec has by now. They keep it until they are closed:
    who uses them is not cut off, since the other half takes over with the new access. A fixed login has none."""
    found = {}
    for login in wanted.logins:
        pending = states.get(login.role, LoginState(None, None)).pending
        for half in login.halves if len(login.halves) > 1 else ():
            note = _noted(wanted, login, roles.get(half))
            if note is None or note.access not in _KEPT - {login.access} or not roles[half].login:
                continue
            moves = note.secret != login.secret_name or note.left  # with the password that others have, too
            if half == pending and not moves:
                continue
            found[half] = Access(note.access)
    return found


def group_note(wanted: Wanted, group: Group, roles: Mapping[str, Role], *, anew: bool = False) -> RoleNote:
    """What the comment of `group` should say. One made before its database needs no first grants: nothing is there.

    Where the comment was lost, they were given: a migration's own REVOKEs weigh more than a grant too few. One that
    was on its way out gets them again: what was made meanwhile it was not born with.
    """
    note = RoleNote(wanted.names.owner, group.note)
    seen = roles.get(group.name)
    if seen is None:
        return replace(note, granted=anew)
    noted = RoleNote.read(seen.comment)
    lost = noted is None or noted.owner != note.owner
    return replace(note, granted=lost or (noted is not None and noted.granted and noted.retire_at is None))


def _was_leaving(roles: Mapping[str, Role], group: Group) -> bool:
    noted = RoleNote.read(roles[group.name].comment) if group.name in roles else None
    return noted is not None and noted.retire_at is not None


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
    seen = roles.get(half)
    noted = _noted(wanted, login, seen)
    note = _note(wanted, login)
    role = _half(login, half)
    if half in (state.active, state.pending):
        role = replace(role, login=True)
        if seen is not None and noted is not None:
            until = now + overlap if half == state.active else None
            if not seen.login:
                until = now  # its password of an earlier turn stands there: nobody logs in with that
            held = replace(noted, awaited=()).secrets
            note = replace(note, left=_left(wanted, held, noted, until), awaited=_awaited(login, noted, state))
        if seen is not None and not seen.login and half != state.active:
            yield OpenLogin("it is about to get a password", half)
            roles = {**roles, half: replace(seen, login=True)}
    elif seen is not None:
        if noted is not None:
            names = [left.name for left in noted.left]
            left = _left(wanted, names, noted, None)
            secret = noted.secret or (login.secret_name if state == _NO_SECRET else None)
            note = replace(note, secret=secret, left=left, awaited=_awaited(login, noted, state))
        if seen.login and state.active is None:
            role = replace(role, login=True)
            note = replace(note, retire_at=noted.retire_at if noted is not None else None)
        elif seen.login:
            retire_at = retirement(noted, now + overlap)
            if now < retire_at:
                role = replace(role, login=True)
                note = replace(note, retire_at=retire_at)
            else:
                yield CloseLogin("its overlap is over", half)
                roles = {**roles, half: replace(seen, login=False)}
    yield from _role(role, note.comment(), roles, course=noted is not None)


def _closed(wanted: Wanted, login: Login, half: str, roles: Mapping[str, Role]) -> Iterator[RoleStep]:
    """One half of a login that nobody may use for the time being: it keeps its note, and with it its turn."""
    seen = roles.get(half)
    noted = _noted(wanted, login, seen)
    if seen is not None and seen.login:
        yield CloseLogin("a restore has the database to itself", half)
        roles = {**roles, half: replace(seen, login=False)}
    yield from _role(_half(login, half), (noted or _note(wanted, login)).comment(), roles, course=noted is not None)


def _half(login: Login, half: str) -> Role:
    """One half as it is when nobody uses it."""
    return Role(
        half,
        login=False,
        inherit=login.inherits,
        bypassrls=login.bypasses_row_security,
        connection_limit=login.connection_limit,
    )


def _note(wanted: Wanted, login: Login) -> RoleNote:
    return RoleNote(wanted.names.owner, login.role, login.secret_name, access=login.access, asked_by=login.asked_by)


def _noted(wanted: Wanted, login: Login, seen: Role | None) -> RoleNote | None:
    """The note that `seen` carries as a half of `login`."""
    note = note_on(wanted, seen)
    return note if note is not None and note.role == login.role else None


def _left(wanted: Wanted, names: Iterable[str], noted: RoleNote, until: datetime | None) -> tuple[LeftSecret, ...]:
    """Those of `names` that hold a half's password without being its Secret any more; `until` where no time is noted.
    One that the spec names is about to say something else, and stays."""
    needed = {login.secret_name for login in wanted.logins}
    times = {left.name: left.until for left in noted.left}
    return tuple(LeftSecret(name, times.get(name) or until) for name in sorted({*names} - needed))


def _awaited(login: Login, noted: RoleNote, state: LoginState) -> tuple[str, ...]:
    """The Secrets that a half's note has to name before they are there, and those of which nothing came."""
    others = {*noted.awaited} - {login.secret_name}
    if state == _NO_SECRET and noted.secret not in (None, login.secret_name):
        others.add(login.secret_name)
    return tuple(sorted(others))


def _role(role: Role, comment: str, roles: Mapping[str, Role], *, course: bool = False) -> Iterator[RoleStep]:
    """`course`: its comment is the note of a role that comes or goes, which changes in the course of time, too."""
    seen = roles.get(role.name)
    if seen is None:
        yield CreateRole("missing", role.name, role.login, role.inherit, role.connection_limit, comment, role.bypassrls)
        return
    options = tuple(_options(role, seen))
    if options:
        yield AlterRole("its attributes differ", role.name, options)
    if seen.comment != comment and course:
        yield NoteOnLogin("its Secret, its access or its time to leave differs", role.name, comment)
    elif seen.comment != comment:
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
    if seen.bypassrls != role.bypassrls:
        yield "BYPASSRLS" if role.bypassrls else "NOBYPASSRLS"
