"""A run that is killed with SIGKILL anywhere, while others write: archive and table together hold every row once."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import psycopg
import pytest

from tests.postgres.killed_retention import killed_at
from tests.postgres.retained import Retained, retained, written
from tests.postgres.server import Server

MOMENTS = 22
"""No fewer than there are: a test says so."""
RULE = "table: public.events, column: at, deleteAfter: 180d, batchRows: 100"
POLICY = written(RULE, limits="{batchTarget: 1ms}")
COLUMNS = "id, kind"


class Writers:
    """Inserts and updates rows of every age, and knows what there has to be: the last of each that was committed."""

    def __init__(self, database: Retained) -> None:
        self._database = database
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.model: dict[int, str] = {}

    def __enter__(self) -> Self:
        with self._database.as_superuser() as connection:
            self._insert(connection, 200)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _insert(self, connection: psycopg.Connection, count: int) -> None:
        rows = connection.execute(
            "INSERT INTO events (at, kind) SELECT now() - g %% 320 * interval '1 day', 'new ' || g "
            "FROM generate_series(100, 100 + %s) g RETURNING id, kind",
            (count,),
        ).fetchall()
        self.model.update(rows)

    def _write(self) -> None:
        turn = 0
        with self._database.as_superuser() as connection:
            while not self._over.wait(0.01):
                turn += 1
                self._insert(connection, 5)
                rows = connection.execute(
                    "UPDATE events SET kind = %s WHERE id IN (SELECT id FROM events ORDER BY random() LIMIT 5) "
                    "RETURNING id, kind",
                    (f"changed {turn}",),
                ).fetchall()
                self.model.update(rows)


@pytest.fixture(scope="module")
def database(servers: Callable[[int], Server]) -> Iterator[Retained]:
    with retained(servers(16)) as made:
        yield made


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive")


def ways(database: Retained) -> tuple[str, str, str]:
    return database.dsn("retain"), database.dsn("partition"), f"{database.name}__owner"


def emptied(database: Retained) -> None:
    """Of rows and of what is known of them."""
    database.execute("TRUNCATE events")
    if database.value("SELECT to_regclass('servicedb_retention.runs') IS NOT NULL"):
        database.execute("TRUNCATE servicedb_retention.runs, servicedb_retention.entries")


def test_every_moment_is_among_those_that_are_tried(database, root, tmp_path):
    killed_at("the first makes the ledger", POLICY, ways(database), root, 0)
    emptied(database)
    database.execute("INSERT INTO events (at) SELECT now() - g * interval '1 day' FROM generate_series(181, 330) g")
    process = killed_at("counted", POLICY, ways(database), root, 0, tmp_path / "count")
    assert process.exitcode == 0
    assert MOMENTS - 5 < json.loads((tmp_path / "count").read_text()) <= MOMENTS


@pytest.mark.parametrize("moment", range(1, MOMENTS + 1))
def test_killed_anywhere_nothing_is_lost_and_nothing_is_twice(database, root, moment):
    emptied(database)
    with Writers(database) as writers:
        process = killed_at("killed", POLICY, ways(database), root, moment)
        again = killed_at("killed", POLICY, ways(database), root, 0)
    assert process.exitcode == -signal.SIGKILL or (process.exitcode == 0 and moment > MOMENTS - 5)
    assert again.exitcode == 0
    rows = database.archived(root, COLUMNS) + database.left(COLUMNS)
    assert sorted(rows) == sorted(f"{key}\t{kind}" for key, kind in writers.model.items())
