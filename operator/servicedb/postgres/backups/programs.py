"""PostgreSQL's own programs, pg_dump and pg_restore: where they are, and how they get to a database.

A password is in the environment of the one process that needs it, and in no argument.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo

from servicedb.errors import Terminal

_DEBIAN = Path("/usr/lib/postgresql")
_ARGUMENTS_ALONE = {"sslpassword", "scram_client_key", "scram_server_key", "oauth_client_secret"}
"""Secrets that libpq reads from no variable. Source: PostgreSQL documentation, "Parameter Key Words"."""

_VERSION = re.compile(r"\(PostgreSQL\) (?P<text>(?P<major>[0-9]+)\S*)")


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder with the programs of one release; `version` is its text, such as 18.4."""

    folder: Path
    major: int
    version: str

    @property
    def pg_dump(self) -> str:
        return str(self.folder / "pg_dump")

    @property
    def pg_restore(self) -> str:
        return str(self.folder / "pg_restore")

    @property
    def psql(self) -> str:
        return str(self.folder / "psql")

    def check_server(self, server_version: int) -> None:
        """Raises Terminal where these are too old for a server of `server_version` (as in server_version_num)."""
        server = server_version // 1_00_00
        if self.major < server:
            raise Terminal(
                "PgDumpTooOld",
                f"{self.pg_dump} is of PostgreSQL {self.version} and can't dump a server of {server}; install the "
                f"client programs of {server} or later, and name their folder with --pg-bin",
            )

    def check_dump(self, dump_version: str) -> None:
        """Raises Terminal where these are too old for what pg_dump of `dump_version` wrote."""
        found = re.match(r"[0-9]+", dump_version)
        if found is None or self.major < int(found.group()):
            raise Terminal(
                "PgRestoreTooOld",
                f"the backup was made by pg_dump {dump_version}, and {self.pg_restore} is of {self.version}; "
                "install newer client programs, and name their folder with --pg-bin",
            )


def programs(folder: Path | None = None) -> Programs:
    """Those in `folder`; None: the newest that are in Debian's folders or on the PATH. Raises Terminal."""
    if folder is not None:
        return _programs(folder)
    debian = sorted(_DEBIAN.glob("*/bin"), key=lambda path: _number(path.parent.name), reverse=True)
    path = [Path(one) for one in os.environ.get("PATH", "").split(os.pathsep) if one]
    for candidate in (*debian, *path):
        if (candidate / "pg_dump").is_file() and (candidate / "pg_restore").is_file():
            return _programs(candidate)
    raise Terminal(
        "NoPgDump", "pg_dump and pg_restore are not here; install PostgreSQL's client programs, or name --pg-bin"
    )


def _number(text: str) -> int:
    return int(text) if text.isdigit() else 0


def _programs(folder: Path) -> Programs:
    try:
        done = subprocess.run(  # noqa: S603 - a folder that the caller names
            [folder / "pg_dump", "--version"], capture_output=True, text=True, check=False, env={"LC_ALL": "C"}
        )
    except OSError as error:
        raise Terminal("NoPgDump", f"{folder / 'pg_dump'} can't be run: {error.strerror}") from error
    found = _VERSION.search(done.stdout)
    if found is None:
        raise Terminal("NoPgDump", f"{folder / 'pg_dump'} does not say which version it is")
    return Programs(folder, int(found["major"]), found["text"])


@dataclass(frozen=True, slots=True)
class Access:
    """What a program needs to get to a database: variables, and a connection string without secrets."""

    environment: Mapping[str, str]
    dsn: str


def access(dsn: str, *, application: str) -> Access:
    """The way that the connection string `dsn` says. Raises Terminal where it can't be read.

    Source: PostgreSQL documentation, "Environment Variables" of libpq.
    """
    variables = {one.keyword.decode(): one.envvar.decode() for one in Conninfo.get_defaults() if one.envvar}
    try:
        given = {one.keyword.decode(): one.val.decode() for one in Conninfo.parse(dsn.encode()) if one.val is not None}
    except psycopg.OperationalError as error:
        raise Terminal(
            "BadConnection", "the connection string can't be read; is it a URI or key=value pairs?"
        ) from error
    if secret := sorted(_ARGUMENTS_ALONE & given.keys()):
        raise Terminal(
            "BadConnection",
            f"the connection string has {', '.join(secret)}, which PostgreSQL's programs take as an argument alone, "
            "where every process on the machine can read it; use another way to log in",
        )
    given["application_name"] = application
    environment = {variables[name]: value for name, value in given.items() if name in variables}
    others = {name: value for name, value in given.items() if name not in variables}
    return Access({**_inherited(), **environment}, make_conninfo("", **others))


def _inherited() -> dict[str, str]:
    """What a program gets from us: no variables of libpq's, whose words are then read in English."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**kept, "LC_ALL": "C"}
