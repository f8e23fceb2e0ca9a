"""Rows that are archived and deleted by age, on real servers."""

from collections.abc import Iterator

import pytest

from tests.postgres.retained import Retained, folder, policy, retained
from tests.postgres.server import Server

RULE = "table: public.events, column: at, deleteAfter: 180d"
COLUMNS = "id, at, kind, body"


@pytest.fixture
def database(server: Server) -> Iterator[Retained]:
    with retained(server) as made:
        yield made


def fill(database: Retained, rows: int = 1000) -> None:
    """As many rows, one a day back from now."""
    database.as_owner(
        "INSERT INTO events (at, kind, body) SELECT now() - g * interval '1 day', 'kind ' || g % 3, "
        f"jsonb_build_object('text', E'tab\\there\\nand a line', 'n', g) FROM generate_series(0, {rows - 1}) g"
    )


def test_what_is_over_is_in_the_archive_and_only_there(database, tmp_path):
    fill(database)
    before = sorted(database.left(COLUMNS))
    result = database.retained(policy(RULE), folder(tmp_path))
    assert (result.outcome, result.message) == ("Succeeded", "")
    (rule,) = result.rules
    assert (rule.archived_rows, rule.deleted_rows) == (820, 820)
    archived, left = database.archived(tmp_path, COLUMNS), database.left(COLUMNS)
    assert sorted(archived + left) == before
    assert database.value("SELECT count(*) FROM events WHERE at < now() - interval '180 days 1 minute'") == 0
    assert len(left) == 180


FIRST = "table: public.events, column: at, archiveAfter: 100d, deleteAfter: {after}d, batchRows: 100"


def test_rows_that_were_archived_before_go_by_that_archive_where_they_are_as_they_were(database, tmp_path):
    fill(database, 401)
    slow = {"limits": "{batchTarget: 1ms}"}
    (rule,) = database.retained(policy(FIRST.format(after=900), **slow), folder(tmp_path), run="first").rules
    assert (rule.archived_rows, rule.deleted_rows) == (301, 0)
    database.as_owner(
        "UPDATE events SET kind = 'changed' WHERE id = (SELECT id FROM events ORDER BY at LIMIT 1);"
        "INSERT INTO events (at, kind) VALUES (now() - interval '250 days', 'late'), ('-infinity', 'never')"
    )
    before = sorted(database.left(COLUMNS))
    (rule,) = database.retained(policy(FIRST.format(after=101), **slow), folder(tmp_path), run="second").rules
    assert (rule.archived_rows, rule.deleted_rows) == (202, 300 + 2)
    latest = {line.split("\t")[0]: line for line in database.archived(tmp_path, COLUMNS)}
    left = {line.split("\t")[0]: line for line in database.left(COLUMNS)}
    assert sorted((latest | left).values()) == before


def test_an_archive_that_is_no_longer_there_is_made_again_before_its_rows_go(database, tmp_path):
    fill(database, 150)
    database.as_owner("DELETE FROM events WHERE at > now() - interval '110 days'")
    database.retained(policy(FIRST.format(after=900)), folder(tmp_path), run="first")
    (lost,) = tmp_path.rglob("*.copy.zst")
    lost.unlink()
    (rule,) = database.retained(policy(FIRST.format(after=101)), folder(tmp_path), run="second").rules
    assert (rule.archived_rows, rule.deleted_rows) == (40, 40)
    assert lost not in tmp_path.rglob("*.copy.zst")


MONTHS = """
CREATE TABLE metrics (ts timestamptz NOT NULL, host text, value numeric) PARTITION BY RANGE (ts);
CREATE INDEX ON metrics (ts);
CREATE TABLE metrics_2020 PARTITION OF metrics FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2021-01-01 00:00+00');
CREATE TABLE metrics_2021 PARTITION OF metrics FOR VALUES FROM ('2021-01-01 00:00+00') TO ('2022-01-01 00:00+00');
INSERT INTO metrics SELECT '2020-01-01 00:00+00'::timestamptz + g * interval '6 hours', 'host', g
FROM generate_series(0, 2900) g;
"""
BY_MONTH = "table: public.metrics, column: ts, partition: {interval: Month, premake: 2}, deleteAfter: 90d"


@pytest.fixture
def metrics(server: Server) -> Iterator[Retained]:
    with retained(server, MONTHS, ["metrics"]) as made:
        yield made


def test_partitions_are_made_ahead_and_those_that_are_over_are_archived_and_dropped(metrics, tmp_path):
    before = metrics.left("ts, host, value", "metrics")
    result = metrics.retained(policy(BY_MONTH), folder(tmp_path))
    assert (result.outcome, result.message, result.partitions_ahead) == ("Succeeded", "", True)
    (rule,) = result.rules
    assert (rule.partitions_created, rule.partitions_dropped, rule.deleted_rows) == (3, 2, 2901)
    assert sorted(metrics.archived(tmp_path, "ts, host, value", "metrics")) == sorted(before)
    assert metrics.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'metrics'::regclass") == 3
    metrics.as_owner("INSERT INTO metrics SELECT now() + g * interval '1 month' FROM generate_series(0, 2) g")
