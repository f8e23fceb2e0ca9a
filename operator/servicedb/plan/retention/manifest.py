"""What stands beside an archive: what the ledger says of it, for the day on which the ledger is not there.

A ledger that came back with an older backup does not know of the archives that were made since.
"""

import json
from dataclasses import asdict, fields
from typing import Any

from servicedb.api.common import Unreadable
from servicedb.plan.retention.ledger import Archive
from servicedb.plan.retention.rule import Name

LONGEST_BYTES = 1 << 20
_FORMAT = 1


def written(name: Name, run: str, archive: Archive) -> bytes:
    """The manifest of an archive of table `name`, as JSON."""
    whole = {"format": _FORMAT, "schema": name.schema, "table": name.table, "run": run, "archive": asdict(archive)}
    return json.dumps(whole, ensure_ascii=False, indent=1).encode()


def read(content: bytes, key: str) -> tuple[Name, Archive]:
    """The table and the archive that a manifest, stored under `key`, speaks of. Raises Unreadable."""
    try:
        whole: dict[str, Any] = json.loads(content)
        given = whole["archive"]
        if whole["format"] != _FORMAT or set(given) != {one.name for one in fields(Archive)}:
            raise ValueError
        given["columns"] = tuple((str(name), str(type_name)) for name, type_name in given["columns"])
        given["key_columns"] = tuple(map(str, given["key_columns"]))
        return Name(str(whole["schema"]), str(whole["table"])), Archive(**given)
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"{key} is no manifest of an archive, or of a newer servicedb") from error
