"""Migrations against what teams come from: goose, golang-migrate, dbmate and psql, on the same server in one run.

All are programs that are started for a run. How long `servicedb` takes to start and to connect is measured by itself,
and taken off where a limit is about the work beyond it.
"""

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.migrators import DBMATE, GOLANG_MIGRATE, GOOSE, PSQL, Migrator, write_folder
from tests.bench.report import Row
from tests.postgres.migrations import Database
from tests.postgres.server import Server, session_directory

_SMALL = (100, 1_000)
_HISTORIES = (1_000, 10_000)
_DATA_ROWS, _DATA_WIDTH = 400_000, 256
"""About 100 MB."""
_TENANTS = 200
_TURNS = 3
_MILLISECONDS_A_MIGRATION = 3.0
_MILLISECONDS_OF_A_NO_OP = 50.0
_NO_OP_AGAINST_ITS_FLOOR = 5.0
_HEAVY = 1.1


def rows() -> Iterator[Row]:
    with (
        Server.start_new(18, session_directory() / f"bench-{time.monotonic_ns()}") as server,
        TemporaryDirectory(prefix="servicedb-bench-") as directory,
    ):
        bench = _Bench(server, Path(directory))
        start = bench.fastest(bench.start)
        yield Row("migrate", "starting servicedb, without a database", start, start, "s", "lower", None)
        for count in _SMALL:
            yield from bench.small(count, start)
        for count in _HISTORIES:
            yield from bench.no_op(count, start)
        yield bench.heavy(start)
        yield from bench.tenants()


class _Bench:
    def __init__(self, server: Server, directory: Path) -> None:
        self._server = server
        self._directory = directory

    def fastest(self, once: Callable[[], float]) -> float:
        return min(once() for _ in range(_TURNS))

    def start(self) -> float:
        return _seconds([sys.executable, "-m", "servicedb", "migrate", "up", "--help"])

    def small(self, count: int, start: float) -> Iterator[Row]:
        """Tables and columns: each migration is quick, so what a tool does around it is seen."""
        files = {number: _small(number) for number in range(1, count + 1)}
        taken = {migrator.name: self._on_empty(migrator, files) for migrator in (PSQL, GOOSE, GOLANG_MIGRATE, DBMATE)}
        ours = self._on_empty(None, files)
        for name, seconds in taken.items():
            yield Row("migrate", f"{count} small migrations, against {name}", ours, seconds, "s", "lower", None)
        beyond = (ours - start - taken[PSQL.name]) * 1000 / count
        case = f"{count} small migrations: each, beyond start and psql's time"
        yield Row("migrate", case, beyond, _MILLISECONDS_A_MIGRATION, "ms", "lower", 1.0)

    def no_op(self, count: int, start: float) -> Iterator[Row]:
        """Nothing to do: what every restart of a deployment pays."""
        files = dict.fromkeys(range(1, count + 1), "SELECT 1;\n")
        taken = {migrator.name: self._again(migrator, files) for migrator in (GOOSE, GOLANG_MIGRATE, DBMATE)}
        ours = self._again(None, files)
        for name, seconds in taken.items():
            yield Row("migrate", f"nothing to do at {count}, against {name}", ours, seconds, "s", "lower", None)
        case = f"nothing to do at {count}, beyond start"
        yield Row("migrate", case, (ours - start) * 1000, _MILLISECONDS_OF_A_NO_OP, "ms", "lower", None)
        floor = self.fastest(lambda: self._floor(files)) * 1000
        limit = _NO_OP_AGAINST_ITS_FLOOR if count == max(_HISTORIES) else None
        case = f"nothing to do at {count}, beyond start, against reading and hashing its files"
        yield Row("migrate", case, (ours - start) * 1000, floor, "ms", "lower", limit)

    def heavy(self, start: float) -> Row:
        """The SQL takes the time: what is around it must not be felt."""
        line = "\t" + "x" * _DATA_WIDTH + "\n"
        data = "".join(f"{number}{line}" for number in range(_DATA_ROWS))
        text = f"CREATE TABLE measured (id bigint, content text);\nCOPY measured FROM STDIN;\n{data}\\.\n"
        ours, theirs = [], []
        for _ in range(_TURNS):
            theirs.append(self._once(PSQL, {1: text}))
            ours.append(self._once(None, {1: text}) - start)
        size = f"{len(text) / 1e6:.0f} MB of COPY"
        return Row("migrate", f"{size} beyond start, against psql -f", min(ours), min(theirs), "s", "lower", _HEAVY)

    def tenants(self) -> Iterator[Row]:
        files = {number: _small(number) for number in range(1, 6)}
        folder = self._folder(None, files)
        taken = {}
        for parallel in (1, 4):
            database = Database.new(self._server)
            names = [f"--tenant=tenant_{number}" for number in range(_TENANTS)]
            options = (*names, "--create-tenants", f"--parallel={parallel}")
            taken[parallel] = _seconds(_ours(folder, database, *options))
            database.drop()
        case = f"{_TENANTS} tenants of {len(files)} migrations, 4 at a time against 1"
        yield Row("migrate", case, taken[4], taken[1], "s", "lower", None)

    def _on_empty(self, migrator: Migrator | None, files: dict[int, str]) -> float:
        return self.fastest(lambda: self._once(migrator, files))

    def _once(self, migrator: Migrator | None, files: dict[int, str]) -> float:
        folder, database = self._folder(migrator, files), Database.new(self._server)
        try:
            return _seconds(self._command(migrator, folder, database))
        finally:
            database.drop()

    def _again(self, migrator: Migrator | None, files: dict[int, str]) -> float:
        folder, database = self._folder(migrator, files), Database.new(self._server)
        try:
            _seconds(self._command(migrator, folder, database))
            return self.fastest(lambda: _seconds(self._command(migrator, folder, database)))
        finally:
            database.drop()

    def _floor(self, files: dict[int, str]) -> float:
        """Seconds to read and hash the files, and nothing else: what no run can spare."""
        folder = self._folder(None, files)
        started = time.monotonic()
        with os.scandir(folder) as entries:
            for entry in entries:
                with open(entry.path, "rb", buffering=0) as file:  # noqa: PTH123 - Path takes as long again
                    hashlib.sha256(file.read()).hexdigest()
        return time.monotonic() - started

    def _command(self, migrator: Migrator | None, folder: Path, database: Database) -> list[str]:
        return _ours(folder, database) if migrator is None else migrator.command(folder, database)

    def _folder(self, migrator: Migrator | None, files: dict[int, str]) -> Path:
        folder = self._directory / f"{time.monotonic_ns()}"
        write_folder(folder, GOLANG_MIGRATE if migrator is None else migrator, files)
        return folder


def _ours(folder: Path, database: Database, *options: str) -> list[str]:
    return [
        sys.executable, "-m", "servicedb", "migrate", "up", f"--dir={folder}", f"--dsn={database.dsn}", *options,
    ]  # fmt: skip


def _small(number: int) -> str:
    return (
        f"CREATE TABLE small_{number} (id bigint PRIMARY KEY, name text NOT NULL);\n"
        f"ALTER TABLE small_{number} ADD COLUMN made_at timestamptz DEFAULT now();\n"
    )


def _seconds(command: list[str]) -> float:
    started = time.monotonic()
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    taken = time.monotonic() - started
    if ended.returncode:
        raise RuntimeError(f"{Path(command[0]).name} ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return taken
