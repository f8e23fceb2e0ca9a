"""Logins that a database gets for an object of another kind: for backups, for a restore, for retention.

They are logins like those of spec.roles, in all that is done for them: made, proved, rotated, dropped. What differs is
who asks for them, and that a restore has the database to itself.
"""

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from servicedb.errors import Terminal
from servicedb.naming import RoleNames
from servicedb.plan.wanted import BACKUP, PARTITION, RESTORE, RETAIN, Access, Login, works_as

_LONGEST_NAME = 253
_HASH = 10

_READ_ONLY = {"default_transaction_read_only": "on"}
_READS_LARGE_OBJECTS = {"lo_compat_privileges": "on"}
_DELETES = frozenset({"SELECT", "DELETE"})
"""On whole tables. To lock rows first, UPDATE on one column of the key comes to that (plan/objects.py)."""

Table = tuple[str, str]
"""Schema and name."""


@dataclass(frozen=True, slots=True)
class Guests:
    """`reads`: how the login for backups reads, None while nobody backs the database up. `restore`: the UID of the
    DatabaseRestore that has the database to itself. `retain`: the tables whose rows are archived and deleted, None
    while no RetentionPolicy names the database."""

    reads: Access | None = None
    restore: str | None = None
    retain: frozenset[Table] | None = None


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
    if guests.retain is not None:
        logins += _retention(names, object_name, guests.retain)
    for login in logins:
        if login.secret_name in taken:
            raise Terminal(
                "SecretConflict",
                f'Secret "{login.secret_name}" is named in spec.roles, and is the one of the login that servicedb '
                f"makes as {login.role}; choose another secretName",
                condition="CredentialsReady",
            )
    return tuple(logins)


def _retention(names: RoleNames, object_name: str, tables: frozenset[Table]) -> Iterator[Login]:
    """One that deletes rows of `tables` and nothing else, and one that works as the owner: partitions are an owner's to
    make and to drop."""
    yield Login(
        RETAIN,
        names.pair(RETAIN),
        Access.NAMED_TABLES,
        names.own_group(RETAIN),
        secret_name(object_name, RETAIN),
        overrides=dict.fromkeys(sorted(tables), _DELETES),
    )
    yield Login(PARTITION, names.pair(PARTITION), Access.OWNER, names.owner, secret_name(object_name, PARTITION))


def secret_name(object_name: str, role: str) -> str:
    """The Secret of the login `role` of the ServiceDatabase `object_name`."""
    name = f"{object_name}-{role}"
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(object_name.encode()).hexdigest()[:_HASH]
    kept = object_name[: _LONGEST_NAME - len(role) - _HASH - 2].rstrip(".-")
    return f"{kept}-{digest}-{role}"
