"""What is done even where changes are only listed: the marker, the end of an overlap, the way of a new password."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from servicedb.plan.credentials import LoginState
from servicedb.plan.marker import RoleNote
from servicedb.plan.observed import Role
from servicedb.plan.steps import AlterRole, CommentOnRole, DropRole, RoleStep, SetPassword
from servicedb.plan.wanted import Wanted


def upkeep(
    steps: Iterable[RoleStep],
    wanted: Wanted,
    roles: Mapping[str, Role],
    *,
    now: datetime,
    states: Mapping[str, LoginState] | None = None,
) -> Iterator[RoleStep]:
    """Yield those of `steps`, or as much of them, that can't wait for a person. With `states`, by the login's role,
    passwords that their Secrets hold as pending are brought into use, too."""
    pending = {state.pending for state in (states or {}).values()}
    for step in steps:
        match step:
            case SetPassword():
                if states is not None:
                    yield step
            case DropRole():
                yield step
            case CommentOnRole(name=name) if name == wanted.names.owner:
                yield step
            case CommentOnRole() if _only_its_end_differs(step, roles):
                yield step
            case AlterRole(options=options) if "LOGIN" in options and step.name in pending:
                yield replace(step, options=("LOGIN",))
            case AlterRole(options=options) if "NOLOGIN" in options and _has_ended(step.name, roles, now):
                yield replace(step, options=("NOLOGIN",))


def _only_its_end_differs(step: CommentOnRole, roles: Mapping[str, Role]) -> bool:
    """Whether the step notes, or takes back, nothing but when a login goes."""
    seen = RoleNote.read(roles[step.name].comment) if step.name in roles else None
    then = RoleNote.read(step.comment)
    return seen is not None and then is not None and replace(then, retire_at=seen.retire_at) == seen


def _has_ended(name: str, roles: Mapping[str, Role], now: datetime) -> bool:
    note = RoleNote.read(roles[name].comment) if name in roles else None
    return note is not None and note.retire_at is not None and note.retire_at <= now
