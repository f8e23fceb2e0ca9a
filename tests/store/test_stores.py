"""What every store does, whatever it is kept in."""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from servicedb.plan.backups.keys import PARTIAL
from servicedb.store.folder import FolderStore
from servicedb.store.interface import Store
from servicedb.store.problems import NoSuchObject
from servicedb.store.s3 import S3Store

from tests.store.gateway import Gateway

MIB = 1 << 20


def content(store: Store, key: str) -> bytes:
    return b"".join(store.read(key))


def keys(store: Store, prefix: str = "") -> list[str]:
    return sorted(one.key for one in store.list(prefix))


@pytest.mark.parametrize(
    "chunks",
    [[], [b""], [b"a"], [b"a", b"", b"bc"], [bytes(range(256)) * (MIB // 256)] * 21],
    ids=["nothing", "an empty chunk", "one", "several", "21 MiB"],
)
def test_what_is_put_is_read(store, chunks):
    store.put("a/b.zst", iter(chunks))
    assert content(store, "a/b.zst") == b"".join(chunks)
    (stored,) = store.list("")
    assert (stored.key, stored.size) == ("a/b.zst", sum(map(len, chunks)))
    assert abs(stored.modified - datetime.now(UTC)) < timedelta(minutes=5)


def test_a_range_is_read(store):
    store.put("a", [b"0123456789"])
    assert [store.read_range("a", *span) for span in ((0, 3), (4, 2), (8, 10), (0, 0))] == [b"012", b"45", b"89", b""]


def test_it_is_put_in_place_of_what_was_there(store):
    store.put("a", [b"old"])
    store.put("a", [b"new one"])
    assert content(store, "a") == b"new one"


def test_a_list_shows_what_lies_in_a_folder_and_below(store):
    for key in ("a/1", "a/2/3", "ab/4", "5"):
        store.put(key, [b"x"])
    assert keys(store) == ["5", "a/1", "a/2/3", "ab/4"]
    assert keys(store, "a/") == ["a/1", "a/2/3"]
    assert keys(store, "none/") == []


def test_a_list_goes_on_over_many_pages(store):
    """A page of S3 has a thousand objects; a folder has no pages."""
    expected = {f"{number:04}/x" for number in range(1100 if isinstance(store, S3Store) else 50)}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: store.put(key, [b"x"]), expected))
    assert {one.key for one in store.list("")} == expected


def test_exactly_what_is_named_is_deleted(store):
    for key in ("a/b", "a/bc", "a/b.zst", "ab"):
        store.put(key, [b"x"])
    store.delete("a/b")
    store.delete("a/b")
    store.delete("never/there")
    assert keys(store) == ["a/b.zst", "a/bc", "ab"]


def test_what_is_not_there_is_said_by_name(store):
    store.put("a", [b"x"])
    for ask in (
        lambda: content(store, "none"),
        lambda: store.read_range("none", 0, 1),
        lambda: content(store, "no/ne"),
    ):
        with pytest.raises(NoSuchObject, match=r"^no/?ne is not in .*was it pruned"):
            ask()


def failing(size: int, error: BaseException) -> Iterator[bytes]:
    yield from [b"x" * MIB] * size
    raise error


@pytest.mark.parametrize("size", [0, 1, 20])
@pytest.mark.parametrize("error", [KeyError("the dump"), FileNotFoundError("the dump"), KeyboardInterrupt()], ids=repr)
def test_chunks_that_end_in_an_error_leave_what_was_there(store, gateway, size, error):
    store.put("a/b", [b"before"])
    uploads = gateway.uploads()
    for key in ("a/b", "a/new"):
        with pytest.raises(type(error)) as raised:
            store.put(key, failing(size, error))
        assert raised.value is error
    assert content(store, "a/b") == b"before"
    assert keys(store) == ["a/b"]
    assert gateway.uploads() == uploads


KILLED = """
import os, signal, sys
from pathlib import Path
from servicedb.store.location import open_store
from servicedb.store.s3 import S3Store

def chunks(size):
    for _ in range(size):
        yield b"x" * (1 << 20)
    os.kill(os.getpid(), signal.SIGKILL)

url, credentials, size = sys.argv[1:]
open_store(url, Path(credentials) if credentials else None).put("a/b", chunks(int(size)))
"""


def locations(store: Store, gateway: Gateway, volume: Path) -> tuple[str, str]:
    if isinstance(store, FolderStore):
        return volume.as_uri(), ""
    prefix = store.location.partition(" ")[0].removeprefix("s3://backups/")
    return gateway.url(prefix), str(gateway.credentials)


@pytest.mark.parametrize("size", [1, 20])
def test_a_killed_process_leaves_what_was_there(store, gateway, volume, size):
    store.put("a/b", [b"before"])
    where = locations(store, gateway, volume)
    killed = subprocess.run([sys.executable, "-c", KILLED, *where, str(size)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert content(store, "a/b") == b"before"
    whole = [key for key in keys(store) if PARTIAL not in key]
    assert whole == ["a/b"]
    if isinstance(store, FolderStore):  # what pruning sweeps up
        assert [key.startswith(f"a/b{PARTIAL}") for key in keys(store) if key not in whole] == [True]


def test_several_threads_use_one_store(store):
    def work(number: int) -> None:
        for turn in range(5):
            key = f"{number}/{turn}"
            store.put(key, [key.encode()] * 3)
            assert content(store, key) == key.encode() * 3
            store.delete(key)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    assert keys(store) == []


def test_it_is_the_same_store_when_it_is_opened_again(open_again: Callable[[], Store]):
    open_again().put("a", [b"x"])
    assert content(open_again(), "a") == b"x"
