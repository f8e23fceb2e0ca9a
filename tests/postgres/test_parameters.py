"""The parameters that a ServiceDatabase may set are, on each version, such as any role may set for itself."""

import pytest
from servicedb.plan.parameters import ALLOWED

from tests.postgres.server import Server


@pytest.fixture(scope="module")
def contexts(server: Server) -> dict[str, str]:
    """Parameter -> who may set it and when, spelt as the server spells both."""
    with server.connect() as connection:
        return dict(connection.execute("SELECT name, context FROM pg_settings").fetchall())


def test_each_of_them_that_the_server_knows_is_the_users_own(contexts: dict[str, str]) -> None:
    assert {name: contexts[name] for name in ALLOWED & contexts.keys() if contexts[name] != "user"} == {}


def test_none_is_spelt_in_another_way_than_the_server_does(contexts: dict[str, str]) -> None:
    spelt = {name.lower(): name for name in contexts}
    assert {name for name in ALLOWED if spelt.get(name.lower(), name) != name} == set()


def test_the_server_knows_nearly_all_of_them(contexts: dict[str, str]) -> None:
    """A name that no server knows would be a slip; a few came with one version or another."""
    assert len(ALLOWED - contexts.keys()) <= 3
