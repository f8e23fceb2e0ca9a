"""Steps about roles: what they may do, who is a member, how a login comes and goes."""

from dataclasses import dataclass

from servicedb.plan.observed import Membership
from servicedb.plan.steps.base import Step


@dataclass(frozen=True, slots=True)
class RoleStep(Step):
    """A change to roles: all of them in one round commit together."""


@dataclass(frozen=True, slots=True)
class CreateRole(RoleStep):
    name: str
    login: bool
    inherit: bool
    connection_limit: int
    comment: str
    bypassrls: bool = False


@dataclass(frozen=True, slots=True)
class AlterRole(RoleStep):
    """`options` are the words of ALTER ROLE that differ: `NOLOGIN`, `NOSUPERUSER`, `CONNECTION LIMIT 20`."""

    name: str
    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SetPassword(RoleStep):
    """Give `half` the pending password of `role`'s Secret (as a SCRAM verifier)."""

    role: str
    half: str


@dataclass(frozen=True, slots=True)
class LoginStep(RoleStep):
    """A turn in a login's life, which is no repair of anything: it comes by itself, or with the spec."""

    name: str


@dataclass(frozen=True, slots=True)
class OpenLogin(LoginStep):
    """LOGIN, for the half that is about to get a password."""


@dataclass(frozen=True, slots=True)
class NoteOnLogin(LoginStep):
    """What the comment of a login says of its Secret, its access, and when it leaves; that of a group, of the last."""

    comment: str


@dataclass(frozen=True, slots=True)
class CloseLogin(LoginStep):
    """NOLOGIN, its overlap being over. Its sessions live on."""


@dataclass(frozen=True, slots=True)
class CommentOnRole(RoleStep):
    name: str
    comment: str


@dataclass(frozen=True, slots=True)
class Grant(RoleStep):
    membership: Membership


@dataclass(frozen=True, slots=True)
class Revoke(RoleStep):
    membership: Membership


@dataclass(frozen=True, slots=True)
class RenameRole(RoleStep):
    """What it owns and holds stays its own."""

    name: str
    new_name: str


@dataclass(frozen=True, slots=True)
class DropRole(RoleStep):
    """A role that is in the spec no longer goes: the step of a transaction of its own, since it may be refused."""

    name: str


@dataclass(frozen=True, slots=True)
class ResetRoleSetting(RoleStep):
    """Undo ALTER ROLE ... SET, which holds in every database."""

    name: str
    parameter: str


@dataclass(frozen=True, slots=True)
class EndSessions(Step):
    """End every session of these logins, in whichever database. They can't log in any more by then."""

    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DropOwned(Step):
    """Take back what `role` was granted in `database`, and drop the little that may go with it (see plan.deletion)."""

    role: str
    database: str
