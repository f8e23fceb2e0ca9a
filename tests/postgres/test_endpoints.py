"""Where the operator connects and where applications do: which TLS, how many sessions, and what is pinned in each."""

import asyncio
import socket
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY
from psycopg import sql
from pydantic import SecretStr
from servicedb.kube import resources
from servicedb.naming import LOCK_DATABASE
from servicedb.postgres.connections import Account, Endpoint, Tls
from servicedb.postgres.session import AdminServer

from tests.postgres.conftest import as_admin, on_versions
from tests.postgres.fixtures import StartServer
from tests.postgres.objects import NAMESPACE, OPERATOR_NAMESPACE
from tests.postgres.provision import Operator, Site, key_of
from tests.postgres.server import Server

DAY = timedelta(days=1).total_seconds()


def admin_of(site: Site, connections: int) -> AdminServer:
    endpoint = Endpoint("main", site.server.host, site.server.port, Tls("Disable"))
    return AdminServer(endpoint, Account(site.admin.name, SecretStr(site.admin.password)), connections=connections)


@on_versions(16)
@as_admin("createrole")
async def test_secrets_name_the_client_endpoint_and_logins_are_proved_through_it(site: Site, database: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # not listening
        site.serve(clientEndpoint={"host": "127.0.0.1", "port": nobody.getsockname()[1]})
        site.want(database)
        async with Operator(site.objects) as operator:
            unproved = await operator.bring(database)
    assert (unproved.ready.status, unproved.stalled) == ("Unknown", False), unproved.ready
    assert "password" not in site.secret(database, "app")
    site.serve(clientEndpoint={"host": "localhost"})
    async with Operator(site.objects) as operator:
        assert (await operator.bring(database)).reason == "Ready"
    held = site.secret(database, "app")
    assert (held["host"], held["port"]) == ("localhost", str(site.server.port))
    assert f"@localhost:{site.server.port}/" in held["uri"]


@as_admin("createrole")
async def test_secrets_have_no_owner_that_could_take_them_along(site: Site, orders: str) -> None:
    metadata: dict[str, Any] = site.objects.read()[resources.secret(NAMESPACE, f"{orders.replace('_', '-')}-app")][
        "metadata"
    ]
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "servicedb"
    assert "ownerReferences" not in metadata
    assert "finalizers" not in site.objects.read()[key_of(orders).path]["metadata"]


async def test_the_least_version_of_tls_is_kept_to(private_server: StartServer, tmp_path: Path) -> None:
    server = private_server(15, tls=True, settings={"ssl_max_protocol_version": "TLSv1.2"})
    site = Site.new(server, server.admin, tmp_path)
    authority = {"namespace": OPERATOR_NAMESPACE, "name": "postgres-ca", "key": "ca.crt"}
    for version, status in (("1.3", "False"), ("1.2", "True")):
        site.serve(tls={"mode": "VerifyFull", "caSecretRef": authority, "minVersion": version})
        async with Operator(site.objects) as operator:
            ready = (await operator.look())["Ready"]
        assert ready.status in (status, "Unknown" if status == "False" else status), ready


@on_versions(16)
@as_admin("createrole")
async def test_no_more_sessions_are_open_at_once_than_the_limit_says(site: Site) -> None:
    async with Operator(site.objects) as operator:
        await operator.look()
    admin = admin_of(site, 4)
    seen: list[int] = []

    async def one() -> None:
        async with admin.session(), admin.inside("postgres") as inside:
            row = await (
                await inside.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = current_user")
            ).fetchone()
            assert row is not None
            seen.append(row[0])

    try:
        await asyncio.gather(*(one() for _ in range(12)))
    finally:
        await admin.close()
    assert len(seen) == 12
    assert max(seen) <= 4


PINNED = {
    "search_path": ("evil", "pg_catalog"),
    "row_security": ("on", "off"),
    "statement_timeout": ("1", "1min"),
    "lock_timeout": ("1", "5s"),
    "default_transaction_read_only": ("on", "off"),
    "role": ("pg_monitor", "none"),
    "createrole_self_grant": ("'set, inherit'", ""),
}


@as_admin("createrole")
async def test_nothing_that_is_set_for_the_admin_reaches_its_sessions(site: Site, server: Server) -> None:
    pinned = {name: value for name, value in PINNED.items() if server.version >= 16 or "self_grant" not in name}
    async with Operator(site.objects) as operator:
        await operator.look()
    name = sql.Identifier(site.admin.name)
    with site.as_superuser() as superuser:
        superuser.execute(sql.SQL("GRANT pg_monitor TO {}").format(name))
        for parameter, (hostile, _) in pinned.items():
            text = sql.SQL("ALTER ROLE {} IN DATABASE {} SET {} = " + hostile)
            superuser.execute(text.format(name, sql.Identifier(LOCK_DATABASE), sql.Identifier(parameter)))
    admin = admin_of(site, 2)
    try:
        async with admin.session() as connection:
            for parameter, (_, expected) in pinned.items():
                row = await (await connection.execute(f"SHOW {parameter}".encode())).fetchone()
                assert row == (expected,), parameter
    finally:
        await admin.close()
        with site.as_superuser() as superuser:
            lock = sql.Identifier(LOCK_DATABASE)
            superuser.execute(sql.SQL("ALTER ROLE {} IN DATABASE {} RESET ALL").format(name, lock))
            superuser.execute(sql.SQL("REVOKE pg_monitor FROM {}").format(name))


@on_versions(16)
@as_admin("createrole")
async def test_once_a_day_a_quiet_database_is_entered_and_its_logins_are_tried(site: Site, orders: str) -> None:
    def scans() -> float:
        return REGISTRY.get_sample_value("servicedb_deep_scan_duration_seconds_count", {"server": "main"}) or 0.0

    async with Operator(site.objects) as operator:
        await operator.bring(orders)
        before, key = scans(), key_of(orders)
        assert (await operator.bring(orders)).steps == ()
        assert scans() == before
        looked = operator.world.insides[key]
        operator.world.insides[key] = replace(looked, at=looked.at - DAY - 1)
        assert (await operator.bring(orders)).changes == ()
        assert scans() == before + 1
        for proof, found in list(operator.world.logins.items()):
            operator.world.logins[proof] = replace(found, at=found.at - operator.settings.proof_age - 1)
        tried = await operator.bring(orders)
    assert {type(step).__name__ for step in tried.steps} == {"ProveLogin"}
    assert len(tried.steps) == 4
    assert operator.settings.proof_age == DAY
