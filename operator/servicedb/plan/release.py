"""When an object counts as gone, and its database is let go. Nothing here trusts an absence that has another cause."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256

from servicedb.api.strings import Percent
from servicedb.plan.marker import Marker

_FEW = 3


@dataclass(frozen=True, slots=True)
class CrdState:
    """The CustomResourceDefinition of ServiceDatabases: while it is not there for good, no object is ever gone."""

    uid: str
    established: bool
    terminating: bool


@dataclass(frozen=True, slots=True)
class LiveObject:
    """The ServiceDatabase that answers to a marker's namespace and name, and what it stands for now.

    `server` is a system identifier, since two DatabaseServers may mean one server; None where it is not known.
    """

    server: str | None
    database: str


@dataclass(frozen=True, slots=True)
class Absence:
    """A database whose object was not found, and since when."""

    database: str
    marker: Marker
    since: datetime


def is_gone(
    database: str,
    marker: Marker,
    *,
    server: str,
    cluster: str,
    crd: CrdState | None,
    namespace_uid: str | None,
    live: LiveObject | None,
    acknowledged: str | None = None,
) -> bool:
    """Whether the object that `marker` names is gone. `live` and `namespace_uid` None mean a Status 404 said so.

    `server` is the system identifier of the server that the database stands on. A marker of an earlier CRD counts only
    once a person has `acknowledged` the CRD that there is now, by its UID.
    """
    if marker.cluster != cluster:
        return False
    if crd is None or not crd.established or crd.terminating or crd.uid not in (marker.crd, acknowledged):
        return False
    if namespace_uid != marker.namespace_uid or live is None:
        return True
    return live.server is not None and (live.server, live.database) != (server, database)


def marker_of_gone(marker: Marker, now: datetime) -> Marker:
    """The marker of a database whose object is gone `now`: with policy Delete the grace begins, else it stays for good.

    The time is written in full: cut down to seconds, the grace would end before it has passed.
    """
    if marker.policy == "Delete":
        return replace(marker, deleted_at=now.isoformat())
    return replace(marker, released=now.isoformat(timespec="seconds"))


@dataclass(frozen=True, slots=True)
class Releases:
    """What to release now, or why nothing is: `held` names the databases, `token` acknowledges them."""

    due: tuple[Absence, ...]
    held: tuple[Absence, ...] = ()
    token: str = ""


def releases(
    absences: Sequence[Absence],
    *,
    total: int,
    max_releases: Percent,
    acknowledged: str | None,
    now: datetime,
    confirmation: timedelta,
) -> Releases:
    """Which absences have been seen at two scans, `confirmation` apart, and may be acted on.

    More than max(3, `max_releases` of `total`) at once are held until `acknowledged` equals the token.
    """
    due = tuple(absence for absence in absences if now - absence.since >= confirmation)
    if len(due) <= max(_FEW, max_releases.of(total)):
        return Releases(due)
    names = "\n".join(f"{absence.database} {absence.marker.uid}" for absence in sorted(due, key=lambda a: a.database))
    token = sha256(names.encode()).hexdigest()[:12]
    return Releases(due, token=token) if acknowledged == token else Releases((), held=due, token=token)
