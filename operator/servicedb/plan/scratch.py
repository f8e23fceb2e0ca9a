"""Scratch databases: each for one Job that restores a backup on trial, and gone with it.

To the server such a database is one like all others: closed until it is made whole, with an owner role that nobody logs
in as, and a login that is no superuser, so that nothing that a backup holds can reach beyond it. It differs in whom it
is for: its marker names a Job in place of an object.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from servicedb.errors import Retryable, Terminal
from servicedb.naming import SCRATCH_PREFIX, RoleNames
from servicedb.plan.marker import Marker
from servicedb.plan.wanted import Access, Login, Wanted, WantedExtension

TIME_TO_COME = timedelta(minutes=15)
"""How long a scratch database is kept for a Job that is not there."""

_HASH = 16
_LOGIN = "run"
_UNIT = 1024


@dataclass(frozen=True, slots=True)
class Scratch:
    """What the Job `job` in `namespace` needs on the DatabaseServer `server`.

    `extensions` are made beforehand, into the schema `extensions` if they name no other; the backup holds
    `expected_bytes`, and scratch databases may take `max_bytes` on that server together (None: any).
    """

    server: str
    namespace: str
    job: str
    extensions: tuple[WantedExtension, ...] = ()
    schemas: tuple[str, ...] = ("public",)
    expected_bytes: int = 0
    max_bytes: int | None = None

    @property
    def secret_name(self) -> str:
        """The Secret with the credentials of the Job's login."""
        return f"{self.job}-scratch"


def scratch_database(cluster: str, namespace: str, job: str) -> str:
    """The name of the Job's database: no two Jobs of any cluster have the same, and no object can ask for it."""
    digest = hashlib.sha256("\n".join((cluster, namespace, job)).encode()).hexdigest()
    return f"{SCRATCH_PREFIX}{digest[:_HASH]}"


def wanted_scratch(
    scratch: Scratch, database: str, marker: Marker, *, now: datetime, untrusted_allowed: frozenset[str]
) -> Wanted:
    """The database as it is to be. `marker` says whose namespace it is; a drop of it waits for nothing."""
    names = RoleNames(database)
    login = Login(_LOGIN, names.pair(_LOGIN), Access.OWNER, names.owner, scratch.secret_name)
    of_job = replace(marker, policy="Delete", grace="0s", job=scratch.job, since=marker.since or now.isoformat())
    return Wanted(
        database,
        names,
        (login,),
        of_job,
        schemas=tuple(dict.fromkeys((*scratch.schemas, "public"))),
        extensions=scratch.extensions,
        untrusted_allowed=untrusted_allowed,
    )


def is_forgotten(marker: Marker, now: datetime) -> bool:
    """Whether the Job that a scratch database was made for would be there by now; so, too, where the time can't be
    read."""
    try:
        since = datetime.fromisoformat(marker.since or "")
    except ValueError:
        return True
    return since.tzinfo is None or now - since > TIME_TO_COME


def check_fits(scratch: Scratch, taken_bytes: int) -> None:
    """Raise Terminal where the backup is larger than it may be, Retryable while others on trial take the place."""
    if scratch.max_bytes is None:
        return
    if scratch.expected_bytes > scratch.max_bytes:
        raise Terminal(
            "BackupTooLarge",
            f"the backup holds {_size(scratch.expected_bytes)}, and a verification on server "
            f'"{scratch.server}" may take {_size(scratch.max_bytes)}; raise spec.verify.maxSize, or name a server with '
            "more room in spec.verify.serverRef",
        )
    if scratch.expected_bytes + taken_bytes > scratch.max_bytes:
        raise Retryable(
            "ScratchSpaceTaken",
            f'scratch databases on server "{scratch.server}" take {_size(taken_bytes)} now, and '
            f"{_size(scratch.expected_bytes)} more would be over the {_size(scratch.max_bytes)} of "
            "spec.verify.maxSize; the verification waits for them to go",
        )


def _size(count: int) -> str:
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < _UNIT:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= _UNIT
    return f"{size:.1f} TiB"
