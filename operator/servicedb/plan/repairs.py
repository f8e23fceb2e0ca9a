"""Which of a round's steps took back what somebody had changed by hand: what an event and a metric tell of."""

from collections.abc import Iterable, Sequence

from servicedb.plan.steps import (
    ActivateSecret,
    AlterRole,
    ChangeSetting,
    CommentOnRole,
    CreateRole,
    DatabaseStep,
    DropRole,
    Grant,
    GrantOnDatabase,
    InsideStep,
    LoginStep,
    PrepareSecret,
    ResetRoleSetting,
    Revoke,
    RevokeOnDatabase,
    RoleStep,
    SetPassword,
    Step,
)
from servicedb.plan.wanted import Wanted

_TURNS = frozenset({"LOGIN", "NOLOGIN", "INHERIT", "NOINHERIT"})
"""Attributes that change when a login comes, goes, or gets another access."""


def repairs(done: Sequence[Step], wanted: Wanted) -> list[Step]:
    """Those of `done`, on a spec that had been carried out before, that undid something. Where a login took a turn in
    its life, what follows for that login is none."""
    turned = _turned(done, wanted)
    return [
        step
        for step in done
        if isinstance(step, RoleStep | DatabaseStep | InsideStep)
        and not isinstance(step, LoginStep | DropRole)
        and not (_follows_a_turn(step) and _about(step) in turned)
    ]


def _turned(done: Iterable[Step], wanted: Wanted) -> set[str]:
    """The logins that took a turn, each with its other half, which may take over from it."""
    names: set[str] = set()
    for step in done:
        match step:
            case LoginStep() | DropRole():
                names.add(step.name)
            case PrepareSecret(repairs=False) | ActivateSecret():
                names.add(step.half)
    pairs = (login.halves for login in wanted.logins)
    return names | {half for pair in pairs if names & {*pair} for half in pair}


def _follows_a_turn(step: Step) -> bool:
    return not (isinstance(step, AlterRole) and set(step.options) - _TURNS)


def _about(step: Step) -> str | None:
    """The login that `step` is about, where it is about one."""
    match step:
        case SetPassword():
            return step.half
        case AlterRole() | CommentOnRole() | CreateRole() | ResetRoleSetting():
            return step.name
        case Grant() | Revoke():
            return step.membership.member
        case GrantOnDatabase() | RevokeOnDatabase():
            return step.privilege.grantee
        case ChangeSetting():
            return step.role
    return None
