"""What comes in between a run: nothing that is not in its archive has left the table."""

from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from servicedb.jobs.outcome import OutcomeName
from servicedb.postgres.backups.session import hold_database
from servicedb.store.folder import FolderStore
from servicedb.store.interface import Store
from servicedb.store.location import bucket
from servicedb.store.problems import StoreFull
from servicedb.store.s3 import Patience, S3Store

from tests.postgres.retained import Retained, content, folder, policy, retained
from tests.postgres.server import Server
from tests.store.gateway import Gateway
from tests.store.proxy import Fault, FaultyWay

RULE = "table: public.events, column: at, deleteAfter: 180d, batchRows: 100"
POLICY = policy(RULE, limits="{batchTarget: 1ms}")
COLUMNS = "id, at, kind"
HASTY = Patience(request=timedelta(seconds=1), total=timedelta(seconds=2), tries=1)


@pytest.fixture
def database(servers: Callable[[int], Server]) -> Iterator[Retained]:
    with retained(servers(15)) as made:
        made.as_owner(
            "INSERT INTO events (at, kind) SELECT now() - g * interval '1 day', 'kind ' || g "
            "FROM generate_series(0, 400) g"
        )
        yield made


class Full(FolderStore):
    """Has room for so many objects."""

    room = 1

    def put(self, key: str, chunks: Iterable[bytes], *, expected_bytes: int = 0) -> None:
        if self.room == 0:
            raise StoreFull(f"{self.location} has no space for {key}")
        self.room -= 1
        super().put(key, chunks, expected_bytes=expected_bytes)


class Forgetful(FolderStore):
    """Gives back something else than what was stored."""

    def read(self, key: str) -> Iterator[bytes]:
        yield from (chunk[:-1] for chunk in super().read(key))


class Cutting(FolderStore):
    """Ends the session of the run that writes into it, at the second object."""

    database: Retained
    objects = 0

    def put(self, key: str, chunks: Iterable[bytes], *, expected_bytes: int = 0) -> None:
        super().put(key, chunks, expected_bytes=expected_bytes)
        self.objects += 1
        if self.objects == 2:
            self.database.value(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                "WHERE application_name = 'servicedb-retain' AND datname = current_database()"
            )


def nothing_is_lost(database: Retained, root: Path, before: list[str]) -> None:
    assert sorted(database.archived(root, COLUMNS) + database.left(COLUMNS)) == sorted(before)


def stores(database: Retained, path: Path) -> dict[str, tuple[list[Store], OutcomeName, str, int]]:
    """What a run is given, how it ends, and how many rows have gone."""
    good, cutting = folder(path), Cutting(path)
    cutting.database = database
    return {
        "full": ([Full(path)], "Retryable", "StorageFull", 100),
        "away": ([FolderStore(path / "away")], "Terminal", "StorageRefused", 0),
        "a copy that is away": ([good, FolderStore(path / "away")], "Terminal", "StorageRefused", 0),
        "forgetful": ([Forgetful(path)], "Retryable", "ArchiveDiffers", 0),
        "a copy that is forgetful": ([good, Forgetful(folder(path / "copy")._root)], "Retryable", "ArchiveDiffers", 0),
        "a session that is cut": ([cutting], "Retryable", "ConnectionLost", 100),
    }


@pytest.mark.parametrize(
    "fault",
    ["full", "away", "a copy that is away", "forgetful", "a copy that is forgetful", "a session that is cut"],
)
def test_nothing_goes_that_is_not_everywhere(database, tmp_path, fault):
    before = database.left(COLUMNS)
    given, outcome, reason, gone = stores(database, tmp_path)[fault]
    result = database.retained(POLICY, *given)
    assert (result.outcome, result.reason) == (outcome, reason)
    assert len(before) - len(database.left(COLUMNS)) == gone
    nothing_is_lost(database, tmp_path, before)
    assert database.retained(POLICY, folder(tmp_path)).outcome == "Succeeded"
    nothing_is_lost(database, tmp_path, before)
    assert len(database.left(COLUMNS)) == 180


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway.running(tmp_path_factory.mktemp("gateway") / "server") as running:
        yield running


@pytest.mark.parametrize("fault", [Fault.BUSY, Fault.SILENT, Fault.CUT])
def test_a_bucket_that_is_out_of_reach_keeps_rows_where_they_are(database, gateway, fault):
    before = database.left(COLUMNS)
    with FaultyWay.to(gateway.port) as way:
        way.last = fault
        store = S3Store(bucket(gateway.url(database.name, endpoint=way.endpoint)), gateway.credentials, HASTY)
        result = database.retained(POLICY, store)
        assert (result.outcome, result.reason) == ("Retryable", "StorageUnreachable")
        assert sorted(database.left(COLUMNS)) == sorted(before)
        way.last = Fault.NONE
        assert database.retained(POLICY, store).outcome == "Succeeded"
        keys = {key for (key,) in database.rows("SELECT key FROM servicedb_retention.entries WHERE key IS NOT NULL")}
        assert {one.key for one in store.list("")} >= keys
    assert (len(keys), len(database.left(COLUMNS))) == (3, 180)


def test_a_copy_holds_what_the_first_place_does(database, tmp_path):
    first, copy = folder(tmp_path / "first"), folder(tmp_path / "copy")
    database.retained(POLICY, first, copy)
    archives = sorted((tmp_path / "first").rglob("*.zst"))
    assert len(archives) == 3
    for one in archives:
        assert content(tmp_path / "copy" / one.relative_to(tmp_path / "first")) == content(one)


def test_a_run_waits_for_other_work_on_the_database(database, tmp_path):
    with database.way.open() as other:
        hold_database(other, wait=0, tell=print)
        result = database.retained(POLICY, folder(tmp_path), wait=0.0)
    assert (result.outcome, result.reason) == ("Retryable", "LockBusy")
    assert len(database.left(COLUMNS)) == 401


def test_while_a_restore_is_unfinished_nothing_is_deleted(database, tmp_path):
    database.as_owner("CREATE SCHEMA servicedb_restore")
    result = database.retained(POLICY, folder(tmp_path))
    assert (result.outcome, result.reason) == ("Terminal", "UnfinishedRestore")
    assert len(database.left(COLUMNS)) == 401


def test_a_right_that_is_missing_is_said_and_may_come(database, tmp_path):
    database.execute(f'REVOKE DELETE ON events FROM "{database.name}__retain"')
    result = database.retained(POLICY, folder(tmp_path))
    assert (result.outcome, result.reason) == ("Retryable", "RightsMissing")
    assert "permission denied for table events" in result.message
