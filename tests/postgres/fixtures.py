"""Fixtures that give real PostgreSQL servers; registered for all tests by tests/conftest.py."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.postgres.binaries import VERSIONS
from tests.postgres.server import Server, session_directory


class StartServer(Protocol):
    """Starts a server of `version` for the calling test alone; the arguments are those of `Server.start_new`."""

    def __call__(
        self,
        version: int = ...,
        *,
        host: str = ...,
        tls: bool = ...,
        settings: dict[str, str] | None = ...,
    ) -> Server: ...


@pytest.fixture(scope="session")
def servers() -> Iterator[Callable[[int], Server]]:
    """Gives the run's shared server of a version; starts it when it is first asked for."""
    running: dict[int, Server] = {}

    def shared(version: int) -> Server:
        if version not in running:
            running[version] = Server.start_new(version, _new_directory(f"shared-{version}-"))
        return running[version]

    yield shared
    for server in running.values():
        server.remove()


@pytest.fixture(scope="module", params=[pytest.param(version, id=f"pg{version}") for version in VERSIONS])
def server(request: pytest.FixtureRequest, servers: Callable[[int], Server]) -> Server:
    """A running server of each version in turn, shared by the whole run: don't stop it, use names of your own."""
    version: int = request.param
    return servers(version)


@pytest.fixture(scope="session")
def tls_server() -> Iterator[Server]:
    """A running server that takes TLS connections alone, shared by the whole run."""
    with Server.start_new(15, _new_directory("shared-tls-"), tls=True) as server:
        yield server


@pytest.fixture
def private_server() -> Iterator[StartServer]:
    """Starts servers for one test alone, which may stop, kill and change them; removes them after it."""
    started: list[Server] = []

    def start(
        version: int = 15,
        *,
        host: str = "127.0.0.1",
        tls: bool = False,
        settings: dict[str, str] | None = None,
    ) -> Server:
        server = Server.start_new(version, _new_directory("private-"), host=host, tls=tls, settings=settings)
        started.append(server)
        return server

    yield start
    for server in started:
        server.remove()


def _new_directory(prefix: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=prefix, dir=session_directory()))
