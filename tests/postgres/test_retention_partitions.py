"""Partitions that are made ahead, and those that are over, on real servers."""

import json
from collections.abc import Iterator

import pytest
from servicedb.store.folder import FolderStore

from tests.postgres.conftest import on_versions
from tests.postgres.retained import Retained, command, folder, policy, retained, written
from tests.postgres.server import Server

METRICS = """
CREATE TABLE metrics (ts timestamptz NOT NULL, host text, value numeric CHECK (value >= 0)) PARTITION BY RANGE (ts);
CREATE INDEX ON metrics (ts);
CREATE TABLE metrics_2020 PARTITION OF metrics FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2021-01-01 00:00+00');
CREATE TABLE metrics_2021 PARTITION OF metrics FOR VALUES FROM ('2021-01-01 00:00+00') TO ('2022-01-01 00:00+00');
INSERT INTO metrics SELECT '2020-01-01 00:00+00'::timestamptz + g * interval '6 hours', 'host', g
FROM generate_series(0, 2900) g;
"""
RULE = "table: public.metrics, column: ts, partition: {interval: Month, premake: 2}, deleteAfter: 90d"
COLUMNS = "ts, host, value"


@pytest.fixture
def metrics(server: Server) -> Iterator[Retained]:
    with retained(server, METRICS, ["metrics"]) as made:
        yield made


def parts(database: Retained) -> int:
    count: int = database.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'metrics'::regclass")
    return count


def test_partitions_are_made_ahead_and_those_that_are_over_are_archived_and_dropped(metrics, tmp_path):
    before = metrics.left(COLUMNS, "metrics")
    result = metrics.retained(policy(RULE), folder(tmp_path))
    assert (result.outcome, result.message, result.partitions_ahead) == ("Succeeded", "", True)
    (rule,) = result.rules
    assert (rule.partitions_created, rule.partitions_dropped, rule.deleted_rows) == (3, 2, 2901)
    assert sorted(metrics.archived(tmp_path, COLUMNS, "metrics")) == sorted(before)
    assert parts(metrics) == 3
    metrics.as_owner("INSERT INTO metrics SELECT now() + g * interval '1 month' FROM generate_series(0, 2) g")
    again = metrics.retained(policy(RULE), folder(tmp_path), run="again").rules[0]
    assert (again.partitions_created, again.partitions_dropped) == (0, 0)


@on_versions(18)
def test_partitions_are_made_though_there_is_no_store_and_no_backup(metrics, tmp_path):
    gone = FolderStore(tmp_path / "not mounted")
    gated = policy(RULE, requireBackup="{scheduleRef: {name: nightly}}")
    result = metrics.retained(gated, gone)
    assert (result.reason, result.partitions_ahead, parts(metrics)) == ("BackupRequired", True, 2 + 3)
    result = metrics.retained(policy(RULE), gone, run="away")
    assert (result.outcome, result.reason, result.partitions_ahead) == ("Terminal", "StorageRefused", True)
    assert metrics.value("SELECT to_regclass('metrics_2020') IS NOT NULL")


@on_versions(15, 18)
def test_an_older_transaction_is_not_waited_for_and_the_next_run_ends_what_was_begun(metrics, tmp_path):
    before = metrics.left(COLUMNS, "metrics")
    with metrics.as_superuser() as other, other.transaction():
        other.execute("SELECT count(*) FROM metrics")
        result = metrics.retained(policy(RULE), folder(tmp_path))
    assert (result.outcome, result.reason) == ("Retryable", "PartitionBusy")
    assert metrics.value("SELECT count(*) FROM metrics_2020") > 0
    result = metrics.retained(policy(RULE), folder(tmp_path), run="next")
    assert (result.outcome, result.rules[0].partitions_dropped) == ("Succeeded", 2)
    assert sorted(metrics.archived(tmp_path, COLUMNS, "metrics")) == sorted(before)


@on_versions(16)
def test_rows_that_come_late_into_a_detached_partition_are_archived_with_it(metrics, tmp_path):
    gone = FolderStore(tmp_path / "away")
    metrics.retained(policy(RULE), gone)
    assert not metrics.value("SELECT relispartition FROM pg_class WHERE relname = 'metrics_2020'")
    metrics.as_owner("INSERT INTO metrics_2020 VALUES ('2020-05-05 00:00+00', 'late', 1)")
    metrics.retained(policy(RULE), folder(tmp_path), run="next")
    archived = metrics.archived(tmp_path, COLUMNS, "metrics")
    assert (len(archived), sum("late" in row for row in archived)) == (2902, 1)


@on_versions(16)
def test_rows_in_a_default_partition_are_named_and_hold_nothing_else_up(metrics, tmp_path):
    metrics.as_owner("CREATE TABLE metrics_rest PARTITION OF metrics DEFAULT; INSERT INTO metrics VALUES (now())")
    result = metrics.retained(policy(RULE), folder(tmp_path))
    assert (result.reason, result.partitions_ahead) == ("DefaultPartitionHoldsRows", False)
    assert result.rules[0].partitions_dropped == 2
    metrics.as_owner("DELETE FROM metrics_rest")
    result = metrics.retained(policy(RULE), folder(tmp_path), run="next")
    assert (result.outcome, result.rules[0].partitions_created) == ("Succeeded", 3)


@on_versions(16)
def test_a_table_of_the_same_name_that_is_not_the_one_that_was_detached_stays(metrics, tmp_path):
    metrics.retained(policy(RULE), FolderStore(tmp_path / "away"))
    metrics.as_owner("DROP TABLE metrics_2020; CREATE TABLE metrics_2020 (precious text)")
    metrics.retained(policy(RULE), folder(tmp_path), run="next")
    assert metrics.value("SELECT to_regclass('metrics_2020') IS NOT NULL")


@on_versions(18)
@pytest.mark.parametrize("column_type", ["date", "timestamp"])
def test_bounds_are_those_of_utc_for_a_time_without_a_zone(server, tmp_path, column_type):
    table = f"CREATE TABLE metrics (ts {column_type} NOT NULL, host text) PARTITION BY RANGE (ts);"
    with retained(server, table, ["metrics"]) as database:
        database.execute(f"ALTER DATABASE \"{database.name}\" SET timezone = 'America/New_York'")
        result = database.retained(policy(RULE.replace("Month", "Day")), folder(tmp_path))
        assert (result.outcome, result.rules[0].partitions_created) == ("Succeeded", 3)
        today = database.value("SELECT (now() AT TIME ZONE 'UTC')::date::text")
        bound = database.value("SELECT min(pg_get_expr(relpartbound, oid)) FROM pg_class WHERE relispartition")
        assert bound.startswith(f"FOR VALUES FROM ('{today}")


@on_versions(18)
def test_partitions_are_made_though_the_store_s_keys_are_missing(metrics, tmp_path):
    (tmp_path / "policy.yaml").write_text(written(RULE))
    (tmp_path / "keys").mkdir()
    done = command(
        metrics, "run", "--policy", f"{tmp_path}/policy.yaml", "--store", "s3://bucket", "--store-credentials",
        f"{tmp_path}/keys", "-o", "json",
    )  # fmt: skip
    said = json.loads(done.stdout)
    assert (said["outcome"], said["reason"], said["partitionsAhead"]) == ("Terminal", "StorageRefused", True)
    assert parts(metrics) == 2 + 3
