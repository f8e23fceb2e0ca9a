"""The way to the database, from a mounted Secret: read anew each time, since a rotation may come in between."""

from pathlib import Path

from servicedb.errors import Retryable
from servicedb.postgres.connections import system_roots
from servicedb.postgres.migrations.session import Mounted

_KEYS = ("host", "port", "dbname", "user", "password", "sslmode")
"""Of the Secrets that servicedb makes; libpq calls them the same."""

_NEEDED = ("host", "user", "password")


def from_folder(folder: Path) -> Mounted:
    """Gives the connection string that the files of `folder` say just now. It raises Retryable where one is missing."""

    def read() -> str:
        missing = [key for key in _NEEDED if not (folder / key).is_file()]
        if missing:
            raise Retryable("SecretMissing", f"{folder} holds no {', '.join(missing)}: is the Secret mounted there?")
        values = {key: (folder / key).read_text().strip("\n") for key in _KEYS if (folder / key).is_file()}
        if values.get("sslmode", "").startswith("verify-"):
            authority = folder / "ca.crt"
            values["sslrootcert"] = str(authority) if authority.is_file() else system_roots()
        return " ".join(f"{key}={_quoted(value)}" for key, value in values.items())

    return Mounted(read)


def _quoted(value: str) -> str:
    """Source: PostgreSQL documentation, "Keyword/Value Connection Strings"."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
