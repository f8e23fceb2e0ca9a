"""Backups, restores, verifications and prunings that are killed with SIGKILL at any moment: by a clock, not by steps.

SERVICEDB_RANDOM_KILLS says how many there are in all, SERVICEDB_RANDOM_KILLS_SEED repeats those of the seed that a
failure shows.
"""

import os
import random
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import pytest
from psycopg.conninfo import make_conninfo
from servicedb.jobs.backup.request import Request as BackupRequest
from servicedb.jobs.prune.catalogue import list_backups
from servicedb.jobs.prune.prune import Request as PruneRequest
from servicedb.jobs.restore.request import Request as RestoreRequest
from servicedb.plan.backups.keys import Group, Place, backup_id
from servicedb.plan.backups.manifest import Started
from servicedb.plan.backups.retention import Retention

from tests.backups import NOW, content, manifest
from tests.cluster.harness.deadline import wait_until
from tests.postgres.binaries import bin_directory
from tests.postgres.dumped import NEWEST, Database, databases, folder
from tests.postgres.killed_by_clock import (
    Work,
    back_up,
    killed_after,
    prune_there,
    restore_into,
    restore_on_trial,
    took,
)
from tests.postgres.server import Server
from tests.postgres.test_backup_kills import empty

EACH: Final = max(1, int(os.environ.get("SERVICEDB_RANDOM_KILLS", "8")) // 4)
SEED: Final = os.environ.get("SERVICEDB_RANDOM_KILLS_SEED") or secrets.token_hex(4)
GONE_WITHIN: Final = timedelta(seconds=60)

TABLES: Final = """
CREATE TABLE customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, note text);
CREATE INDEX ON orders (customer, note);
INSERT INTO customers (name) SELECT md5(g::text) FROM generate_series(1, 2000) g;
INSERT INTO orders SELECT g, g % 2000 + 1, md5(g::text) FROM generate_series(1, 20000) g;
CREATE MATERIALIZED VIEW busy AS SELECT customer, count(*) FROM orders GROUP BY 1;
SELECT lo_from_bytea(4711, 'large');
"""
BACKUPS: Final = 12
KEEP: Final = PruneRequest(retention=Retention(keep_last=3), most=BACKUPS)
SCRATCH: Final = """
SELECT ARRAY(SELECT datname FROM pg_database WHERE datname LIKE 'servicedb_verify%'
             UNION SELECT rolname FROM pg_roles WHERE rolname LIKE 'servicedb_verify%')
"""
VERIFYING: Final = "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'servicedb-verify'"


@dataclass(frozen=True, slots=True)
class Yard:
    """A database whose backup is `key` in the folder `root`, and another one to restore into."""

    source: Database
    target: Database
    root: Path
    key: str

    @property
    def admin(self) -> str:
        admin = self.source.server.admin
        return make_conninfo("", **self.source.server.parameters(admin.name, admin.password, "postgres"))

    def restoring(self, key: str) -> RestoreRequest:
        return RestoreRequest(key=key, as_role=f"{self.target.name}__owner", programs=bin_directory(NEWEST))

    def check_restores(self, root: Path, key: str) -> None:
        restored = self.target.restored(folder(root), key)
        assert (restored.outcome, restored.message, restored.mismatches) == ("Succeeded", "", [])
        assert self.target.contents() == self.source.contents()


@pytest.fixture(scope="module")
def yard(servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with databases(servers(16), servers(16)) as (source, target):
        source.as_owner(TABLES)
        root = tmp_path_factory.mktemp("good")
        key = source.backed_up(folder(root)).key
        assert key is not None
        yield Yard(source, target, root, key)


def kills(work: Callable[[int], Work], after: Callable[[int], None]) -> None:
    """Kill it at random moments of its length, and look at what is there `after` each. Both get the kill's number."""
    length = took(work(0))
    chosen = random.Random(SEED)
    killed = 0
    for number in range(1, EACH + 1):
        seconds = chosen.uniform(0, length)
        print(f"seed {SEED}: kill {number}, {seconds:.3f} s after the begin, of {length:.3f} s")
        process = killed_after(seconds, work(number))
        assert process.exitcode in (-signal.SIGKILL, 0)
        killed += process.exitcode == -signal.SIGKILL
        after(number)
    print(f"seed {SEED}: {killed} of {EACH} were killed before their end")


def test_a_backup_leaves_none_or_one_that_restores(yard: Yard, tmp_path: Path) -> None:
    request = BackupRequest(run="killed", programs=bin_directory(NEWEST))

    def work(number: int) -> Work:
        (root := tmp_path / str(number)).mkdir()
        return partial(back_up, request, yard.source.dsn("backup_a"), root)

    def after(number: int) -> None:
        root = tmp_path / str(number)
        for path in root.rglob("manifest.json"):
            key = str(path.relative_to(root))
            empty(yard.target, key)
            yard.check_restores(root, key)

    kills(work, after)


def test_a_restore_is_begun_anew_by_the_next_one_and_ends_whole(yard: Yard) -> None:
    def work(_: int) -> Work:
        empty(yard.target, yard.key)
        return partial(restore_into, yard.restoring(yard.key), yard.target.dsn("restore"), yard.root)

    def after(_: int) -> None:
        if not yard.target.value("SELECT to_regnamespace('servicedb_restore') IS NULL"):
            yard.check_restores(yard.root, yard.key)
        assert yard.target.contents() == yard.source.contents()
        assert yard.target.schema() == yard.source.schema()

    kills(work, after)


def test_a_verification_leaves_no_scratch_database_after_the_next_one(yard: Yard) -> None:
    request = RestoreRequest(key=yard.key, programs=bin_directory(NEWEST))
    verifying = partial(restore_on_trial, request, yard.admin, yard.root)

    def after(_: int) -> None:
        # A server notices that a client is gone when the statement at work has ended.
        assert wait_until(lambda: yard.source.value(VERIFYING), GONE_WITHIN)
        verified = verifying()
        assert (verified.outcome, verified.message) == ("Succeeded", "")
        assert yard.source.value(SCRATCH) == []

    kills(lambda _: verifying, after)


def test_a_pruning_loses_no_backup_that_is_kept_and_the_next_one_ends_it(tmp_path: Path) -> None:
    group = Group("7300000000000000001", 16384)
    places = [Place(group, backup_id(NOW - timedelta(days=BACKUPS - n), "00c0ffee")) for n in range(BACKUPS)]
    kept = [place.manifest for place in places[-3:]]

    def work(number: int) -> Work:
        store = folder(tmp_path / str(number))
        for place in places:
            store.put(place.started, [Started(run="a run", started_at=NOW, beat_at=NOW).as_bytes()])
            whole = manifest(place)
            for part in whole.parts:
                store.put(part.key, [content(part.size_bytes)])
            store.put(place.manifest, [whole.as_bytes()])
        return partial(prune_there, KEEP, tmp_path / str(number), NOW)

    def after(number: int) -> None:
        store = folder(tmp_path / str(number))
        there = [one.key for one in list_backups(store, None).backups]
        assert there[-3:] == kept
        pruned = prune_there(KEEP, tmp_path / str(number), NOW)
        assert (pruned.outcome, pruned.message) == ("Succeeded", "")
        assert {Path(one.key).parent for one in store.list("")} == {Path(key).parent for key in kept}

    kills(work, after)
