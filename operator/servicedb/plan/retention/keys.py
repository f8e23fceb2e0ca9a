"""Under which keys archives lie in a store, beside backups and never mistaken for one.

<systemIdentifier>-<databaseOid>/retention/<schema>.<table>/<time>-<random>.copy.zst      encrypted ones end in .age
                                                            <time>-<random>.copy.zst.json what is known of it
"""

import re
from datetime import UTC, datetime

from servicedb.plan.backups.keys import Group
from servicedb.plan.retention.rule import Name

_LONGEST_NAME = 63
_MANIFEST = ".json"


def archive_key(group: Group, name: Name, at: datetime, random: str, *, compressed: bool, encrypted: bool) -> str:
    """The key of an archive that is made `at` that time: a later one sorts later. `random` are hexadecimal digits."""
    suffix = f"{'.zst' if compressed else ''}{'.age' if encrypted else ''}"
    folder = f"{group.prefix}retention/{_plain(name.schema)}.{_plain(name.table)}"
    return f"{folder}/{at.astimezone(UTC):%Y%m%dT%H%M%S%fZ}-{random}.copy{suffix}"


def manifest_key(key: str) -> str:
    """Under which key it stands what is known of the archive `key`."""
    return f"{key}{_MANIFEST}"


def is_manifest_of(key: str, name: Name) -> bool:
    """Whether `key` may be that of a manifest of an archive of table `name`, of whatever database."""
    return key.endswith(_MANIFEST) and f"/retention/{_plain(name.schema)}.{_plain(name.table)}/" in key


def is_compressed(key: str) -> bool:
    return key.removesuffix(".age").endswith(".zst")


def is_encrypted(key: str) -> bool:
    return key.endswith(".age")


def _plain(name: str) -> str:
    """For a person who looks into the store: the ledger alone says what is whose."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_LONGEST_NAME]
