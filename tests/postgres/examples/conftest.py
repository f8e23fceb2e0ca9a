"""What the tests of the examples share: the oldest and the newest server, used by an admin that is no superuser."""

from collections.abc import Callable

import pytest

from tests.postgres.binaries import VERSIONS
from tests.postgres.server import Server


@pytest.fixture(scope="module", params=[VERSIONS[0], VERSIONS[-1]], ids=lambda version: f"pg{version}")
def server(request: pytest.FixtureRequest, servers: Callable[[int], Server]) -> Server:
    version: int = request.param
    return servers(version)


@pytest.fixture(scope="module")
def admin() -> str:
    return "createrole"
