"""Rows that are archived and deleted by age, on real servers."""

from collections.abc import Iterator

import pytest

from tests.postgres.conftest import on_versions
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


@on_versions(18)
def test_an_archive_that_is_no_longer_there_is_made_again_before_its_rows_go(database, tmp_path):
    fill(database, 150)
    database.as_owner("DELETE FROM events WHERE at > now() - interval '110 days'")
    database.retained(policy(FIRST.format(after=900)), folder(tmp_path), run="first")
    (lost,) = tmp_path.rglob("*.copy.zst")
    lost.unlink()
    (rule,) = database.retained(policy(FIRST.format(after=101)), folder(tmp_path), run="second").rules
    assert (rule.archived_rows, rule.deleted_rows) == (40, 40)
    assert lost not in tmp_path.rglob("*.copy.zst")


@on_versions(18)
def test_rows_without_a_time_are_kept_and_counted(database, tmp_path):
    database.as_owner("INSERT INTO events (at) VALUES (NULL), (NULL), ('-infinity'), ('infinity')")
    (rule,) = database.retained(policy(RULE), folder(tmp_path)).rules
    assert (rule.deleted_rows, rule.null_times) == (1, 2)
    assert database.value("SELECT count(*) FROM events") == 3


@on_versions(18)
def test_rows_that_somebody_has_locked_are_left_to_the_next_run(database, tmp_path):
    fill(database, 200)
    with database.as_superuser() as other, other.transaction():
        other.execute("SELECT FROM events ORDER BY at LIMIT 3 FOR UPDATE")
        (rule,) = database.retained(policy(RULE), folder(tmp_path)).rules
    assert rule.deleted_rows == 17
    (rule,) = database.retained(policy(RULE), folder(tmp_path), run="next").rules
    assert rule.deleted_rows == 3


@on_versions(18)
def test_only_rows_that_satisfy_where_go(database, tmp_path):
    fill(database, 240)
    result = database.retained(
        policy(f"{RULE}, where: \"kind <> 'kind 1' AND (body ->> 'n')::int > 0\""), folder(tmp_path)
    )
    assert result.rules[0].deleted_rows == 40
    assert database.value("SELECT count(*) FROM events WHERE at < now() - interval '180 days'") == 20


@on_versions(18)
@pytest.mark.parametrize(
    ("column_type", "times", "left"),
    [
        ("timestamptz", ["181 days 1 minute", "179 days"], 1),
        ("timestamptz(0)", ["181 days 1 minute", "179 days"], 1),
        ("timestamp", ["180 days 1 minute", "179 days 23 hours"], 1),
        ("date", ["182 days", "180 days", "179 days"], 2),
    ],
)
def test_a_time_of_any_type_counts_in_utc_whatever_zone_the_database_has(database, tmp_path, column_type, times, left):
    database.as_owner(f"ALTER TABLE events ALTER at TYPE {column_type}")
    database.execute(f"ALTER DATABASE \"{database.name}\" SET timezone = 'Pacific/Auckland'")
    for age in times:
        database.as_owner(f"INSERT INTO events (at) VALUES ((now() AT TIME ZONE 'UTC' - interval '{age}'))")
    if column_type.startswith("timestamptz"):
        database.as_owner("UPDATE events SET at = at::timestamp AT TIME ZONE 'UTC'")
    database.retained(policy(RULE), folder(tmp_path))
    assert database.value("SELECT count(*) FROM events") == left


@on_versions(18)
def test_archives_go_when_all_of_their_rows_are_old_enough(database, tmp_path):
    fill(database, 400)
    rule = f"{RULE}, dropArchiveAfter: 300d, batchRows: 100"
    result = database.retained(policy(rule, limits="{batchTarget: 1ms}"), folder(tmp_path))
    assert result.rules[0].deleted_rows == 220
    kept = result.rules[0].deleted_rows - sum(
        rows
        for (rows,) in database.rows(
            "SELECT rows FROM servicedb_retention.entries e WHERE action = 'Moved' AND EXISTS (SELECT FROM "
            "servicedb_retention.entries d WHERE d.key = e.key AND d.action = 'ArchiveDropped')"
        )
    )
    assert (result.rules[0].archives_dropped, kept) == (1, 120)
    assert len(list(tmp_path.rglob("*.copy.zst"))) == 2


@on_versions(18)
def test_what_no_archive_is_wanted_of_goes_without_a_store(database):
    fill(database, 200)
    (rule,) = database.retained(policy(f"{RULE}, archive: false")).rules
    assert (rule.archived_rows, rule.deleted_rows) == (0, 20)


@on_versions(18)
def test_the_same_run_goes_on_from_the_same_moment(database, tmp_path):
    first = database.retained(policy(RULE), folder(tmp_path))
    fill(database, 200)
    second = database.retained(policy(RULE), folder(tmp_path))
    assert first.began_at == second.began_at
    assert second.rules[0].deleted_rows == 19  # the row of day 180 was younger then
