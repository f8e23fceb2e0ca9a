"""Steps about a database as a whole, from its birth to its end."""

from dataclasses import dataclass

from servicedb.plan.observed import Privilege
from servicedb.plan.steps.base import Step


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
class RenameDatabase(DatabaseStep):
    """Nobody may be connected to it."""

    name: str


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
