"""Archived rows that come back, by the commands that people run."""

import json
from collections.abc import Callable, Iterator

import pytest
from pyrage import x25519

from tests.postgres.retained import Retained, command, folder, policy, retained, written
from tests.postgres.server import Server

TABLES = """
CREATE TABLE events (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz, kind text, size numeric,
    span interval, clock time, doc jsonb, raw bytea, ids int[], twice numeric GENERATED ALWAYS AS (size * 2) STORED);
CREATE INDEX ON events (at);
INSERT INTO events (at, kind, size, span, clock, doc, raw, ids) SELECT '2024-01-01 00:00+00'::timestamptz +
    g * interval '1 day', E'a\\tb\\n\\\\N ' || g, g / 3.0, g * interval '1 month -3 hours', '24:00', '{"a": [1, null]}',
    E'\\\\x00ff', ARRAY[g, NULL] FROM generate_series(0, 364) g;
INSERT INTO events (at, kind, size) VALUES ('-infinity', 'ever', 'NaN'), ('0044-03-15 12:00 BC', 'ides', 'Infinity');
"""
RULE = "table: public.events, column: at, deleteAfter: 100d, batchRows: 100"
COLUMNS = "id, at, kind, size, span, clock, doc, raw, ids"


@pytest.fixture
def database(servers: Callable[[int], Server]) -> Iterator[Retained]:
    with retained(servers(18), TABLES) as made:
        yield made


def test_the_commands_take_rows_out_and_bring_them_back(database, tmp_path):
    before = sorted(database.left(COLUMNS))
    (tmp_path / "policy.yaml").write_text(written(RULE, limits="{batchTarget: 1ms}"))
    folder(tmp_path / "store")
    identity = x25519.Identity.generate()
    (tmp_path / "identity").write_text(str(identity))
    store = ["--store", f"file://{tmp_path}/store"]
    named = ["--policy", str(tmp_path / "policy.yaml")]
    planned = command(database, "plan", *named, "-o", "json")
    assert json.loads(planned.stdout)["rules"][0]["rows"] == 367
    log = tmp_path / "message"
    ran = command(
        database, "run", *named, *store, "--recipient", str(identity.to_public()), "--termination-log", str(log)
    )
    assert (ran.returncode, database.value("SELECT count(*) FROM events")) == (0, 0)
    (rule,) = json.loads(log.read_text())["rules"]
    assert (rule["archivedRows"], rule["deletedRows"], rule.get("problem")) == (367, 367, None)
    wrong = command(database, "restore", "--table", "public.events", *store)
    assert (wrong.returncode, "NoIdentity" in wrong.stderr) == (1, True)
    back = ["restore", "--table", "public.events", *store, "--identity", str(tmp_path / "identity")]
    assert command(database, *back).returncode == 0
    assert sorted(database.left(COLUMNS, "events_restored")) == before
    again = command(database, *back)
    assert (again.returncode, "RestoreTargetExists" in again.stderr) == (1, True)
    part = command(
        database, *back, "--from", "2024-03-01", "--to", "2024-04-01", "--into", "public.march", "-o", "json"
    )
    assert json.loads(part.stdout)["rows"] == 31
    assert database.value("SELECT min(at) || ' ' || max(at) FROM march").startswith("2024-03-01 00:00:00")


def test_an_archive_that_was_altered_gives_nothing_back(database, tmp_path):
    database.retained(policy(RULE), folder(tmp_path))
    archive = max(tmp_path.rglob("*.copy.zst"), key=lambda path: path.stat().st_size)
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)
    done = command(database, "restore", "--table", "public.events", "--store", f"file://{tmp_path}")
    assert (done.returncode, "ArchiveDamaged" in done.stderr) == (1, True)
    assert database.value("SELECT to_regclass('events_restored') IS NULL")


def test_a_row_that_was_changed_between_two_archives_comes_back_as_it_was_last(database, tmp_path):
    first = f"{RULE}, archiveAfter: 50d".replace("100d", "100000d")
    database.execute("DELETE FROM events WHERE at < '2000-01-01'")
    database.retained(policy(first), folder(tmp_path), run="first")
    database.execute("UPDATE events SET kind = 'changed' WHERE id = 7")
    before = sorted(database.left(COLUMNS))
    database.retained(policy(RULE), folder(tmp_path), run="second")
    assert command(database, "restore", "--table", "public.events", "--store", f"file://{tmp_path}").returncode == 0
    assert sorted(database.left(COLUMNS, "events_restored")) == before


def test_archives_that_the_ledger_does_not_know_come_back_by_what_stands_beside_them(database, tmp_path):
    before = sorted(database.left(COLUMNS))
    database.retained(policy(RULE, limits="{batchTarget: 1ms}"), folder(tmp_path))
    database.execute("DROP SCHEMA servicedb_retention CASCADE")  # as after an older backup was restored
    back = ["restore", "--table", "public.events", "--store", f"file://{tmp_path}"]
    assert "NothingArchived" in command(database, *back).stderr
    assert command(database, *back, "--unlisted").returncode == 0
    assert sorted(database.left(COLUMNS, "events_restored")) == before


def test_what_was_archived_before_and_after_a_migration_comes_back_into_one_table(database, tmp_path):
    database.execute("DELETE FROM events WHERE at < '2024-12-01'")
    database.retained(policy(RULE), folder(tmp_path), run="before")
    database.as_owner(
        "ALTER TABLE events DROP COLUMN twice; ALTER TABLE events RENAME kind TO sort;"
        "ALTER TABLE events ALTER size TYPE text;"
        "INSERT INTO events (at, sort, size) VALUES ('2024-01-01', 'new', 'XL')"
    )
    database.retained(policy(RULE), folder(tmp_path), run="after")
    assert command(database, "restore", "--table", "public.events", "--store", f"file://{tmp_path}").returncode == 0
    assert database.value("SELECT count(*) FROM events_restored WHERE kind IS NOT NULL AND sort IS NULL") == 30
    assert database.rows("SELECT kind, sort, size FROM events_restored WHERE sort = 'new'") == [(None, "new", "XL")]
