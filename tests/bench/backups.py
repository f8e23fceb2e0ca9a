"""Ten thousand backups in a store: how long it takes to list them and to prune, and in how much memory."""

import hashlib
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from servicedb.jobs.prune.catalogue import AT_ONCE, list_backups
from servicedb.jobs.prune.prune import Request, prune
from servicedb.plan.backups.keys import Group, Place, backup_id
from servicedb.plan.backups.manifest import Table, Totals
from servicedb.plan.backups.retention import Retention
from servicedb.store.interface import Store
from servicedb.store.location import open_store

from tests.backups import NOW, manifest
from tests.bench.report import Row
from tests.store.gateway import BUCKET, Gateway

_BACKUPS = 10_000
_DATABASES = 50
_TABLES = 100
_MEGABYTES = 250.0
_PRUNED = 10

_context = multiprocessing.get_context("spawn")


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder, Gateway.running(Path(folder) / "server") as gateway:
        files = gateway.data / BUCKET
        newest = _fill(files)
        for kind, url, credentials in (
            ("a folder", files.as_uri(), None),
            ("a bucket", gateway.url(), gateway.credentials),
        ):
            case = f"{_BACKUPS} backups of {_TABLES} tables in {kind}"
            plain, _ = _measured(_read_all, url, credentials)
            listed, memory = _measured(_list, url, credentials)
            pruned, _ = _measured(_prune, url, credentials)
            yield Row("backups", f"{case}: listed, against only read", listed, plain, "s", "lower", 5.0)
            yield Row("backups", f"{case}: memory", memory, _MEGABYTES, "MB", "lower", 1.0)
            yield Row("backups", f"{case}: {_PRUNED} pruned, against listed", pruned, listed, "s", "lower", 2.0)
        assert newest.exists()


def _fill(folder: Path) -> Path:
    """Backups of some databases, one an hour each; gives the path of the newest manifest."""
    tables = tuple(Table(schema_="public", name=f"table_{number}", rows=7) for number in range(_TABLES))
    file = folder
    for number in range(_BACKUPS):
        at = NOW - timedelta(hours=(_BACKUPS - number) // _DATABASES)
        place = Place(Group("7300000000000000001", 16384 + number % _DATABASES), backup_id(at, f"{number:08x}"))
        found = manifest(place, sizes=(1, 1), completed_at=at)
        totals = Totals(rows=7 * _TABLES, size_bytes=2, raw_bytes=4)
        (folder / place.prefix).mkdir(parents=True)
        for part in found.parts:
            (folder / part.key).write_bytes(b"x")
        file = folder / place.manifest
        file.write_bytes(found.model_copy(update={"tables": tables, "totals": totals}).as_bytes())
    return file


def _read_all(store: Store) -> None:
    """What cannot be spared: the keys, and each manifest once."""
    listed = [one for one in store.list("") if one.key.endswith("/manifest.json")]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        digests = list(threads.map(lambda one: hashlib.sha256(store.read_range(one.key, 0, one.size)).digest(), listed))
    assert len(digests) > _BACKUPS - 3 * _PRUNED


def _list(store: Store) -> None:
    assert len(list_backups(store, None).backups) > _BACKUPS - 3 * _PRUNED


def _prune(store: Store) -> None:
    result = prune(store, Request(retention=Retention(keep_last=3), most=_PRUNED), NOW)
    assert len(result.pruned) == _PRUNED, result.message


def _measured(work: Callable[[Store], None], url: str, credentials: Path | None) -> tuple[float, float]:
    """Seconds of `work`, and the most memory (MB) that a process of its own took for it."""
    here, there = _context.Pipe()
    process = _context.Process(target=_measure, args=(work, url, credentials, there))
    process.start()
    there.close()
    seconds, megabytes = here.recv()
    process.join()
    return seconds, megabytes


def _measure(work: Callable[[Store], None], url: str, credentials: Path | None, answer: Connection) -> None:
    store = open_store(url, credentials)
    started = time.monotonic()
    work(store)
    answer.send((time.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3))
