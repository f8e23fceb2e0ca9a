"""How long a dump and a restore take, against PostgreSQL's own programs, and in how much memory.

SERVICEDB_BENCH_MEGABYTES says how large the database is (default 1000), SERVICEDB_BENCH_TABLES how many small tables
the other one has (default 3000).
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pyrage import x25519

from tests.bench.report import Row
from tests.postgres.binaries import bin_directory, environment
from tests.postgres.dumped import NEWEST, Database
from tests.postgres.server import Server, session_directory

MEGABYTES = int(os.environ.get("SERVICEDB_BENCH_MEGABYTES", "1000"))
TABLES = int(os.environ.get("SERVICEDB_BENCH_TABLES", "3000"))

_FOUR_TABLES = 4
_ROW_BYTES = 130


def rows() -> Iterator[Row]:
    """One after the other, on a server of the newest version."""
    folder = Path(tempfile.mkdtemp(dir=session_directory()))
    settings = {"max_locks_per_transaction": "256", "log_statement": "none", "max_wal_size": "8GB"}
    directory = Path(tempfile.mkdtemp(dir=session_directory()))
    with Server.start_new(NEWEST, directory, settings=settings) as server:
        yield from _against_others(_large(server), folder, f"{MEGABYTES} MB")
        yield from _against_others(_many(server), folder, f"{TABLES} tables")


def _large(server: Server) -> Database:
    database = Database.new(server)
    rows_of_each = MEGABYTES * 1_000_000 // _FOUR_TABLES // _ROW_BYTES
    for number in range(_FOUR_TABLES):
        database.as_owner(
            f"CREATE TABLE t{number} (id bigint PRIMARY KEY, word text, n numeric, at timestamptz);"
            f"INSERT INTO t{number} SELECT g, md5(g::text) || repeat('x', g % 40), g * 1.1, now() "
            f"FROM generate_series(1, {rows_of_each}) g"
        )
    database.execute("VACUUM ANALYZE")
    return database


def _many(server: Server) -> Database:
    database = Database.new(server)
    with database.as_superuser() as connection:
        connection.execute(f'SET ROLE "{database.name}__owner"'.encode())
        for number in range(TABLES):
            connection.execute(f"CREATE TABLE t{number} AS SELECT {number} AS id".encode())
    return database


def _against_others(database: Database, folder: Path, what: str) -> Iterator[Row]:
    programs = bin_directory(NEWEST)
    variables = {
        **environment(),
        "PGHOST": database.server.host,
        "PGPORT": str(database.server.port),
        "PGUSER": database.server.superuser.name,
        "PGPASSWORD": database.server.superuser.password,
        "PGDATABASE": database.name,
    }
    copies = " & ".join(
        f"{programs}/psql -q -c 'COPY t{first} TO STDOUT' -c 'COPY t{first + 1} TO STDOUT' >/dev/null"
        for first in (0, 2)
    )
    others = {
        "pg_dump -Fd -j2 -Z1": f"{programs}/pg_dump -Fd -j2 -Z1 -f {folder}/two",
        "two COPY streams to nothing": f"{copies} & wait",
    }
    if shutil.which("zstd"):
        others["pg_dump -Fc -Z0 | zstd -1"] = f"{programs}/pg_dump -Fc -Z0 | zstd -1 -q > {folder}/one.zst"
    took = {name: _run(["bash", "-o", "pipefail", "-c", line], variables)[0] for name, line in others.items()}
    plain, megabytes, restored = _there_and_back(database, folder)
    for name, seconds in took.items():
        yield Row("dump", f"{what}: dump against {name}", plain, seconds, "s", "lower", None)
    encrypted, _, _ = _there_and_back(database, folder, encrypted=True)
    yield Row("dump", f"{what}: dump with age against without", encrypted, plain, "s", "lower", None)
    yield Row("dump", f"{what}: memory of a dump against 256 MB", megabytes, 256, "MB", "lower", 1)
    target = Database.new(database.server)
    line = f"{programs}/pg_restore -j2 -n public --no-owner --no-acl -d {target.name} {folder}/two"
    seconds, _ = _run(["bash", "-c", line], variables)
    target.drop()
    shutil.rmtree(folder / "two")
    yield Row("dump", f"{what}: restore against pg_restore -j2", restored, seconds, "s", "lower", None)


def _there_and_back(database: Database, folder: Path, *, encrypted: bool = False) -> tuple[float, float, float]:
    """Seconds and megabytes of a backup, and seconds of its restore, which counts and compares all rows."""
    identity = x25519.Identity.generate()
    (folder / "identity").write_text(str(identity))
    store = folder / "store"
    store.mkdir()
    options = ["--recipient", str(identity.to_public())] if encrypted else []
    line = _servicedb("backup", store, *options)
    dumped, megabytes = _run(line, {**os.environ, "SERVICEDB_DSN": database.dsn("backup_a")})
    (manifest,) = store.rglob("manifest.json")
    target = Database.new(database.server)
    known = ["--key", str(manifest.relative_to(store)), "--identity", str(folder / "identity")]
    line = _servicedb("restore", store, *known, "--as-role", f"{target.name}__owner")
    restored, _ = _run(line, {**os.environ, "SERVICEDB_DSN": target.dsn("restore")})
    target.drop()
    shutil.rmtree(store)
    return dumped, megabytes, restored


def _servicedb(verb: str, store: Path, *options: str) -> list[str]:
    programs = str(bin_directory(NEWEST))
    return [sys.executable, "-m", "servicedb", verb, "--store", f"file://{store}", "--pg-bin", programs, *options]


def _run(line: Sequence[str], variables: Mapping[str, str]) -> tuple[float, float]:
    """Seconds, and megabytes of the process itself at most."""
    begun = time.monotonic()
    with subprocess.Popen(line, env=dict(variables), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{line[0]} ended with {process.returncode}: {said.decode(errors='replace')[-500:]}")
    return time.monotonic() - begun, used.ru_maxrss / 1000
