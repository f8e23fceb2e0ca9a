"""The programs that servicedb's migrations are measured against, and folders as each of them wants them."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from tests.postgres.binaries import bin_directory
from tests.postgres.migrations import PASSWORD, Database


@dataclass(frozen=True, slots=True)
class Migrator:
    """`file` gives the name of a migration's file by its number, `wrap` its text by the SQL."""

    name: str
    file: Callable[[int], str]
    wrap: Callable[[str], str]
    command: Callable[[Path, Database], list[str]]


def write_folder(folder: Path, migrator: Migrator, files: Mapping[int, str]) -> None:
    folder.mkdir()
    for number, text in files.items():
        (folder / migrator.file(number)).write_text(migrator.wrap(text))


def _url(database: Database, scheme: str = "postgres") -> str:
    server, user = database.server, f"{database.name}__migrator"
    return f"{scheme}://{user}:{quote(PASSWORD)}@{server.host}:{server.port}/{database.name}?sslmode=disable"


def _psql(folder: Path, database: Database) -> list[str]:
    """All files in one session, each a transaction by the server's own rules: nobody can be quicker."""
    files = [f"--file={path}" for path in sorted(folder.iterdir())]
    psql = bin_directory(database.server.version) / "psql"
    return [str(psql), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", *files, database.dsn]


PSQL = Migrator("psql -f", lambda number: f"{number:06}_x.sql", lambda text: text, _psql)
GOOSE = Migrator(
    "goose",
    lambda number: f"{number:06}_x.sql",
    lambda text: f"-- +goose Up\n{text}",
    lambda folder, database: [_program("goose"), "-dir", str(folder), "postgres", _url(database), "up"],
)
GOLANG_MIGRATE = Migrator(
    "golang-migrate",
    lambda number: f"{number:06}_x.up.sql",
    lambda text: text,
    lambda folder, database: [
        _program("migrate"), "-path", str(folder), "-database", _url(database, "pgx5"), "up",
    ],
)  # fmt: skip
DBMATE = Migrator(
    "dbmate",
    lambda number: f"{number:06}_x.sql",
    lambda text: f"-- migrate:up\n{text}\n-- migrate:down\n",
    lambda folder, database: [
        _program("dbmate"), "--url", _url(database), "--migrations-dir", str(folder), "--no-dump-schema", "migrate",
    ],
)  # fmt: skip


def _program(name: str) -> str:
    found = shutil.which(name)
    assert found is not None, name
    return found
