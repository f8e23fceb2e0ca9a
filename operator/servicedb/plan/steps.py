"""The steps that a plan is made of. Each is idempotent or stands in a transaction with those around it, so that
a kill between any two loses nothing: the next round sees what is there and plans the rest."""

from dataclasses import dataclass

from servicedb.plan.observed import Membership, ObjectName, Privilege


@dataclass(frozen=True, slots=True)
class Step:
    """One change, with the reason why it is needed."""

    reason: str


@dataclass(frozen=True, slots=True)
class SecretStep(Step):
    """A change to the Secret of one entry of spec.roles, or a login made with it."""

    role: str
    half: str


@dataclass(frozen=True, slots=True)
class PrepareSecret(SecretStep):
    """Write a new password as `pending-password`, before any role has it; or the one that the Secret `taken_from`
    holds already, where a login that has no other half moves from Secret to Secret. `repairs`: the present one does
    not work any more."""

    taken_from: str | None = None
    repairs: bool = False


@dataclass(frozen=True, slots=True)
class ProveLogin(SecretStep):
    """Log in as an application would, through the client endpoint."""


@dataclass(frozen=True, slots=True)
class ActivateSecret(SecretStep):
    """Make the proved pending password the one that applications read, in one write."""


@dataclass(frozen=True, slots=True)
class DeleteSecret(Step):
    """Delete a Secret whose passwords nobody is to use any more, if it is ours. `role` is that of its login."""

    role: str
    name: str


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
    """What the login's comment says of its Secret, its access, and when it leaves."""

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
class DropRole(RoleStep):
    """A login that is in the spec no longer goes: the step of a transaction of its own, since it may be refused."""

    name: str


@dataclass(frozen=True, slots=True)
class ResetRoleSetting(RoleStep):
    """Undo ALTER ROLE ... SET, which holds in every database."""

    name: str
    parameter: str


@dataclass(frozen=True, slots=True)
class CreateDatabase(Step):
    """Born closed, from template0. A statement of its own: CREATE DATABASE stands in no transaction."""

    name: str
    encoding: str
    locale: str | None
    locale_provider: str | None


@dataclass(frozen=True, slots=True)
class DatabaseStep(Step):
    """A change to a database as a whole: all of them in one round commit together."""

    database: str


@dataclass(frozen=True, slots=True)
class ChangeDatabaseOwner(DatabaseStep):
    """`take_up`: the admin has to become a member of the present owner for it, within the transaction alone."""

    owner: str
    present_owner: str
    take_up: bool


@dataclass(frozen=True, slots=True)
class GrantOnDatabase(DatabaseStep):
    privilege: Privilege


@dataclass(frozen=True, slots=True)
class RevokeOnDatabase(DatabaseStep):
    privilege: Privilege


@dataclass(frozen=True, slots=True)
class ChangeSetting(DatabaseStep):
    """ALTER DATABASE ... SET, or with a `role` ALTER ROLE ... IN DATABASE ... SET; `value` None resets it."""

    role: str | None
    parameter: str
    value: str | None


@dataclass(frozen=True, slots=True)
class OpenDatabase(DatabaseStep):
    """Write the database's OID into the marker on `owner_role`, and allow connections: both or neither."""

    owner_role: str
    comment: str


@dataclass(frozen=True, slots=True)
class InsideStep(Step):
    """A change inside a database: all of them in one round commit together."""


@dataclass(frozen=True, slots=True)
class CreateExtension(InsideStep):
    name: str
    schema: str
    version: str | None


@dataclass(frozen=True, slots=True)
class UpdateExtension(InsideStep):
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class CreateSchema(InsideStep):
    """`owner` None: the administrator's own."""

    name: str
    owner: str | None


@dataclass(frozen=True, slots=True)
class ChangeSchemaOwner(InsideStep):
    name: str
    owner: str


@dataclass(frozen=True, slots=True)
class GrantOnSchema(InsideStep):
    schema: str
    privilege: Privilege


@dataclass(frozen=True, slots=True)
class RevokeOnSchema(InsideStep):
    schema: str
    privilege: Privilege


@dataclass(frozen=True, slots=True)
class GrantByDefault(InsideStep):
    """What objects of `object_type` that `owner` makes from now on carry (ALTER DEFAULT PRIVILEGES)."""

    owner: str
    object_type: str
    privilege: Privilege


@dataclass(frozen=True, slots=True)
class RevokeByDefault(InsideStep):
    owner: str
    object_type: str
    privilege: Privilege


@dataclass(frozen=True, slots=True)
class EndSessions(Step):
    """End every session of these logins, in whichever database. They can't log in any more by then."""

    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CloseDatabase(Step):
    """Say in the marker on `owner_role` that the drop has begun, and let nobody connect any more: both or neither."""

    database: str
    owner_role: str
    comment: str


@dataclass(frozen=True, slots=True)
class DropDatabase(Step):
    """A statement of its own: DROP DATABASE stands in no transaction. `force` ends the sessions that are left."""

    name: str
    force: bool = True


@dataclass(frozen=True, slots=True)
class DropOwned(Step):
    """Take back what `role` was granted in `database`, and drop the little that may go with it (see plan.deletion)."""

    role: str
    database: str


@dataclass(frozen=True, slots=True)
class ObjectStep(InsideStep):
    """A change to objects of one kind in one schema."""

    objects: tuple[ObjectName, ...]


@dataclass(frozen=True, slots=True)
class ChangeObjectOwner(ObjectStep):
    """`take_up`: the admin has to become a member of the present owner for it, within the transaction alone."""

    owner: str
    present_owner: str
    take_up: bool


@dataclass(frozen=True, slots=True)
class GrantOnObjects(ObjectStep):
    grantee: str
    privileges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RevokeOnObjects(ObjectStep):
    """With `columns`, what `grantee` holds on these alone; with `only_grant_option`, it keeps the privileges."""

    grantee: str
    privileges: tuple[str, ...]
    columns: tuple[str, ...] = ()
    only_grant_option: bool = False


@dataclass(frozen=True, slots=True)
class NoteGranted(InsideStep):
    """Note on a group that it has had its first grants: from then on a REVOKE is somebody's decision."""

    name: str
    comment: str


NEEDED: tuple[type[Step], ...] = (
    CreateRole,
    SetPassword,
    Grant,
    CreateDatabase,
    OpenDatabase,
    CreateSchema,
    CreateExtension,
    UpdateExtension,
)
"""Kinds of step that the spec can't do without. Any other that the server refuses leaves a difference behind, which is
listed, and the rest goes on."""

CREATION: tuple[type[Step], ...] = (
    CreateRole,
    Grant,
    CreateDatabase,
    RevokeOnDatabase,
    GrantOnDatabase,
    ChangeSetting,
    OpenDatabase,
    PrepareSecret,
    OpenLogin,
    SetPassword,
    RevokeByDefault,
    GrantByDefault,
    CreateSchema,
    GrantOnSchema,
    ChangeSchemaOwner,
    RevokeOnSchema,
    CreateExtension,
    ProveLogin,
    ActivateSecret,
)
"""Every kind of step that makes a database from nothing, in the order in which they first come."""

DELETION: tuple[type[Step], ...] = (
    CommentOnRole,
    AlterRole,
    EndSessions,
    DeleteSecret,
    CloseDatabase,
    DropDatabase,
    DropOwned,
    DropRole,
)
"""Every kind of step from the moment at which an object with policy Delete is gone until nothing is left of its
database, in the order in which they first come. EndSessions comes where there are sessions, DropOwned where a role
holds something outside of the database."""

UNDO: tuple[type[Step], ...] = (CommentOnRole, PrepareSecret, OpenLogin, SetPassword, ProveLogin, ActivateSecret)
"""Every kind of step by which a deleted object that is made again within its grace gets its database back, in the order
in which they first come."""

ROTATION: tuple[type[Step], ...] = (
    PrepareSecret,
    OpenLogin,
    SetPassword,
    ProveLogin,
    ActivateSecret,
    NoteOnLogin,
    CloseLogin,
)
"""Every kind of step by which the other half of a login takes over, and the one of before leaves."""

DEPARTURE: tuple[type[Step], ...] = (NoteOnLogin, CloseLogin, RevokeOnDatabase, DeleteSecret, DropRole)
"""Every kind of step by which a login goes that the spec no longer names."""
