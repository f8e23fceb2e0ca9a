"""A backup or a restore that is killed with SIGKILL anywhere.

Never is there a manifest that does not restore, and never a restore that is taken for done and is not.
"""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servicedb.jobs.backup.request import Request as BackupRequest
from servicedb.jobs.restore.request import Request as RestoreRequest
from servicedb.postgres.backups.unfinished import Mark, mark

from tests.postgres.binaries import bin_directory
from tests.postgres.dumped import NEWEST, Database, databases, folder
from tests.postgres.killed_backup import killed_at, moments
from tests.postgres.server import Server

ORDERS = """
CREATE TYPE state AS ENUM ('open', 'shut');
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, state state DEFAULT 'open');
CREATE INDEX ON orders (customer);
CREATE VIEW names AS SELECT name FROM customers;
CREATE SCHEMA other;
CREATE TABLE other.notes (note text);
INSERT INTO customers (name) SELECT 'customer ' || g FROM generate_series(1, 100) g;
INSERT INTO orders SELECT g, g % 100 + 1 FROM generate_series(1, 500) g;
INSERT INTO other.notes VALUES ('a');
SELECT lo_from_bytea(4711, 'large');
"""
BACKUP = BackupRequest(run="of-a-test", programs=bin_directory(NEWEST))
LONGEST = {"backup": 24, "restore": 48}
"""No fewer moments than there are: a test says so."""


@pytest.fixture(scope="module")
def source(servers: Callable[[int], Server]) -> Iterator[Database]:
    with databases(servers(16)) as (made,):
        made.as_owner(ORDERS)
        yield made


@pytest.fixture(scope="module")
def target(servers: Callable[[int], Server]) -> Iterator[Database]:
    """What is restored into it is not dropped in between: the next restore does that itself."""
    with databases(servers(16)) as (made,):
        yield made


@pytest.fixture(scope="module")
def good(source: Database, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    root = tmp_path_factory.mktemp("good")
    key = source.backed_up(folder(root)).key
    assert key is not None
    return root, key


def restoring(target: Database, key: str) -> RestoreRequest:
    return RestoreRequest(key=key, as_role=f"{target.name}__owner", programs=bin_directory(NEWEST))


def empty(database: Database, key: str) -> None:
    """As if a restore of `key` had never come to its end."""
    with database.as_superuser() as connection:
        connection.execute(f'SET ROLE "{database.name}__owner"'.encode())
        mark(connection, Mark(key, ""))


def test_every_moment_is_among_those_that_are_tried(source, target, good, tmp_path):
    root, key = good
    (tmp_path / "store").mkdir()
    of_backup = moments(BACKUP, source.dsn("backup_a"), tmp_path / "store", tmp_path / "count")
    assert LONGEST["backup"] - 4 < of_backup <= LONGEST["backup"]
    empty(target, key)
    of_restore = moments(restoring(target, key), target.dsn("restore"), root, tmp_path / "count")
    assert LONGEST["restore"] - 6 < of_restore <= LONGEST["restore"]


@pytest.mark.parametrize("moment", range(1, LONGEST["backup"] + 1))
def test_a_backup_that_is_killed_anywhere_leaves_none_or_a_whole_one(source, target, tmp_path, moment):
    process = killed_at(BACKUP, source.dsn("backup_a"), tmp_path, moment)
    found = list(tmp_path.rglob("manifest.json"))
    assert process.exitcode == -signal.SIGKILL or (process.exitcode == 0 and found and moment > LONGEST["backup"] - 4)
    for path in found:
        key = str(path.relative_to(tmp_path))
        empty(target, key)
        assert target.restored(folder(tmp_path), key).outcome == "Succeeded"
        assert target.contents() == source.contents()


@pytest.mark.parametrize("moment", range(1, LONGEST["restore"] + 1, 3))
def test_after_a_restore_that_was_killed_anywhere_the_next_begins_anew(source, target, good, moment):
    root, key = good
    empty(target, key)
    process = killed_at(restoring(target, key), target.dsn("restore"), root, moment)
    assert process.exitcode == -signal.SIGKILL or (process.exitcode == 0 and moment > LONGEST["restore"] - 6)
    if process.exitcode == -signal.SIGKILL and target.value("SELECT to_regnamespace('servicedb_restore') IS NOT NULL"):
        backed_up = target.backed_up(folder(root))
        assert (backed_up.outcome, backed_up.reason) == ("Terminal", "UnfinishedRestore")
        restored = target.restored(folder(root), key)
        assert (restored.outcome, restored.message, restored.mismatches) == ("Succeeded", "", [])
    assert target.contents() == source.contents()
    assert target.schema() == source.schema()
