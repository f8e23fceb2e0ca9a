"""Names: which database an object stands for, and which roles belong to a database.

No two databases can collide: `__` stands in every role name and in no database name.
"""

import re
from dataclasses import dataclass

NAME_BYTES = 63
"""Longest identifier in bytes (PostgreSQL documentation, "Identifiers and Key Words"); longer ones are cut silently."""

_DATABASE_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_LOGIN_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_RESERVED_DATABASES = frozenset({"postgres", "servicedb"})
SCRATCH_PREFIX = "servicedb_scratch_"
"""How databases begin in which a backup is restored on trial."""

_RESERVED_PREFIXES = ("template", "pg_", SCRATCH_PREFIX)
_RESERVED_LOGINS = frozenset(
    {"postgres", "public", "none", "servicedb", "current_user", "current_role", "session_user"}
)
_LONGEST_FIXED_SUFFIX = "__migrator_a"

LOCK_DATABASE = "servicedb"
"""The operator's own database on each server: its locks live there, where no tenant can connect."""

HISTORY_SCHEMA = "servicedb_migrations"
"""Where each database keeps the history of its migrations, shut to everybody but the owner role: what it holds is run
as the owner, on the way back."""

RETENTION_SCHEMA = "servicedb_retention"
"""Where each database keeps the ledger of what was archived and deleted: appended to, and never changed."""

RESTORE_SCHEMA = "servicedb_restore"
"""Stands in a database while a restore into it has not come to its end."""


@dataclass(frozen=True, slots=True)
class RoleNames:
    """The roles that every database has, whatever its spec says."""

    database: str

    @property
    def owner(self) -> str:
        return f"{self.database}__owner"

    @property
    def read_write(self) -> str:
        return f"{self.database}__rw"

    @property
    def read_only(self) -> str:
        return f"{self.database}__ro"

    def pair(self, role: str) -> tuple[str, str]:
        """The two logins that alternate for `role` (app, migrator, readonly or the name of an extra role)."""
        return f"{self.database}__{role}_a", f"{self.database}__{role}_b"

    def own_group(self, role: str) -> str:
        """The group of `role` alone, where its privileges differ from those of all others."""
        return f"{self.database}__{role}_grp"


def database_of_owner(role: str) -> str | None:
    """The database whose owner role `role` would be, or None: the inverse of `RoleNames.owner`."""
    database, separator, rest = role.rpartition("__")
    return database if separator and rest == "owner" and database else None


def default_database_name(*, namespace: str, name: str, style: str) -> str:
    """The database name of an object that names none: `orders`, or `shop_orders` where naming is NamespaceName."""
    text = f"{namespace}_{name}" if style == "NamespaceName" else name
    return text.replace("-", "_")


def database_name_fault(database: str, roles: tuple[str, ...]) -> str | None:
    """Why `database` can't be a database's name, as a sentence with what to do; None when it can.

    `roles` are the names of all roles that it would get: they have to fit into 63 bytes, too.
    """
    shown = ascii(database)[1:-1]
    if not _DATABASE_NAME.fullmatch(database):
        return (
            f'database name "{shown}" is not usable: only a-z, 0-9 and _ are, with a letter first; '
            "set spec.databaseName to such a name"
        )
    if "__" in database or database.endswith("_"):
        return f'database name "{shown}" holds "__" or ends in "_"; choose another spec.databaseName'
    if database in _RESERVED_DATABASES or database.startswith(_RESERVED_PREFIXES):
        return f'database name "{shown}" is reserved by PostgreSQL or servicedb; choose another spec.databaseName'
    longest = max((*roles, database + _LONGEST_FIXED_SUFFIX), key=len)
    if len(longest) > NAME_BYTES:
        return (
            f'database name "{shown}" is too long: its role "{longest}" would have {len(longest)} bytes, '
            f"PostgreSQL allows {NAME_BYTES}; choose a spec.databaseName shorter by {len(longest) - NAME_BYTES}"
        )
    return None


def login_name_fault(login: str) -> str | None:
    """Why `login` can't be a fixed login name, as a sentence; None when it can."""
    shown = ascii(login)[1:-1]
    if not _LOGIN_NAME.fullmatch(login) or len(login) > NAME_BYTES:
        return (
            f'loginName "{shown}" is not usable: only a-z, 0-9 and _ are, with a letter first, up to {NAME_BYTES} bytes'
        )
    if "__" in login:
        return f'loginName "{shown}" holds "__", which is kept for the names that servicedb makes; choose another'
    if login in _RESERVED_LOGINS or login.startswith("pg_"):
        return f'loginName "{shown}" is reserved by PostgreSQL or servicedb; choose another'
    return None
