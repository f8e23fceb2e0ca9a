"""Rows to an archive: compressed, encrypted where wanted, in every place, and read back before they count."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from servicedb.errors import Retryable
from servicedb.jobs.backup.stream import Encoding, Failure, Location, Part, Upload
from servicedb.jobs.encoding import Written, encode
from servicedb.jobs.handover import Abandoned
from servicedb.plan.backups.keys import Group
from servicedb.plan.retention.keys import archive_key
from servicedb.plan.retention.rule import Name
from servicedb.postgres.retention.rows import Rows
from servicedb.store.interface import Store


@dataclass(frozen=True, slots=True)
class Stored:
    """An object that stands in every place."""

    key: str
    written: Written


@dataclass(frozen=True, slots=True)
class Archives:
    """Where archives go, and how they are encoded."""

    stores: Sequence[Store]
    encoding: Encoding
    group: Group

    def put(self, name: Name, rows: Rows, at: datetime) -> Stored:
        """Store `rows` of table `name`, and read them back from every place.

        Raises Problems: what is not surely everywhere counts as nowhere.
        """
        key = archive_key(
            self.group,
            name,
            at,
            secrets.token_hex(8),
            compressed=self.encoding.level > 0,
            encrypted=bool(self.encoding.recipients),
        )
        part = Part(name="archive", key=key)
        failure = Failure()
        upload = Upload(part, [Location(store) for store in self.stores], failure)
        try:
            encode(rows, upload.give, level=self.encoding.level, to=self.encoding.recipients, written=part.written)
        except Abandoned:
            upload.fail(Retryable("StoreAway", "the store took no more"))  # it has said why already
            failure.check()
            raise
        except BaseException as error:
            upload.fail(error)
            raise
        upload.end()
        failure.check()
        for store in self.stores:
            check_stored(store, key, part.written.size_bytes, part.written.sha256)
        return Stored(key, part.written)


def check_stored(store: Store, key: str, size_bytes: int, sha256: str) -> None:
    """Read the object back. Raises Retryable where it is not what was written."""
    read = Written()
    for chunk in store.read(key):
        read.add(chunk)
    if (read.size_bytes, read.sha256) != (size_bytes, sha256):
        raise Retryable(
            "ArchiveDiffers",
            f"{store.location} gives {key} back as something else than what was stored; nothing was deleted",
        )
