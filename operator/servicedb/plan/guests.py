"""Logins that a database gets for an object of another kind: for backups, and for a restore.

They are logins like those of spec.roles, in all that is done for them: made, proved, rotated, dropped. What differs is
who asks for them, and that a restore has the database to itself.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

from servicedb.errors import Terminal
from servicedb.naming import RoleNames
from servicedb.plan.wanted import BACKUP, RESTORE, Access, Login, works_as

_LONGEST_NAME = 253
_HASH = 10

_READ_ONLY = {"default_transaction_read_only": "on"}
_READS_LARGE_OBJECTS = {"lo_compat_privileges": "on"}


@dataclass(frozen=True, slots=True)
class Guests:
    """`reads`: how the login for backups reads, None while nobody backs the database up. `restore`: the UID of the
    DatabaseRestore that has the database to itself."""

    reads: Access | None = None
    restore: str | None = None


NOBODY = Guests()


def guest_logins(names: RoleNames, object_name: str, guests: Guests, taken: Collection[str]) -> tuple[Login, ...]:
    """The logins that `guests` need for the ServiceDatabase `object_name`, whose spec.roles have `taken` Secrets.

    Raises Terminal where a Secret is taken.
    """
    logins = []
    if guests.reads is not None:
        parameters = _READ_ONLY | (_READS_LARGE_OBJECTS if guests.reads is Access.ALL_DATA else {})
        logins.append(
            Login(
                BACKUP,
                names.pair(BACKUP),
                guests.reads,
                works_as(names, guests.reads),
                secret_name(object_name, BACKUP),
                parameters=parameters,
            )
        )
    if guests.restore is not None:
        logins.append(
            Login(
                RESTORE,
                names.pair(RESTORE),
                Access.OWNER,
                names.owner,
                secret_name(object_name, RESTORE),
                asked_by=guests.restore,
            )
        )
    for login in logins:
        if login.secret_name in taken:
            raise Terminal(
                "SecretConflict",
                f'Secret "{login.secret_name}" is named in spec.roles, and is the one of the login that servicedb '
                f"makes for a {login.role}; choose another secretName",
                condition="CredentialsReady",
            )
    return tuple(logins)


def secret_name(object_name: str, role: str) -> str:
    """The Secret of the login `role` of the ServiceDatabase `object_name`."""
    name = f"{object_name}-{role}"
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(object_name.encode()).hexdigest()[:_HASH]
    kept = object_name[: _LONGEST_NAME - len(role) - _HASH - 2].rstrip(".-")
    return f"{kept}-{digest}-{role}"
