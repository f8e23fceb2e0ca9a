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
    """Write a new password as `pending-password`, before any role has it."""


@dataclass(frozen=True, slots=True)
class ProveLogin(SecretStep):
    """Log in as an application would, through the client endpoint."""


@dataclass(frozen=True, slots=True)
class ActivateSecret(SecretStep):
    """Make the proved pending password the one that applications read, in one write."""


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
    PrepareSecret,
    CreateRole,
    SetPassword,
    Grant,
    CreateDatabase,
    RevokeOnDatabase,
    GrantOnDatabase,
    ChangeSetting,
    OpenDatabase,
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
