"""Roles on their way out: when each login loses LOGIN, and what goes after that: Secrets, and the roles themselves.

The halves of a login that the spec names are closed in turn and never dropped (plan/roles.py). Here are those that
the spec no longer names: of a role taken out of it, or under a loginName of before; and the group of a role that has
no overrides any more, which sessions from before still work as.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from servicedb.plan.credentials import LoginState
from servicedb.plan.marker import RoleNote
from servicedb.plan.observed import Role
from servicedb.plan.steps import CloseLogin, DeleteSecret, DropRole, LoginStep, NoteOnLogin, Step
from servicedb.plan.wanted import RESTORE, Wanted

_AT_ONCE = timedelta()


def note_on(wanted: Wanted, role: Role | None) -> RoleNote | None:
    """The note that `role` carries as a login of this database; None where it is none."""
    note = RoleNote.read(role.comment) if role is not None else None
    if role is None or note is None or note.owner != wanted.names.owner:
        return None
    is_login = "__" not in role.name or role.name.endswith(("_a", "_b"))  # groups carry a note, too
    return note if is_login else None


def leaving(wanted: Wanted, roles: Mapping[str, Role]) -> dict[str, RoleNote]:
    """Logins of this database that the spec no longer names, with their notes.

    Until they are dropped, their memberships stay as they are: by those a login with a fixed name is found.
    """
    named = frozenset(wanted.role_names)
    notes = {name: note_on(wanted, role) for name, role in roles.items() if name not in named}
    return {name: note for name, note in sorted(notes.items()) if note is not None}


def former_groups(wanted: Wanted, roles: Mapping[str, Role]) -> dict[str, RoleNote]:
    """Groups of single roles that have no overrides any more, or are gone themselves, with their notes.

    Until they are dropped they keep what they hold: a session that works as one goes on.
    """
    notes = {name: RoleNote.read(role.comment) for name, role in sorted(roles.items()) if name not in wanted.role_names}
    return {
        name: note
        for name, note in notes.items()
        if note is not None and note.owner == wanted.names.owner and name == f"{wanted.database}__{note.role}"
    }


def leaving_steps(
    wanted: Wanted, states: Mapping[str, LoginState], roles: Mapping[str, Role], *, now: datetime, overlap: timedelta
) -> Iterator[LoginStep]:
    """Close the logins whose overlap is over, which begins only when the login in their place is in use. A group's
    begins when the spec has no need of it."""
    for name, note in leaving(wanted, roles).items():
        if not roles[name].login or note.role in _awaited(wanted, states):
            continue
        leaves = now + (_AT_ONCE if note.role == RESTORE else overlap)  # nobody is to write as that one any more
        retiring = replace(note, retire_at=retirement(note, leaves))
        if retiring != note:
            yield NoteOnLogin("no longer in the spec: its time to leave is noted", name, retiring.comment())
        if retiring.retire_at is not None and now >= retiring.retire_at:
            yield CloseLogin("no longer in the spec", name)
    for name, note in former_groups(wanted, roles).items():
        if note.retire_at is None:
            retiring = replace(note, retire_at=now + overlap)
            yield NoteOnLogin("no longer in the spec: its time to leave is noted", name, retiring.comment())


def departure_steps(
    wanted: Wanted, states: Mapping[str, LoginState], roles: Mapping[str, Role], *, now: datetime
) -> list[Step]:
    """What goes for good, in this order: Secrets that nobody is to use any more, their names in the logins' notes,
    logins that are closed and that the spec does not name, groups that it has no need of."""
    notes = {name: note for name in roles if (note := note_on(wanted, roles[name])) is not None}
    gone = _past_secrets(wanted, {name: (roles[name].login, note) for name, note in notes.items()}, now)
    steps: list[Step] = [DeleteSecret("nobody is to use it any more", role, name) for name, role in gone.items()]
    for name, note in sorted(notes.items()):
        after = note
        for secret in gone:
            after = after.without(secret)
        if after != note:
            steps.append(NoteOnLogin("its Secret is deleted", name, after.comment()))
    awaited = _awaited(wanted, states)
    for name, note in leaving(wanted, roles).items():
        if not roles[name].login and note.role not in awaited:
            steps.append(DropRole("no longer in the spec", name))
    for name, note in former_groups(wanted, roles).items():
        if note.retire_at is not None and now >= note.retire_at:
            steps.append(DropRole("no longer in the spec", name))
    return steps


def next_retirement(wanted: Wanted, roles: Mapping[str, Role], *, after: datetime) -> datetime | None:
    """When the next role or Secret of this database has had its overlap; None where none is on its way out.

    What was due at `after` and is still there waits for something else, not for a time.
    """
    notes = [note for role in roles.values() if role.login and (note := note_on(wanted, role)) is not None]
    times = [note.retire_at for note in (*notes, *former_groups(wanted, roles).values())]
    times += [left.until for note in notes for left in note.left]
    return min((time for time in times if time is not None and time > after), default=None)


def retirement(note: RoleNote | None, default: datetime) -> datetime:
    """When a login leaves: the time noted already, else `default`."""
    return note.retire_at if note is not None and note.retire_at is not None else default


def _awaited(wanted: Wanted, states: Mapping[str, LoginState]) -> set[str]:
    """The roles whose Secret names no login of theirs yet: what they had before has to stay."""
    return {login.role for login in wanted.logins if states.get(login.role, LoginState(None, None)).active is None}


def _past_secrets(wanted: Wanted, notes: Mapping[str, tuple[bool, RoleNote]], now: datetime) -> dict[str, str]:
    """Secret -> the role it was for: those that only closed logins name, or whose time as a login's second has come."""
    needed = {login.secret_name for login in wanted.logins}
    past: dict[str, str] = {}
    for logs_in, note in notes.values():
        for left in note.left:
            if logs_in and (left.until is None or now < left.until):
                needed.add(left.name)
            else:
                past[left.name] = note.role
        past |= dict.fromkeys(note.awaited, note.role)  # never in use, or in the spec
        if note.secret is not None and logs_in:
            needed.add(note.secret)
        elif note.secret is not None:
            past[note.secret] = note.role
    return {name: past[name] for name in sorted(past) if name not in needed}
