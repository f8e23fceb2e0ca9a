"""Steps inside a database: schemas, extensions, objects and what is granted on them."""

from dataclasses import dataclass

from servicedb.plan.observed import ObjectName, Privilege
from servicedb.plan.steps.base import Step


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
    """`take_up`: the admin has to become a member of the present owner for it, within the transaction alone."""

    name: str
    owner: str
    present_owner: str = ""
    take_up: bool = False


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
    """`acting_for`: the owner whose member the admin has to become for it, within the transaction alone. With
    `columns`, on these alone."""

    grantee: str
    privileges: tuple[str, ...]
    acting_for: str | None = None
    columns: tuple[str, ...] = ()


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
