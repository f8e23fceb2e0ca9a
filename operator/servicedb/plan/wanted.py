"""What a ServiceDatabase asks for, in PostgreSQL's terms: names resolved, defaults filled in, limits shared out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from servicedb.naming import RoleNames
from servicedb.plan.marker import Marker


class Access(StrEnum):
    READ_WRITE = "ReadWrite"
    READ_ONLY = "ReadOnly"
    OWNER = "Owner"
    ALL_DATA = "AllData"
    """Reads everything, whoever's it is, and works as itself: the login for backups has it on some servers."""

    NAMED_TABLES = "NamedTables"
    """Holds what its overrides give it and nothing else: the login that archives and deletes."""


BACKUP, RESTORE, RETAIN, PARTITION = "backup", "restore", "retain", "partition"
"""The logins that no spec.roles names: they are there while an object of another kind needs them (plan/guests.py)."""

GUESTS = frozenset({BACKUP, RESTORE, RETAIN, PARTITION})


def works_as(names: RoleNames, access: Access) -> str:
    """The role that a login of that access works as; "" where that is the login itself."""
    return {
        Access.OWNER: names.owner,
        Access.READ_WRITE: names.read_write,
        Access.READ_ONLY: names.read_only,
        Access.ALL_DATA: "",
        Access.NAMED_TABLES: names.own_group(RETAIN),
    }[access]


@dataclass(frozen=True, slots=True)
class Group:
    """A role that holds grants for the logins that work as it. `note` is what its comment calls it.

    `overrides` (schema and name of a table -> all privileges on it) are None for a group that gets its access on
    every table from birth; else it has no default privileges on tables, and holds on each exactly what is meant.
    """

    name: str
    note: str
    access: Access
    overrides: Mapping[tuple[str, str], frozenset[str]] | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """One entry of spec.roles: the login roles that share its duties, and the Secret that says which is in use.

    `halves` are the alternating pair, or the one fixed login name. Each works as `works_as` from its first
    statement on (ALTER ROLE ... IN DATABASE ... SET role), so that what it makes belongs to that role.
    """

    role: str
    halves: tuple[str, ...]
    access: Access
    works_as: str
    secret_name: str
    connection_limit: int = -1
    parameters: Mapping[str, str] = field(default_factory=dict)
    overrides: Mapping[tuple[str, str], frozenset[str]] | None = None
    asked_by: str | None = None
    """The UID of the object that the login is there for; None for those of spec.roles."""

    @property
    def inherits(self) -> bool:
        """Whether the privileges of `works_as` hold without SET ROLE; an owner's must be taken up."""
        return self.access is not Access.OWNER

    @property
    def connects_itself(self) -> bool:
        """Whether it needs CONNECT itself, since it inherits that from no group."""
        return self.access in (Access.OWNER, Access.ALL_DATA)

    @property
    def bypasses_row_security(self) -> bool:
        return self.access is Access.ALL_DATA

    def other_half(self, half: str) -> str:
        """The half that is not `half`; with a fixed login name, that one again."""
        return next((name for name in self.halves if name != half), half)


@dataclass(frozen=True, slots=True)
class WantedExtension:
    name: str
    schema: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Which rows belong to which tenant. `schema_pattern` is as for LIKE, None for all schemas of the owner role.
    `exempt` are schemas and names of tables of no tenant; without a schema, in each."""

    column: str
    setting: str
    schema_pattern: str | None = None
    exempt: frozenset[tuple[str | None, str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Wanted:
    """One database with everything that belongs to it.

    `adoptable`: the server's admins let this object take the database over when nobody stands for it any more, or when
    servicedb never made it (plan.foreign.shared says who shares the latter kind).
    """

    database: str
    names: RoleNames
    logins: tuple[Login, ...]
    marker: Marker
    schemas: tuple[str, ...] = ("public",)
    extensions: tuple[WantedExtension, ...] = ()
    untrusted_allowed: frozenset[str] = frozenset()
    parameters: Mapping[str, str] = field(default_factory=dict)
    encoding: str = "UTF8"
    locale: str | None = None
    locale_provider: str | None = None
    known_oid: str | None = None
    recreate: str | None = None
    adoptable: bool = False
    tenancy: Tenancy | None = None
    earlier: Mapping[str, Access] = field(default_factory=dict)
    """Half -> the access that it keeps as long as it may log in, where the spec has another one by now."""

    @property
    def is_restored_into(self) -> bool:
        """Whether a restore has the database to itself."""
        return any(login.role == RESTORE for login in self.logins)

    def is_closed(self, login: Login) -> bool:
        """Whether nobody may log in as `login` for the time being."""
        return self.is_restored_into and login.role != RESTORE

    @property
    def open_logins(self) -> tuple[Login, ...]:
        return tuple(login for login in self.logins if not self.is_closed(login))

    @property
    def shared_with(self) -> tuple[str, ...] | None:
        return self.marker.shared_with

    def halves(self, *logins: Login) -> Iterator[tuple[str, Login]]:
        """Every half of `logins` (left out: of all), with the login as it stands for that half. A group of its own is
        never left for one that may do more, but by an owner, who had none."""
        for login in logins or self.logins:
            for half in login.halves:
                access = self.earlier.get(half, login.access)
                whole = access is not login.access and (login.overrides is None or access is Access.OWNER)
                role = works_as(self.names, access) if whole else login.works_as
                yield half, replace(login, access=access, works_as=role or half)

    @property
    def all_groups(self) -> tuple[Group, ...]:
        """Those that every database has, then those of single roles with overrides."""
        own = (
            Group(login.works_as, f"{login.role}_grp", login.access, login.overrides)
            for login in self.logins
            if login.overrides is not None
        )
        return (
            Group(self.names.read_write, "rw", Access.READ_WRITE),
            Group(self.names.read_only, "ro", Access.READ_ONLY),
            *own,
        )

    @property
    def groups(self) -> tuple[str, ...]:
        return tuple(group.name for group in self.all_groups)

    @property
    def role_names(self) -> tuple[str, ...]:
        """Every role of this database, the owner role first."""
        halves = (half for login in self.logins for half in login.halves)
        return (self.names.owner, *self.groups, *halves)

    def login_of(self, half: str) -> Login | None:
        return next((login for login in self.logins if half in login.halves), None)
