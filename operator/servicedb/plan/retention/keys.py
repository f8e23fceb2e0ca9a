"""Under which keys archives lie in a store, beside backups and never mistaken for one.

<systemIdentifier>-<databaseOid>/retention/<schema>.<table>/<time>-<random>.copy.zst      encrypted ones end in .age
"""

import re
from datetime import UTC, datetime

from servicedb.plan.backups.keys import Group
from servicedb.plan.retention.rule import Name

_LONGEST_NAME = 63


def archive_key(group: Group, name: Name, at: datetime, random: str, *, compressed: bool, encrypted: bool) -> str:
    """The key of an archive that is made `at` that time. `random` are hexadecimal digits: no two are the same."""
    suffix = f"{'.zst' if compressed else ''}{'.age' if encrypted else ''}"
    folder = f"{group.prefix}retention/{_plain(name.schema)}.{_plain(name.table)}"
    return f"{folder}/{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{random}.copy{suffix}"


def is_compressed(key: str) -> bool:
    return key.removesuffix(".age").endswith(".zst")


def is_encrypted(key: str) -> bool:
    return key.endswith(".age")


def _plain(name: str) -> str:
    """For a person who looks into the store: the ledger alone says what is whose."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_LONGEST_NAME]
