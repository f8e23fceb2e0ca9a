"""What comes in between a backup, and what is wrong with one: said in a sentence, and never taken for a good one."""

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pyrage import x25519
from servicedb.errors import Retryable
from servicedb.plan.backups.keys import Key
from servicedb.plan.backups.manifest import Manifest
from servicedb.postgres.backups import source as source_of
from servicedb.postgres.backups.relations import begin_locked, rewritten
from servicedb.postgres.backups.session import translated
from servicedb.postgres.backups.unfinished import Mark, mark
from servicedb.postgres.migrations.session import DATABASE_KEY
from servicedb.store.folder import FolderStore
from servicedb.store.problems import StoreFull

from tests.postgres.binaries import bin_directory
from tests.postgres.dumped import Database, databases, folder
from tests.postgres.migrations import until
from tests.postgres.server import Server

ORDERS = """
CREATE TABLE orders (id int PRIMARY KEY, what text NOT NULL);
INSERT INTO orders SELECT g, 'order ' || g FROM generate_series(1, 1000) g;
"""
LARGE = """
CREATE TABLE large (id int, filler text);
INSERT INTO large SELECT g, repeat(md5(g::text), 8) FROM generate_series(1, 120000) g;
"""
"""30 MB, which no pipe and no buffer of ours holds: a dump of it is in the middle as long as nobody takes more."""


@pytest.fixture
def server(servers: Callable[[int], Server]) -> Server:
    """The oldest: what comes in between comes by no version's own ways."""
    return servers(15)


@pytest.fixture
def database(server: Server) -> Iterator[Database]:
    with databases(server) as (made,):
        made.as_owner(ORDERS)
        yield made


@pytest.fixture
def target(server: Server) -> Iterator[Database]:
    with databases(server) as (made,):
        yield made


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return folder(tmp_path / "store")


class Meddling(FolderStore):
    """A folder in which, once, something happens when the first piece of a `part` comes."""

    def __init__(self, root: Path, part: str, happens: Callable[[], None]) -> None:
        root.mkdir(exist_ok=True)
        super().__init__(root)
        self._part = part
        self._happens = happens

    def put(self, key: str, chunks: Iterable[bytes], *, expected_bytes: int = 0) -> None:
        super().put(key, self._meddled(key, chunks), expected_bytes=expected_bytes)

    def _meddled(self, key: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for number, chunk in enumerate(chunks):
            if number == 0 and key.rpartition("/")[2].startswith(self._part):
                self._happens()
            yield chunk


def manifests(root: Path) -> list[Path]:
    return list(root.rglob("manifest.json"))


def nothing_left_over(database: Database) -> bool:
    """No session of ours, and no lock, some moments later."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name LIKE 'servicedb%'"
    until(lambda: database.value(query.format(database.name)) == 0)
    return bool(database.value(f"SELECT pg_try_advisory_lock({DATABASE_KEY})"))


def damaged(store: FolderStore, key: str, part: str, change: Callable[[bytes], bytes | None]) -> None:
    """Change the object of `part` (or the manifest) as `change` says; None deletes it."""
    parsed = Key.parse(key)
    assert parsed is not None
    folder = Path(store.location.removeprefix("folder ")) / parsed.place.prefix
    (path,) = folder.glob(f"{part}*")
    changed = change(path.read_bytes())
    if changed is None:
        path.unlink()
    else:
        path.write_bytes(changed)


@pytest.mark.parametrize("statement", ["TRUNCATE large", "DROP TABLE large", "ALTER TABLE large ALTER id TYPE bigint"])
def test_a_change_of_a_table_in_mid_dump_waits_for_its_end_and_no_row_is_lost(database, target, tmp_path, statement):
    database.as_owner(LARGE)
    begun = threading.Event()

    def change() -> None:
        begun.wait()
        database.as_owner(statement)

    changing = threading.Thread(target=change)
    changing.start()
    waiting = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database.name}' AND wait_event_type = 'Lock'"

    def meanwhile() -> None:
        begun.set()
        until(lambda: database.value(waiting) == 1)

    store = Meddling(tmp_path / "store", "data-1", meanwhile)
    made = database.backed_up(store)
    changing.join()
    assert (made.outcome, made.rows) == ("Succeeded", 121_000)
    assert target.restored(store, made.key).mismatches == []
    assert target.value("SELECT count(*) FROM large") == 120_000


def test_tables_that_change_while_they_are_locked_are_looked_at_again(database, target, store, monkeypatch):
    changes = iter(
        [
            "TRUNCATE orders; INSERT INTO orders VALUES (1, 'new')",
            "CREATE SCHEMA more CREATE TABLE more (a int)",
            "DROP SCHEMA more CASCADE",
            "",
        ]
    )

    def meddled(connection: Any, tables: Any) -> str:
        database.as_owner(next(changes))
        return begin_locked(connection, tables)

    monkeypatch.setattr(source_of, "begin_locked", meddled)
    made = database.backed_up(store)
    assert (made.outcome, made.rows, next(changes, "all")) == ("Succeeded", 1, "all")
    assert target.restored(store, made.key).outcome == "Succeeded"
    monkeypatch.setattr(source_of, "begin_locked", lambda *_: (database.as_owner("VACUUM FULL orders"), "")[1])
    never = database.backed_up(store)
    assert (never.outcome, never.reason) == ("Retryable", "TablesChange")
    assert len(manifests(Path(store.location.removeprefix("folder ")))) == 1


def test_what_the_server_says_of_an_object_that_was_dropped_meanwhile_passes(database):
    with database.as_superuser() as connection, pytest.raises(Retryable, match="cache lookup failed"), translated():
        connection.execute("DO $$ BEGIN RAISE 'cache lookup failed for type 1' USING ERRCODE = 'XX000'; END $$")


def test_a_table_that_is_truncated_between_the_snapshot_and_the_dump_keeps_its_rows(database, store, monkeypatch):
    begin = source_of.Source.begin
    waits = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database.name}' AND wait_event_type = 'Lock'"

    def change() -> None:
        with contextlib.suppress(psycopg.errors.LockNotAvailable):
            database.as_owner("SET lock_timeout = '500ms'; TRUNCATE orders")

    changing = threading.Thread(target=change)

    def meddled(source: Any, tell: Any) -> Any:
        snapshot = begin(source, tell)
        changing.start()
        until(lambda: not changing.is_alive() or database.value(waits))
        return snapshot

    monkeypatch.setattr(source_of.Source, "begin", meddled)
    made = database.backed_up(store)
    changing.join()
    assert (made.outcome, made.rows) == ("Succeeded", 1000)


def test_a_table_that_was_truncated_after_the_snapshot_is_found_by_its_file(database):
    with database.as_superuser() as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT 1")
        assert rewritten(connection) == []
        database.as_owner("TRUNCATE orders")
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (0,)  # what pg_dump would see
        assert rewritten(connection) == ["public.orders"]


def test_a_server_that_restarts_in_mid_dump_leaves_no_backup(private_server, tmp_path):
    server = private_server(15)
    with databases(server) as (database,):
        database.as_owner(ORDERS + LARGE)
        store = Meddling(tmp_path / "store", "data-1", lambda: server.restart("immediate"))
        made = database.backed_up(store)
        assert (made.outcome, made.key) == ("Retryable", None)
        assert made.reason in ("ConnectionLost", "DumpFailed", "ServerUnreachable")
        assert not manifests(tmp_path)
        assert nothing_left_over(database)
        assert database.backed_up(folder(tmp_path / "other")).outcome == "Succeeded"


def test_a_pg_dump_that_is_killed_ends_all_and_leaves_no_part(database, tmp_path):
    database.as_owner(LARGE)
    end = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'servicedb-backup-data-1'"
    )
    made = database.backed_up(Meddling(tmp_path / "store", "data-1", lambda: database.rows(end)))
    assert (made.outcome, made.reason) == ("Retryable", "ConnectionLost")
    assert not list(tmp_path.rglob("data-1*"))
    assert not manifests(tmp_path)
    assert nothing_left_over(database)


def test_a_full_store_leaves_no_backup_and_a_full_copy_is_told(database, target, tmp_path):
    def full() -> None:
        raise StoreFull("folder x has no space; enlarge it")

    made = database.backed_up(Meddling(tmp_path / "full", "data-1", full))
    assert (made.outcome, made.reason, made.key) == ("Retryable", "StorageFull", None)
    assert not manifests(tmp_path)
    assert nothing_left_over(database)

    first, copy = folder(tmp_path / "first"), folder(tmp_path / "copy")
    made = database.backed_up(first, copy, Meddling(tmp_path / "other", "rest", full))
    assert (made.outcome, made.reason) == ("Retryable", "CopyFailed")
    assert "is whole in folder" in made.message
    assert "other: folder x has no space" in made.message
    assert [len(manifests(tmp_path / name)) for name in ("first", "copy", "other")] == [1, 1, 0]
    assert target.restored(copy, made.key).outcome == "Succeeded"


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.fixture(scope="module", params=["uncompressed", "compressed", "encrypted"])
def good(
    request: pytest.FixtureRequest, servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The folder of a good backup, with its identity, and its key: to be copied, and damaged."""
    path = tmp_path_factory.mktemp("good")
    key = x25519.Identity.generate()
    (path / "identity").write_text(str(key))
    with databases(servers(15)) as (made,):
        made.as_owner(ORDERS)
        result = made.backed_up(
            folder(path / "store"),
            level=0 if request.param == "uncompressed" else 1,
            recipients=(str(key.to_public()),) if request.param == "encrypted" else (),
        )
    assert result.key is not None
    return path, result.key


@pytest.mark.parametrize("part", ["schema", "rest", "objects", "data-1"])
@pytest.mark.parametrize(
    "change", [flipped, lambda content: content[:-1], lambda _: None], ids=["flipped", "cut", "gone"]
)
def test_a_damaged_part_is_told_and_nothing_of_it_stays(good, target, tmp_path, part, change):
    path, key = good
    shutil.copytree(path, tmp_path, dirs_exist_ok=True)
    store = folder(tmp_path / "store")
    damaged(store, key, part, change)
    restored = target.restored(store, key, identity=tmp_path / "identity")
    assert (restored.outcome, restored.reason) == ("Terminal", "BackupDamaged")
    assert restored.message.startswith(f"part {part} of backup {key} is ")
    rows = target.value("SELECT to_regclass('orders') IS NOT NULL") and target.value("SELECT count(*) FROM orders")
    assert not rows or part == "rest"


@pytest.mark.parametrize("change", [flipped, lambda content: content[: len(content) // 2]], ids=["flipped", "cut"])
def test_a_damaged_manifest_is_no_backup(database, target, store, change):
    made = database.backed_up(store)
    damaged(store, made.key, "manifest.json", change)
    restored = target.restored(store, made.key)
    assert (restored.outcome, restored.reason) == ("Terminal", "BackupDamaged")
    assert "was cut or altered" in restored.message


def test_another_age_identity_is_told_from_damage(database, target, store, tmp_path):
    first, second, other = (x25519.Identity.generate() for _ in range(3))
    made = database.backed_up(store, recipients=(str(first.to_public()), str(second.to_public())))
    identity = tmp_path / "identity"
    identity.write_text(str(other))
    wrong = target.restored(store, made.key, identity=identity)
    assert (wrong.outcome, wrong.reason) == ("Terminal", "WrongKey")
    assert str(first.to_public()) in wrong.message
    assert str(other) not in wrong.message
    none = target.restored(store, made.key)
    assert (none.outcome, none.reason) == ("Terminal", "NoIdentity")
    identity.write_text(f"{other}\n{second}")
    assert target.restored(store, made.key, identity=identity).outcome == "Succeeded"


def test_rows_that_a_login_would_not_see_are_no_backup(database, store):
    database.as_owner("ALTER TABLE orders ENABLE ROW LEVEL SECURITY")
    owner = f"{database.name}__owner"
    assert database.backed_up(store, role="restore", as_role=owner).outcome == "Succeeded"
    database.as_owner("ALTER TABLE orders FORCE ROW LEVEL SECURITY")
    assert database.backed_up(store).rows == 1000
    forced = database.backed_up(store, role="restore", as_role=owner)
    assert (forced.outcome, forced.reason) == ("Terminal", "RowSecurity")
    assert "public.orders forces it on the owner, too: take FORCE away" in forced.message
    database.execute(f'ALTER ROLE "{database.name}__backup_a" NOBYPASSRLS')
    hidden = database.backed_up(store)
    assert (hidden.outcome, hidden.reason) == ("Terminal", "RowSecurity")
    database.execute(f'REVOKE pg_read_all_data FROM "{database.name}__backup_a"')
    refused = database.backed_up(store)
    assert (refused.outcome, refused.reason) == ("Terminal", "NoPrivilege")


def test_only_one_works_on_a_database_at_a_time(database, store):
    with database.as_superuser(application_name="servicedb-migrate") as migrating:
        migrating.execute("SELECT pg_advisory_lock_shared(%s)", (DATABASE_KEY,))
        busy = database.backed_up(store, wait=0.01)
        assert (busy.outcome, busy.reason) == ("Retryable", "LockBusy")
        assert "servicedb-migrate" in busy.message
    assert database.backed_up(store).outcome == "Succeeded"
    assert nothing_left_over(database)


def test_programs_that_are_too_old_are_told_before_anything_starts(servers, store):
    with databases(servers(16)) as (database,):
        database.as_owner(ORDERS)
        made = database.backed_up(store, programs=bin_directory(15))
        assert (made.outcome, made.reason) == ("Terminal", "PgDumpTooOld")
        assert "can't dump a server of 16" in made.message
        assert not list(Path(store.location.removeprefix("folder ")).iterdir())
        good = database.backed_up(store)
        restored = database.restored(store, good.key, programs=bin_directory(16))
        assert (restored.outcome, restored.reason) == ("Terminal", "PgRestoreTooOld")


def test_a_backup_of_a_newer_server_is_not_restored_into_an_older_one(servers, target, store):
    with databases(servers(18)) as (newer,):
        newer.as_owner(ORDERS)
        made = newer.backed_up(store)
    restored = target.restored(store, made.key)
    assert (restored.outcome, restored.reason) == ("Terminal", "ServerTooOld")
    assert "restore it into one of 18 or later" in restored.message


HOSTILE = """
CREATE FUNCTION climb(a int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    BEGIN
        EXECUTE format('ALTER ROLE %I SUPERUSER', session_user);
        EXECUTE 'ALTER ROLE ' || quote_ident(split_part(session_user::text, '__', 1) || '__owner') || ' SUPERUSER';
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END;
    RETURN true; END $$;
CREATE TABLE bait (a int CHECK (public.climb(a)));
INSERT INTO bait VALUES (1);
"""


def test_a_function_that_a_backup_brings_along_gets_nowhere(database, target, store):
    database.as_owner(HOSTILE)
    made = database.backed_up(store)
    assert target.restored(store, made.key).outcome == "Succeeded"
    assert target.rows(f"SELECT rolname FROM pg_roles WHERE rolsuper AND rolname LIKE '{target.name}%'") == []


def test_no_superuser_restores_anything(database, target, store):
    made = database.backed_up(store)
    target.execute(f'ALTER ROLE "{target.name}__restore" SUPERUSER')
    for as_role in (None, f"{target.name}__owner"):
        restored = target.restored(store, made.key, as_role=as_role)
        assert (restored.outcome, restored.reason) == ("Terminal", "SuperuserRefused")


def test_no_password_is_in_an_argument_of_any_process(database, store):
    seen: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(process.read_bytes())
                except OSError:
                    continue

    looking = threading.Thread(target=look)
    looking.start()
    try:
        assert database.backed_up(store).outcome == "Succeeded"
    finally:
        over.set()
        looking.join()
    assert any(b"--snapshot=" in one for one in seen)
    assert not any(b"of-the-tests-alone" in one for one in seen)


def test_what_goes_on_meanwhile_is_not_in_the_backup(database, target, tmp_path):
    def meanwhile() -> None:
        database.as_owner(
            "INSERT INTO orders SELECT g, 'late' FROM generate_series(2000, 2999) g; DELETE FROM orders WHERE id < 10"
        )

    store = Meddling(tmp_path / "store", "schema", meanwhile)
    made = database.backed_up(store)
    assert (made.outcome, made.rows) == ("Succeeded", 1000)
    restored = target.restored(store, made.key)
    assert (restored.outcome, restored.mismatches) == ("Succeeded", [])
    assert target.value("SELECT count(*) FROM orders WHERE what = 'late'") == 0


def test_a_restore_that_lost_a_row_is_no_restore(database, target, store):
    """The part is as it was stored, but no more what the manifest counted: as if pg_dump had left rows out."""
    made = database.backed_up(store)

    def other_counts(content: bytes) -> bytes:
        known = Manifest.parse(content, made.key or "")
        tables = tuple(table.model_copy(update={"rows": table.rows + 1}) for table in known.tables)
        totals = known.totals.model_copy(update={"rows": known.totals.rows + 1})
        return known.model_copy(update={"tables": tables, "totals": totals}).as_bytes()

    damaged(store, made.key, "manifest.json", other_counts)
    restored = target.restored(store, made.key)
    assert (restored.outcome, restored.reason) == ("Terminal", "Mismatch")
    assert restored.mismatches == ["table public.orders has 1000 rows, and had 1001"]
    again = target.restored(store, made.key)
    assert (again.outcome, again.reason) == ("Terminal", "NotEmpty")
    assert f"restored from {made.key}, and it differs from that backup" in again.message
    assert target.value("SELECT count(*) FROM orders") == 1000
    backed_up = target.backed_up(store)
    assert backed_up.reason == "UnfinishedRestore"
    assert "look at what differs, and drop schema servicedb_restore" in backed_up.message
    target.as_owner("DROP SCHEMA servicedb_restore")
    assert target.backed_up(store).rows == 1000


SCHEMAS = """
CREATE SCHEMA a CREATE TABLE t (id int);
CREATE SCHEMA b CREATE TABLE t (id int);
CREATE POLICY of_a ON a.t TO "{n}__rw" USING (true);
CREATE POLICY of_b ON b.t TO "{n}__rw" USING (true);
ALTER DEFAULT PRIVILEGES IN SCHEMA a GRANT SELECT ON TABLES TO "{n}__ro";
ALTER DEFAULT PRIVILEGES IN SCHEMA b GRANT SELECT ON TABLES TO "{n}__ro";
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
"""


def test_one_schema_comes_back_with_its_own_policies_and_privileges_alone(database, target, store):
    database.as_owner(SCHEMAS.format(n=database.name))
    made = database.backed_up(store)
    restored = target.restored(store, made.key, schemas=("a",))
    assert (restored.outcome, restored.message, restored.mismatches) == ("Succeeded", "", [])
    assert target.rows("SELECT polname FROM pg_policy") == [("of_a",)]
    assert target.rows("SELECT defaclnamespace::regnamespace::text FROM pg_default_acl") == [("a",)]


FOREIGN = """
CREATE EXTENSION postgres_fdw SCHEMA extensions;
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO "{n}__owner";
"""


def test_what_a_restore_left_is_dropped_by_the_same_one_alone(database, target, store):
    for one in (database, target):
        one.execute(FOREIGN.format(n=one.name))
    database.as_owner("CREATE SERVER there FOREIGN DATA WRAPPER postgres_fdw")
    made = database.backed_up(store)
    assert target.restored(store, made.key, run="first").outcome == "Succeeded"
    with target.as_superuser() as connection:
        connection.execute(f'SET ROLE "{target.name}__owner"'.encode())
        mark(connection, Mark(made.key or "", "first"))
    target.as_owner("INSERT INTO orders VALUES (0, 'of somebody who needs it')")
    other = database.backed_up(store)
    for key, run in ((made.key, "second"), (other.key, "first")):
        refused = target.restored(store, key, run=run)
        assert (refused.outcome, refused.reason) == ("Terminal", "NotEmpty")
        assert f"which another restore of {made.key} by first left unfinished" in refused.message
    assert target.value("SELECT count(*) FROM orders") == 1001
    restored = target.restored(store, made.key, run="first")
    assert (restored.outcome, restored.message, restored.rows) == ("Succeeded", "", 1000)


def test_an_unreadable_connection_string_and_an_unknown_database_are_told(store, database):
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(database.dsn("nobody"))
    nobody = database.backed_up(store, role="nobody")
    assert (nobody.outcome, nobody.reason) == ("Terminal", "LoginRefused")
