"""ServiceDatabases with policy Delete: made, with data in them, and watched on their way out."""

from typing import Any, Final

import psycopg

from tests.cluster.objects import wait_for
from tests.cluster.tenant import Tenant, marker_of, roles_of, shown
from tests.postgres.server import Server

SOON: Final = "2s"
WEEK: Final = "7d"


def deletable(name: str, grace: str) -> dict[str, Any]:
    return {
        "spec.roles.migrator": {"secretName": f"{name}-migrator"},
        "spec.deletion": {"policy": "Delete", "gracePeriod": grace},
    }


def make(tenant: Tenant, name: str, grace: str) -> None:
    tenant.create(name, deletable(name, grace))
    tenant.wait_ready(name)


def keep_a_row(tenant: Tenant, name: str) -> None:
    with tenant.log_in(f"{name}-migrator") as session:
        session.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 'still here' AS word")


def kept(tenant: Tenant, name: str) -> list[tuple[Any, ...]]:
    with tenant.log_in(f"{name}-app") as session:
        return session.execute("SELECT word FROM kept").fetchall()


def deleted_at(server: Server, name: str) -> str | None:
    return getattr(marker_of(server, name), "deleted_at", None)


def is_there(server: Server, name: str) -> bool:
    with server.connect() as connection:
        return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None


def secrets_of(tenant: Tenant, name: str) -> list[str]:
    return [one for one in tenant.secrets() if one.startswith(f"{name}-")]


def wait_deleted(tenant: Tenant, name: str) -> None:
    """Wait until all is done that is done before the grace is over."""
    wait_for(f"the mark on {name}", lambda: deleted_at(tenant.server, name) is not None)
    wait_for(f"the end of the Secrets of {name}", lambda: not secrets_of(tenant, name))


def wait_dropped(tenant: Tenant, name: str) -> None:
    """Wait until nothing is left."""
    server = tenant.server
    wait_for(f"the drop of {name}", lambda: not is_there(server, name), told=lambda: shown(tenant.get_server()))
    wait_for(f"the drop of the roles of {name}", lambda: roles_of(server, name) == set())
    assert not secrets_of(tenant, name)


def has_ended(session: psycopg.Connection[Any]) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def events_about(tenant: Tenant, namespace: str, reason: str) -> list[str]:
    return [one["message"] for one in tenant.objects.listed("Event", namespace) if one["reason"] == reason]
