"""What a person does in the midst of things, and must not pay for with rows."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psycopg
import pytest
from servicedb.store.folder import FolderStore

from tests.postgres.retained import Retained, folder, policy, retained
from tests.postgres.server import Server
from tests.postgres.test_retention_partitions import COLUMNS, METRICS, RULE, parts

EVENTS = "table: public.events, column: at, deleteAfter: 180d, batchRows: 100"
SLOW = {"limits": "{batchTarget: 1ms}"}


@pytest.fixture
def database(servers: Callable[[int], Server]) -> Iterator[Retained]:
    with retained(servers(16)) as made:
        made.as_owner(
            "INSERT INTO events (at, kind) SELECT now() - g * interval '1 day', g FROM generate_series(0, 400) g"
        )
        yield made


@pytest.fixture
def metrics(servers: Callable[[int], Server]) -> Iterator[Retained]:
    with retained(servers(16), METRICS, ["metrics"]) as made:
        yield made


class Between(FolderStore):
    """A folder with which something happens once, when the second object comes."""

    def __init__(self, root: Path, happens: Callable[[], None]) -> None:
        super().__init__(root)
        self._happens = happens
        self._objects = 0

    def put(self, key: str, chunks: Iterable[bytes], *, expected_bytes: int = 0) -> None:
        super().put(key, chunks, expected_bytes=expected_bytes)
        self._objects += 1
        if self._objects == 1:
            self._happens()


@pytest.mark.parametrize("rule", [EVENTS, EVENTS.replace("deleteAfter", "archiveAfter: 100d, deleteAfter")])
def test_a_column_that_comes_during_a_run_is_in_the_archive_of_every_row_that_goes_after_it(database, tmp_path, rule):
    threads = []

    def alter() -> None:
        import threading

        def work() -> None:
            database.execute("ALTER TABLE events ADD COLUMN precious text DEFAULT 'precious'")

        threads.append(threading.Thread(target=work))
        threads[0].start()  # it waits for the batch, and comes before the next one
        with database.as_superuser() as connection:
            while not connection.execute(
                "SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'ALTER TABLE events%'"
            ).fetchall():
                continue

    result = database.retained(policy(rule, **SLOW), Between(tmp_path, alter))
    threads[0].join()
    assert (result.outcome, result.reason) == ("Retryable", "TableChanged")
    assert database.retained(policy(rule, **SLOW), folder(tmp_path), run="next").outcome == "Succeeded"
    moved = database.rows(
        "SELECT rows, 'precious' = ANY (columns) FROM servicedb_retention.entries WHERE action IN ('Moved', 'Archived')"
    )
    known = sum(rows for rows, precious in moved if precious)
    assert known >= 121


def test_a_foreign_key_that_comes_during_a_run_cascades_nothing(database, tmp_path):
    database.as_owner("CREATE TABLE notes (id int PRIMARY KEY, event bigint)")

    def refer() -> None:
        with (
            database.as_superuser(options="-c lock_timeout=50ms") as connection,
            pytest.raises(psycopg.errors.LockNotAvailable),
        ):
            connection.execute("ALTER TABLE notes ADD FOREIGN KEY (event) REFERENCES events ON DELETE CASCADE")

    assert database.retained(policy(EVENTS, **SLOW), Between(tmp_path, refer)).outcome == "Succeeded"


def test_a_copy_of_a_database_leaves_the_archives_of_the_original_alone(database, tmp_path):
    database.retained(policy(EVENTS), folder(tmp_path))
    database.execute(
        "UPDATE servicedb_retention.entries SET key = '7-7' || substr(key, strpos(key, '/')) WHERE key <> ''"
    )
    (original,) = database.rows("SELECT key FROM servicedb_retention.entries WHERE key <> '' LIMIT 1")
    folder(tmp_path).put(original[0], [b"precious"])
    result = database.retained(policy(f"{EVENTS}, dropArchiveAfter: 181d"), folder(tmp_path), run="copy")
    assert (result.outcome, result.totals.archives_dropped) == ("Succeeded", 0)
    assert (tmp_path / original[0]).read_bytes() == b"precious"


def test_a_detached_partition_that_the_rule_of_today_keeps_is_not_dropped(metrics, tmp_path):
    metrics.retained(policy(RULE), FolderStore(tmp_path / "away"))
    longer = RULE.replace("90d", "90000d")
    result = metrics.retained(policy(longer), folder(tmp_path), run="longer")
    assert (result.outcome, result.reason) == ("NeedsDecision", "PartitionKept")
    assert metrics.value("SELECT count(*) FROM metrics_2020") > 0


def test_a_partition_that_was_attached_again_and_detached_by_hand_is_somebody_s_own(metrics, tmp_path):
    metrics.retained(policy(RULE), FolderStore(tmp_path / "away"))
    metrics.as_owner(
        "ALTER TABLE metrics ATTACH PARTITION metrics_2020 FOR VALUES FROM ('2020-01-01 00:00+00') "
        "TO ('2021-01-01 00:00+00')"
    )
    longer = RULE.replace("90d", "90000d")
    assert metrics.retained(policy(longer), folder(tmp_path), run="longer").outcome == "Succeeded"
    metrics.as_owner("ALTER TABLE metrics DETACH PARTITION metrics_2020")
    metrics.retained(policy(RULE), folder(tmp_path), run="again")
    assert metrics.value("SELECT to_regclass('metrics_2020') IS NOT NULL AND to_regclass('metrics_2021') IS NULL")


def test_the_login_that_deletes_can_t_have_the_owner_drop_a_table(metrics, tmp_path):
    metrics.retained(policy(RULE), folder(tmp_path))
    with (
        psycopg.connect(metrics.dsn("retain")) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(
            "INSERT INTO servicedb_retention.partitions (run, state, schema_name, table_name, partition_schema, "
            "partition_name, partition_oid) VALUES ('x', 'Detaching', 'public', 'metrics', 'public', 'metrics', 1)"
        )


def test_a_column_that_comes_after_a_detach_holds_nothing_up(metrics, tmp_path):
    metrics.retained(policy(RULE), FolderStore(tmp_path / "away"))
    metrics.as_owner("ALTER TABLE metrics ADD COLUMN later text")
    result = metrics.retained(policy(RULE), folder(tmp_path), run="next")
    assert (result.outcome, result.totals.partitions_dropped) == ("Succeeded", 2)
    assert len(metrics.archived(tmp_path, COLUMNS, "metrics")) == 2901


def test_a_view_on_a_partition_keeps_that_one_and_no_other(metrics, tmp_path):
    metrics.as_owner("CREATE VIEW of_2020 AS SELECT * FROM metrics_2020")
    result = metrics.retained(policy(RULE), folder(tmp_path))
    assert (result.outcome, result.reason) == ("Terminal", "PartitionUsed")
    assert "public.of_2020 stands on it" in result.message
    assert (result.totals.partitions_dropped, parts(metrics)) == (1, 1 + 3)


def test_only_rows_of_partitions_that_are_over_count_against_the_limit(metrics, tmp_path):
    metrics.as_owner("INSERT INTO metrics SELECT '2021-12-31 00:00+00' FROM generate_series(1, 10)")
    much = {"limits": "{maxRowsPerRun: 2911}"}
    assert metrics.retained(policy(RULE, limits="{maxRowsPerRun: 2910}"), folder(tmp_path)).reason == "TooManyRows"
    assert metrics.retained(policy(RULE, **much), folder(tmp_path), run="next").outcome == "Succeeded"


def test_what_was_dropped_without_an_archive_does_not_count_as_archived(metrics):
    result = metrics.retained(policy(f"{RULE}, archive: false"))
    assert (result.totals.archived_rows, result.totals.deleted_rows) == (0, 2901)
    assert result.partitions_ahead


def test_whether_partitions_are_ahead_is_not_known_where_nobody_looked(metrics):
    spec = policy(RULE)
    metrics.as_owner("CREATE SCHEMA servicedb_restore")
    assert metrics.retained(spec).partitions_ahead is None


def test_that_the_lag_of_replicas_is_not_to_be_seen_is_said(database, tmp_path):
    assert database.retained(policy(EVENTS), folder(tmp_path)).warnings == []
    with database.server.connect(replication="true"):
        (warning,) = database.retained(policy(EVENTS), folder(tmp_path), run="replica").warnings
        assert "GRANT pg_read_all_stats" in warning
        database.execute(f'GRANT pg_read_all_stats TO "{database.name}__retain"')
        assert database.retained(policy(EVENTS), folder(tmp_path), run="seen").warnings == []


def test_an_archive_that_one_place_has_lost_is_still_known_to_the_other(database, tmp_path):
    first, copy = folder(tmp_path / "first"), folder(tmp_path / "copy")
    early = EVENTS.replace("180d", "{}d").replace("deleteAfter", "archiveAfter: 100d, deleteAfter")
    database.retained(policy(early.format(900), **SLOW), first, copy)
    for one in (tmp_path / "first").rglob("*.copy.zst"):
        one.unlink()
    result = database.retained(policy(early.format(101), **SLOW), first, copy, run="next")
    assert (result.outcome, result.totals.archives_dropped, result.totals.deleted_rows) == ("Succeeded", 0, 300)


def test_a_run_whose_time_is_up_says_what_it_did_not_reach(metrics, tmp_path):
    metrics.as_owner("CREATE TABLE later (id int PRIMARY KEY, at timestamptz)")
    metrics.let("later")
    later = "table: public.later, column: at, deleteAfter: 1d"
    result = metrics.retained(policy(RULE, later, limits="{maxDuration: 0s}"), folder(tmp_path))
    assert (result.outcome, result.reason, result.partitions_ahead) == ("Succeeded", "TimeUp", True)
    assert result.message.endswith("not reached: public.later")
    assert result.totals.deleted_rows == 0
