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
from tests.postgres.retained import Retained, policy, retained, written
from tests.postgres.server import Server

MOMENTS = 24
"""No fewer than there are: a test says so."""
RULE = "table: public.events, column: at, deleteAfter: 180d, batchRows: 100"
POLICY = written(RULE, limits="{batchTarget: 1ms}")
COLUMNS = "id, kind"
FIRST_MOMENTS = 38
FIRST = written(RULE.replace("deleteAfter", "archiveAfter: 100d, deleteAfter"), limits="{batchTarget: 1ms}")
PARTITIONS_MOMENTS = 42
PARTITIONS = written("table: public.metrics, column: ts, partition: {interval: Year, premake: 1}, deleteAfter: 90d")
METRICS = """
DROP TABLE IF EXISTS metrics, metrics_2020, metrics_2021;
CREATE TABLE metrics (ts timestamptz NOT NULL, value int) PARTITION BY RANGE (ts);
CREATE TABLE metrics_2020 PARTITION OF metrics FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2021-01-01 00:00+00');
CREATE TABLE metrics_2021 PARTITION OF metrics FOR VALUES FROM ('2021-01-01 00:00+00') TO ('2022-01-01 00:00+00');
INSERT INTO metrics SELECT '2020-01-01 00:00+00'::timestamptz + g * interval '1 day', g FROM generate_series(0, 700) g;
GRANT SELECT, UPDATE, DELETE ON metrics TO {login}
"""


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
        made.retained(policy(f"{RULE}, archive: false"))  # makes the ledger
        yield made


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("archive")


def ways(database: Retained) -> tuple[str, str, str]:
    return database.dsn("retain"), database.dsn("partition"), f"{database.name}__owner"


def emptied(database: Retained) -> None:
    """Of rows and of what is known of them."""
    database.execute("TRUNCATE events")
    database.execute("TRUNCATE servicedb_retention.runs, servicedb_retention.entries")


def test_every_moment_is_among_those_that_are_tried(database, root, tmp_path):
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


def made_metrics(database: Retained) -> None:
    emptied(database)
    names = database.rows("SELECT relname FROM pg_class WHERE relname LIKE 'metrics%' AND relkind = 'r'")
    database.execute("".join(f"DROP TABLE IF EXISTS {name} CASCADE;" for (name,) in names))
    database.as_owner(METRICS.replace("{login}", f'"{database.name}__retain"'))


def test_every_moment_of_partitions_is_among_those_that_are_tried(database, root, tmp_path):
    made_metrics(database)
    process = killed_at("counted", PARTITIONS, ways(database), root, 0, tmp_path / "count")
    assert process.exitcode == 0
    assert PARTITIONS_MOMENTS - 5 < json.loads((tmp_path / "count").read_text()) <= PARTITIONS_MOMENTS


@pytest.mark.parametrize("moment", range(1, PARTITIONS_MOMENTS + 1, 2))
def test_partitions_that_are_killed_over_are_archived_once_and_gone(database, root, moment):
    made_metrics(database)
    before = sorted(database.left("ts, value", "metrics"))
    process = killed_at("killed", PARTITIONS, ways(database), root, moment)
    again = killed_at("killed", PARTITIONS, ways(database), root, 0)
    assert process.exitcode == -signal.SIGKILL or (process.exitcode == 0 and moment > PARTITIONS_MOMENTS - 5)
    assert again.exitcode == 0
    assert sorted(database.archived(root, "ts, value", "metrics")) == before
    names = database.rows("SELECT relname FROM pg_class WHERE relname LIKE 'metrics_%' AND relkind = 'r' ORDER BY 1")
    assert [name[:10] for (name,) in names] == ["metrics_p2"] * 2


def test_every_moment_of_archiving_first_is_among_those_that_are_tried(database, root, tmp_path):
    emptied(database)
    database.execute("INSERT INTO events (at) SELECT now() - g * interval '1 day' FROM generate_series(101, 330) g")
    process = killed_at("counted", FIRST, ways(database), root, 0, tmp_path / "count")
    assert process.exitcode == 0
    assert FIRST_MOMENTS - 5 < json.loads((tmp_path / "count").read_text()) <= FIRST_MOMENTS


@pytest.mark.parametrize("moment", range(1, FIRST_MOMENTS + 1, 2))
def test_archiving_first_that_is_killed_anywhere_loses_nothing(database, root, moment):
    emptied(database)
    database.execute(
        "INSERT INTO events (at, kind) SELECT now() - g * interval '1 day', g FROM generate_series(101, 330) g"
    )
    before = {line.split("\t")[0]: line for line in database.left(COLUMNS)}
    process = killed_at("killed", FIRST, ways(database), root, moment)
    assert process.exitcode == -signal.SIGKILL or (process.exitcode == 0 and moment > FIRST_MOMENTS - 5)
    assert killed_at("killed", FIRST, ways(database), root, 0).exitcode == 0
    archived = {line.split("\t")[0]: line for line in database.archived(root, COLUMNS)}
    left = {line.split("\t")[0]: line for line in database.left(COLUMNS)}
    assert archived | left == before
    assert len(left) == 130
