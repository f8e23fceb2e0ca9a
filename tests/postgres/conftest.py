"""What the tests on real servers share: a cluster's objects, and the two kinds of admin."""

from collections.abc import Callable, Iterator

import pytest

from tests.postgres.binaries import VERSIONS
from tests.postgres.provision import Operator, Site, full_spec, run, unused_name
from tests.postgres.server import Login, Server

ADMINS = ("createrole", "superuser")


def on_versions(*versions: int) -> pytest.MarkDecorator:
    """On these versions alone: for what the servers differ in."""
    return pytest.mark.parametrize("server", versions, indirect=True, ids=lambda version: f"pg{version}")


def as_admin(kind: str) -> pytest.MarkDecorator:
    """By one kind of admin alone."""
    return pytest.mark.parametrize("admin", [kind], indirect=True)


def superusers_on_the_newest_alone() -> pytest.MarkDecorator:
    """For what is many cases, and asks a superuser for nothing that differs between the versions."""
    sites = [*((version, "createrole") for version in VERSIONS), (VERSIONS[-1], "superuser")]
    return pytest.mark.parametrize(
        ("server", "admin"), sites, indirect=True, ids=[f"pg{version}-{kind}" for version, kind in sites]
    )


def admin_of(server: Server, kind: str) -> Login:
    return server.superuser if kind == "superuser" else server.admin


@pytest.fixture(scope="session")
def shared_site(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Server, str], Site]:
    """Gives a new cluster that uses a shared server by an admin of the given kind."""

    async def look(site: Site) -> None:
        async with Operator(site.objects) as operator:
            await operator.look()

    def new(server: Server, kind: str) -> Site:
        # The operator's own database first belongs to the admin that is no superuser: both may use it then.
        run(look(Site.new(server, server.admin, tmp_path_factory.mktemp("objects"))))
        return Site.new(server, admin_of(server, kind), tmp_path_factory.mktemp("objects"))

    return new


@pytest.fixture(scope="module", params=ADMINS)
def admin(request: pytest.FixtureRequest) -> str:
    """The kind of admin: CREATEROLE and CREATEDB, or a superuser."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def module_site(server: Server, admin: str, shared_site: Callable[[Server, str], Site]) -> Site:
    """A new cluster on a shared server, for the tests of one file."""
    return shared_site(server, admin)


@pytest.fixture
def site(server: Server, admin: str, shared_site: Callable[[Server, str], Site]) -> Site:
    """A new cluster on a shared server."""
    return shared_site(server, admin)


@pytest.fixture
def database(site: Site) -> Iterator[str]:
    """The name for a database on `site`, which is removed after the test."""
    name = unused_name("shop")
    yield name
    site.drop(name)


@pytest.fixture
def orders(site: Site, database: str) -> str:
    """A database with all kinds of logins, Ready."""
    site.provision(database, full_spec(database, schemas=[{"name": "app"}]))
    return database
