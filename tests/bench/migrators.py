"""The programs that servicedb's migrations are measured against, and folders as each of them wants them."""

import shutil
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from tests.cluster.harness import paths
from tests.cluster.harness.binaries import Program, ensure
from tests.cluster.harness.progress import step
from tests.cluster.harness.run import run
from tests.postgres.binaries import bin_directory
from tests.postgres.migrations import PASSWORD, Database

_GOOSE = Program(
    "goose",
    "about a minute",
    package="github.com/pressly/goose/v3/cmd/goose",
    tags="no_clickhouse no_libsql no_mssql no_mysql no_sqlite3 no_vertica no_ydb",
)
_GOLANG_MIGRATE = Program(
    "golang-migrate", "some seconds", package="github.com/golang-migrate/migrate/v4/cmd/migrate", tags="pgx5"
)
_DBMATE_VERSION = "2.36.0"


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
    lambda folder, database: [str(ensure(_GOOSE)), "-dir", str(folder), "postgres", _url(database), "up"],
)
GOLANG_MIGRATE = Migrator(
    "golang-migrate",
    lambda number: f"{number:06}_x.up.sql",
    lambda text: text,
    lambda folder, database: [
        str(ensure(_GOLANG_MIGRATE)), "-path", str(folder), "-database", _url(database, "pgx5"), "up",
    ],
)  # fmt: skip
DBMATE = Migrator(
    "dbmate",
    lambda number: f"{number:06}_x.sql",
    lambda text: f"-- migrate:up\n{text}\n-- migrate:down\n",
    lambda folder, database: [
        str(_dbmate()), "--url", _url(database), "--migrations-dir", str(folder), "--no-dump-schema", "migrate",
    ],
)  # fmt: skip


def _dbmate() -> Path:
    """From npm, which carries it built: not all that it is made of can be had as Go modules."""
    built = paths.cache() / "bin" / f"dbmate-{_DBMATE_VERSION}" / "dbmate"
    if not built.exists():
        built.parent.mkdir(parents=True, exist_ok=True)
        with step("fetching dbmate from npm"), TemporaryDirectory(dir=built.parent) as directory:
            run("npm", "pack", "--silent", f"--pack-destination={directory}", f"@dbmate/linux-x64@{_DBMATE_VERSION}")
            (archive,) = Path(directory).glob("*.tgz")
            with tarfile.open(archive) as packed, (Path(directory) / "dbmate").open("wb") as file:
                content = packed.extractfile("package/bin/dbmate")
                assert content is not None
                shutil.copyfileobj(content, file)
            Path(file.name).chmod(0o755)
            Path(file.name).rename(built)
    return built
