"""What the tests on real stores share."""

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


@pytest.fixture(params=["bucket", "folder"])
def open_again(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Opens a store, empty at first: the same one each time. Once for each kind."""
    if request.param == "folder":
        folder = tmp_path / "volume"
        folder.mkdir()
        return lambda: open_store(folder.as_uri())
    gateway: Gateway = request.getfixturevalue("gateway")
    url = gateway.url(f"{uuid4().hex}/team=a")
    return lambda: open_store(url, gateway.credentials)


@pytest.fixture
def store(open_again: Callable[[], Store]) -> Store:
    """An empty store."""
    return open_again()
