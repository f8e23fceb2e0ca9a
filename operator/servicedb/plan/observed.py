"""What was read from a PostgreSQL server, as plain values: the input of every decision."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

PUBLIC = "PUBLIC"
"""How the pseudo-role that means everybody is written here (a role of that name cannot exist)."""


@dataclass(frozen=True, slots=True, order=True)
class Privilege:
    """`grantee` (a role, or PUBLIC) holds `privilege`, spelt as in GRANT, on some object.

    `grantable` (WITH GRANT OPTION) is never wanted: such a privilege is revoked and granted plainly.
    """

    grantee: str
    privilege: str
    grantable: bool = False


@dataclass(frozen=True, slots=True, order=True)
class Membership:
    """`member` may act as `group`. `inherit` and `set_role` are PostgreSQL 16's grant options;
    up to 15 only the member's own INHERIT attribute exists, and the catalogue reader maps it to them.

    `grantable` (WITH ADMIN OPTION) is never wanted: such a membership is revoked and granted plainly.
    """

    group: str
    member: str
    inherit: bool
    set_role: bool
    grantable: bool = False


@dataclass(frozen=True, slots=True)
class Role:
    """A row of pg_roles, with its comment."""

    name: str
    login: bool
    inherit: bool = True
    superuser: bool = False
    createdb: bool = False
    createrole: bool = False
    replication: bool = False
    bypassrls: bool = False
    connection_limit: int = -1
    comment: str | None = None
    valid_until: str | None = None
    """When its password ends, None for never."""


@dataclass(frozen=True, slots=True)
class OwnerInside:
    """A role that owns a database, or something in its schemas; `example` is one thing of it, as a message names it.

    `reached`: the admin has its privileges, or may give itself them.
    """

    role: Role
    example: str
    reached: bool


@dataclass(frozen=True, slots=True)
class Database:
    """A row of pg_database. `changes` is (stats_reset, tuples changed): it moves when the inside may have.

    `valid` False: a DROP DATABASE was interrupted, and nothing but another one is possible any more. `owner_reached`:
    the admin has the owner's privileges; `enterable`: it may connect. `owners` were looked for only where the database
    is about to be adopted.
    """

    name: str
    oid: int
    owner: str
    allow_connections: bool
    privileges: frozenset[Privilege]
    comment: str | None = None
    changes: tuple[str, int] = ("", 0)
    valid: bool = True
    owner_reached: bool = True
    enterable: bool = True
    owners: tuple[OwnerInside, ...] = ()


Settings = Mapping[str, str]
"""Parameter name -> value, as ALTER DATABASE ... SET or ALTER ROLE ... IN DATABASE ... SET stored them."""


@dataclass(frozen=True, slots=True)
class ServerScan:
    """One look at the shared catalogues of a server, whole or narrowed to the names of one database.

    `settings` is keyed by (database, role); the role is "" for settings of the database itself, the database is ""
    for those that a role has in every database (ALTER ROLE ... SET).
    """

    version: int
    admin: str
    admin_superuser: bool
    system_identifier: str
    roles: Mapping[str, Role]
    databases: Mapping[str, Database]
    memberships: frozenset[Membership] = frozenset()
    settings: Mapping[tuple[str, str], Settings] = field(default_factory=dict)

    def database_with_oid(self, oid: int) -> Database | None:
        return next((database for database in self.databases.values() if database.oid == oid), None)


@dataclass(frozen=True, slots=True)
class Schema:
    """`reached`: the admin has the owner's privileges. `of_extension`: it is a part of an extension. `of_role_maker`:
    its owner has CREATEROLE, as an administrator has and a tenant never."""

    name: str
    owner: str
    privileges: frozenset[Privilege]
    reached: bool = True
    of_extension: bool = False
    of_role_maker: bool = False


@dataclass(frozen=True, slots=True)
class Extension:
    name: str
    version: str
    schema: str


@dataclass(frozen=True, slots=True)
class AvailableExtension:
    """What the server could install: the default version, and for each version whether it is trusted."""

    default_version: str
    trusted: Mapping[str, bool]


@dataclass(frozen=True, slots=True)
class InsideScan:
    """One look inside a database. `default_privileges` maps an object type (`TABLES`, `ROUTINES`, ...) to what
    objects that the owner role makes from now on will carry, the owner's own privileges left out."""

    schemas: Mapping[str, Schema]
    default_privileges: Mapping[str, frozenset[Privilege]]
    extensions: Mapping[str, Extension]
    available: Mapping[str, AvailableExtension] = field(default_factory=dict)

    def with_available(self, available: Mapping[str, AvailableExtension]) -> Self:
        return replace(self, available=available)


@dataclass(frozen=True, slots=True, order=True)
class ObjectName:
    """One object in a schema. `kind` is TABLE (all that GRANT takes for one, views, too), SEQUENCE, ROUTINE, TYPE, or
    one of those that nobody is granted anything on, spelt as in ALTER: OPERATOR CLASS, STATISTICS, ...

    `arguments` are the types of a routine's arguments or an operator's operands, each as (schema, name), with which
    its name is unique; ("", "") where an operator has no operand. `method` is the access method of an operator class
    or family.
    """

    kind: str
    schema: str
    name: str
    arguments: tuple[tuple[str, str], ...] = ()
    method: str = ""


@dataclass(frozen=True, slots=True)
class ObjectGroup:
    """Objects of one kind in one schema that have the same owner and the same privileges: most databases have few.

    `privileges` leave out the owner's own; None: nobody has granted or revoked anything (the ACL is NULL). `sample` is
    the OID of one of them. `reached`: the admin has the owner's privileges; `by_superuser`: the owner is one. `linked`:
    sequences of columns, which follow their table's owner. `view`: tables that are views, materialized ones, too.
    `names` are filled in only for groups in which something has to be done.
    """

    kind: str
    schema: str
    owner: str
    privileges: frozenset[Privilege] | None
    count: int
    sample: int
    reached: bool = True
    linked: bool = False
    view: bool = False
    by_superuser: bool = False
    names: tuple[ObjectName, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnPrivileges:
    """Privileges on a single column of `table`, the owner's own left out."""

    table: ObjectName
    column: str
    privileges: frozenset[Privilege]


@dataclass(frozen=True, slots=True)
class ObjectScan:
    """The objects in a tenant's schemas, without those that extensions made. `keys`: schema and name of a table that
    was singled out -> the first column of its primary key."""

    groups: tuple[ObjectGroup, ...] = ()
    columns: tuple[ColumnPrivileges, ...] = ()
    keys: Mapping[tuple[str, str], str] = field(default_factory=dict)
