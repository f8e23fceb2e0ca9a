"""What a new database looks like to PostgreSQL, down to the last privilege, on each version."""

from tests.postgres.provision import Site, full_spec
from tests.postgres.server import Server
from tests.postgres.snapshot import recorded, snapshot

SPEC = {
    "schemas": [{"name": "app"}],
    "connectionLimit": 40,
    "parameters": {"statement_timeout": "30s", "work_mem": "8MB"},
}
"""What the snapshots were recorded with, besides a login of each kind."""


def test_a_new_database_has_exactly_the_roles_privileges_and_settings_of_the_snapshot(
    site: Site, server: Server, admin: str, database: str
) -> None:
    site.provision(database, full_spec(database, **SPEC))
    with site.as_superuser(database) as connection:
        seen = snapshot(connection, admin=site.admin.name)
    assert seen == recorded(seen, admin=admin, version=server.version)


def test_a_snapshot_is_the_same_for_whoever_takes_it(site: Site, orders: str) -> None:
    """So that one can be taken wherever an application logs in, without a superuser."""
    with site.as_superuser(orders) as superuser, site.login(orders, "readOnly") as reader:
        assert snapshot(reader, admin=site.admin.name) == snapshot(superuser, admin=site.admin.name)
