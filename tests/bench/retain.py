"""Archiving and deleting rows against deleting them alone, and dropping a partition against pg_dump of it.

SERVICEDB_BENCH_ROWS says how many rows go (default a million).
"""

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import quantiles

from tests.bench.report import Row
from tests.postgres.binaries import bin_directory, environment
from tests.postgres.dumped import NEWEST
from tests.postgres.retained import Retained, folder, policy, retained
from tests.postgres.server import Server, session_directory

ROWS = int(os.environ.get("SERVICEDB_BENCH_ROWS", "1000000"))

_FLOOR = 0.4
_BATCH = 5000
_EVENTS = f"""
CREATE TABLE events (id bigint PRIMARY KEY, at timestamptz NOT NULL, kind text, body text);
CREATE INDEX ON events (at);
INSERT INTO events SELECT g, now() - interval '400 days' + g * interval '1 second', 'kind ' || g % 7, md5(g::text)
FROM generate_series(1, {ROWS}) g;
INSERT INTO events SELECT {ROWS} + g, now(), 'kept', '' FROM generate_series(1, 10000) g
"""
_METRICS = f"""
CREATE TABLE metrics (ts timestamptz NOT NULL, kind text, body text) PARTITION BY RANGE (ts);
CREATE TABLE metrics_2020 PARTITION OF metrics FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2021-01-01 00:00+00');
INSERT INTO metrics SELECT '2020-01-01 00:00+00'::timestamptz + g * interval '10 seconds', 'kind ' || g % 7,
md5(g::text) FROM generate_series(1, {ROWS}) g
"""
_RULE = f"table: public.events, column: at, deleteAfter: 180d, batchRows: {_BATCH}"
_PARTITIONS = "table: public.metrics, column: ts, partition: {interval: Month, premake: 1}, deleteAfter: 90d"


def rows() -> Iterator[Row]:
    directory = Path(tempfile.mkdtemp(dir=session_directory()))
    with Server.start_new(NEWEST, directory, settings={"log_statement": "none", "max_wal_size": "8GB"}) as server:
        with retained(server, _EVENTS) as database:
            database.execute("VACUUM ANALYZE events")
            alone = _deleted(database)
        with retained(server, _EVENTS) as database:
            database.execute("VACUUM ANALYZE events")
            quiet = _slowest(database, lambda: time.sleep(2))
            took = 0.0

            def run() -> None:
                nonlocal took
                took = _archived(database, _RULE)

            busy = _slowest(database, run)
        case = f"{ROWS} rows: archive and delete against delete alone"
        yield Row("retain", case, ROWS / took, ROWS / alone, "rows/s", "higher", _FLOOR)
        yield Row("retain", "p99 of others' updates during it against none", busy, quiet, "ms", "lower", None)
        with retained(server, _METRICS, ["metrics"]) as database:
            dumped = _dumped(database)
            took = _archived(database, _PARTITIONS)
        yield Row("retain", f"{ROWS} rows: archive and drop against pg_dump", took, dumped, "s", "lower", None)


def _archived(database: Retained, rule: str) -> float:
    with tempfile.TemporaryDirectory(dir=session_directory()) as path:
        begun = time.monotonic()
        result = database.retained(policy(rule), folder(Path(path)))
        took = time.monotonic() - begun
    assert (result.outcome, result.rules[0].deleted_rows) == ("Succeeded", ROWS), result
    return took


def _deleted(database: Retained) -> float:
    """The same rows in batches of the same size, and nothing else."""
    begun = time.monotonic()
    with database.as_superuser() as connection:
        while connection.execute(
            "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE at < now() - interval '180 days' "
            f"ORDER BY at LIMIT {_BATCH} FOR UPDATE SKIP LOCKED)".encode()
        ).rowcount:
            continue
    return time.monotonic() - begun


def _slowest(database: Retained, work: Callable[[], object]) -> float:
    """Milliseconds that 99 of 100 updates of young rows take at most, while `work` goes on."""
    took: list[float] = []
    over = threading.Event()

    def update() -> None:
        with database.as_superuser() as connection:
            while not over.wait(0.002):
                begun = time.monotonic()
                connection.execute("UPDATE events SET kind = 'seen' WHERE id = %s", (ROWS + 1 + len(took) % 10_000,))
                took.append(1000 * (time.monotonic() - begun))

    thread = threading.Thread(target=update)
    thread.start()
    try:
        work()
    finally:
        over.set()
        thread.join()
    return quantiles(took, n=100)[98]


def _dumped(database: Retained) -> float:
    server = database.server
    variables = {
        **environment(),
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": server.superuser.name,
        "PGPASSWORD": server.superuser.password,
        "PGDATABASE": database.name,
    }
    with tempfile.TemporaryDirectory(dir=session_directory()) as path:
        begun = time.monotonic()
        subprocess.run(
            [bin_directory(NEWEST) / "pg_dump", "-Fc", "-Z1", "-t", "metrics_2020", "-f", f"{path}/dump"],
            env=variables,
            check=True,
        )
        return time.monotonic() - begun
