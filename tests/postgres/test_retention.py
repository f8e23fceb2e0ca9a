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
