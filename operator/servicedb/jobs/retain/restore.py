"""Rows back from archives, into a table beside the one that they came from.

All of it is one transaction: either every row that is asked for stands in the side table, or there is none.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pyrage import x25519

from servicedb.api.common import Unreadable
from servicedb.errors import Problem, Terminal
from servicedb.jobs.encoding import Damaged, WrongKey, checked, decompressed, decrypting, identities
from servicedb.jobs.outcome import Outcome
from servicedb.jobs.progress import SILENT, Progress
from servicedb.plan.retention.keys import is_compressed, is_encrypted, is_manifest_of, manifest_key
from servicedb.plan.retention.ledger import Archive
from servicedb.plan.retention.manifest import read
from servicedb.plan.retention.rule import Name
from servicedb.postgres.backups.session import Way
from servicedb.postgres.retention import ledger
from servicedb.postgres.retention.session import Sessions, translated
from servicedb.postgres.retention.side import SideTable
from servicedb.store.interface import Store
from servicedb.store.problems import NoSuchObject


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Rows of table `name` whose time is not before `low` and before `high` (None: without a bound), to table `into`.

    `identity` is a file with an age identity, where archives are encrypted. `unlisted`: archives count, too, that lie
    in the store and that the ledger does not name.
    """

    name: Name
    into: Name
    low: datetime | None = None
    high: datetime | None = None
    identity: Path | None = None
    unlisted: bool = False
    wait: float | None = None


@dataclass(slots=True, kw_only=True)
class Result(Outcome):
    action: str = "retain restore"
    table: str = ""
    into: str = ""
    archives: int = 0
    rows: int = 0


def restore(request: Request, way: Way, store: Store, progress: Progress = SILENT) -> Result:
    """Bring rows back. Never raises a Problem: the result holds it."""
    result = Result(table=str(request.name), into=str(request.into))
    try:
        keys = identities(request.identity) if request.identity is not None else []
        with Sessions.open(way, None, wait=request.wait, tell=progress.tell) as sessions:
            _restore(request, sessions, store, keys, progress, result)
    except Problem as problem:
        result.failed_with(problem)
    return result


def _restore(
    request: Request,
    sessions: Sessions,
    store: Store,
    keys: Sequence[x25519.Identity],
    progress: Progress,
    result: Result,
) -> None:
    connection = sessions.work
    with translated():
        known = ledger.archives(connection, request.name) if ledger.exists(connection) else []
    if request.unlisted:
        known += _unlisted(store, request.name, {one.key for one in known}, progress)
    if not known:
        raise Terminal("NothingArchived", f"no archive of table {request.name} is known in this database")
    side = SideTable(connection, request.into, low=request.low, high=request.high)
    with translated(), connection.transaction():
        touched = [one for one in known if side.touches(one)]
        side.make(touched)
        for one in touched:
            loaded = side.load(one, _rows(store, one, keys))
            progress.tell(f"{one.key}: {loaded} rows")
            if loaded != one.rows:
                raise Terminal(
                    "RestoredDiffers",
                    f"{loaded} rows came out of archive {one.key}, which holds {one.rows}; nothing was restored",
                )
            result.archives += 1
        result.rows = side.count()
        if result.archives == 0:
            raise Terminal("NothingArchived", f"no archive of table {request.name} holds rows of that time")


def _unlisted(store: Store, name: Name, listed: set[str], progress: Progress) -> list[Archive]:
    """The archives of table `name` in the store that are not `listed`, by what stands beside them, oldest first."""
    found = []
    for key in sorted(one.key for one in store.list("") if is_manifest_of(one.key, name)):
        try:
            of, archive = read(b"".join(store.read(key)), key)
        except Unreadable as error:
            progress.tell(f"left out: {error}")
            continue
        if of == name and manifest_key(archive.key) == key and archive.key not in listed:
            found.append(archive)
    return sorted(found, key=lambda one: one.key.rpartition("/")[2])


def _rows(store: Store, archive: Archive, keys: Sequence[x25519.Identity]) -> Iterator[bytes]:
    """What COPY wrote. Raises Terminal where that is not what comes."""
    if is_encrypted(archive.key) and not keys:
        raise Terminal("NoIdentity", f"archive {archive.key} is encrypted; name the age identity with --identity")
    raw = hashlib.sha256()
    try:
        chunks = checked(store.read(archive.key), archive.size_bytes, archive.sha256)
        if is_encrypted(archive.key):
            chunks = decrypting(chunks, keys)
        if is_compressed(archive.key):
            chunks = decompressed(chunks)
        for chunk in chunks:
            raw.update(chunk)
            yield chunk
        if f"sha256:{raw.hexdigest()}" != archive.raw_sha256:
            raise Damaged
    except NoSuchObject as missing:
        raise Terminal("ArchiveMissing", f"{missing}; name another place with --store") from missing
    except WrongKey:
        raise Terminal("WrongKey", f"none of the age identities opens archive {archive.key}") from None
    except Damaged:
        raise Terminal(
            "ArchiveDamaged",
            f"archive {archive.key} in {store.location} is not what was stored: it was cut or altered since; name "
            "another place with --store",
        ) from None
