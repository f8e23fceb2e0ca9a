"""What the tests on real stores share."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from servicedb.store.interface import Store
from servicedb.store.location import open_store

from tests.store.gateway import Gateway


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A server with a bucket, shared by the whole run: use a prefix of your own, and don't stop it."""
    with Gateway.running(tmp_path_factory.mktemp("gateway") / "server") as running:
        yield running


_MEMORY = Path("/dev/shm")


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Path]:
    """An empty folder; in memory where there is such: what is tested here is no power cut, and many a disk is slow to
    bring a file to safety."""
    in_memory = str(_MEMORY) if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="servicedb-volume-", dir=in_memory or tmp_path) as folder:
        yield Path(folder)


@pytest.fixture(params=["bucket", "folder"])
def open_again(request: pytest.FixtureRequest, volume: Path) -> Callable[[], Store]:
    """Opens a store, empty at first: the same one each time. Once for each kind."""
    if request.param == "folder":
        return lambda: open_store(volume.as_uri())
    gateway: Gateway = request.getfixturevalue("gateway")
    url = gateway.url(f"{uuid4().hex}/team=a")
    return lambda: open_store(url, gateway.credentials)


@pytest.fixture
def store(open_again: Callable[[], Store]) -> Store:
    """An empty store."""
    return open_again()
