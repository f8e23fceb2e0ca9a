"""What 1,000 databases cost that nobody changes, and how soon a change by hand to one of them is taken back."""

import asyncio
import time
from collections.abc import Awaitable, Iterator

from pydantic import SecretStr
from servicedb.postgres.catalog import scan_server
from servicedb.postgres.connections import Account, Endpoint, Tls, connect

from tests.bench.fleet import applied, count_in_log, fleet
from tests.bench.report import Row
from tests.postgres.server import Server

_DATABASES = 1000
_RESYNC = 60
_DEFAULT_RESYNC = 600
"""The resync comes ten times as often as by default, so that a window of three minutes sees three of them; what is
counted is given for the default."""
_SECONDS = 180.0
_SETTLES_WITHIN = 8
_LATEST = 1.1
"""Resyncs come at 0.9 to 1.1 of their time."""
_SCANS = 5
_STATEMENTS_ALLOWED, _CONNECTIONS_ALLOWED = 10.0, 2.0
"""A minute, beyond the shared scan and the look at the server that goes with it."""


def rows() -> Iterator[Row]:
    with fleet(resync=_RESYNC, log_statements=True) as running:
        running.apply(*(applied(number) for number in range(_DATABASES)))
        running.wait_ready(_DATABASES)
        _settle(running.server)
        usage, since, started = running.usage(), running.server.log_path.stat().st_size, time.monotonic()
        time.sleep(_SECONDS)
        minutes = (time.monotonic() - started) / 60
        scaled = minutes * _DEFAULT_RESYNC / _RESYNC
        later = running.usage()
        statements = count_in_log(running.server, r"LOG:  (?:statement|execute [^:]*):", since=since) / scaled
        connections = count_in_log(running.server, r"LOG:  connection authorized", since=since) / scaled
        repaired = _seconds_to_repair(running.server)
        scan, plain = _seconds_to_scan(running.server)
    case = f"{_DATABASES} ready, resync {_DEFAULT_RESYNC} s"
    yield Row("idle", f"{case}: statements", statements, _STATEMENTS_ALLOWED, "1/min", "lower", 1.0)
    yield Row("idle", f"{case}: new connections", connections, _CONNECTIONS_ALLOWED, "1/min", "lower", 1.0)
    yield Row("idle", f"{case}: operator CPU", (later.cpu - usage.cpu) / 60 / scaled, 1.0, "cores", "lower", None)
    yield Row("idle", f"{case}: operator memory", later.rss / 1e6, 250.0, "MB", "lower", 1.0)

    case = f"one of {_DATABASES}: REVOKE USAGE ON SCHEMA by hand, until it is back"
    yield Row("repair", case, repaired, _RESYNC * _LATEST, "s", "lower", 1.0)
    yield Row("repair", f"the scan of {_DATABASES} databases against SELECT *", scan, plain, "s", "lower", None)


def _seconds_to_repair(server: Server) -> float:
    """From REVOKE on, as an administrator sees it who looks every tenth of a second."""
    database = applied(_DATABASES // 2)["metadata"]["name"].replace("-", "_")
    with server.connect(dbname=database) as connection:
        connection.execute(f'REVOKE USAGE ON SCHEMA public FROM "{database}__rw"'.encode())
        started = time.monotonic()
        granted = f"SELECT has_schema_privilege('{database}__rw', 'public', 'USAGE')".encode()
        while connection.execute(granted).fetchone() != (True,):
            if time.monotonic() - started > 10 * _RESYNC:
                break
            time.sleep(0.1)
    return time.monotonic() - started


def _seconds_to_scan(server: Server) -> tuple[float, float]:
    """The shared scan, and all rows of the same catalogues as they are; each the fastest of some."""
    tables = (
        "pg_roles",
        "pg_database",
        "pg_auth_members",
        "pg_db_role_setting",
        "pg_shdescription",
        "pg_stat_database",
    )

    async def scans() -> list[float]:
        account = Account(server.admin.name, SecretStr(server.admin.password))
        endpoint = Endpoint("bench", server.host, server.port, Tls("Disable"))
        async with await connect(endpoint, account, "postgres") as connection:
            return [await _seconds(scan_server(connection)) for _ in range(_SCANS)]

    with server.connect() as connection:
        plain = []
        for _ in range(_SCANS):
            started = time.monotonic()
            for table in tables:
                connection.execute(f"SELECT * FROM {table}".encode()).fetchall()
            plain.append(time.monotonic() - started)
    return min(asyncio.run(scans())), min(plain)


async def _seconds(work: Awaitable[object]) -> float:
    started = time.monotonic()
    await work
    return time.monotonic() - started


def _settle(server: Server) -> None:
    """Wait for a resync that looked into no database: autovacuum visits new ones once, and is looked after."""
    for _ in range(_SETTLES_WITHIN):
        since = server.log_path.stat().st_size
        time.sleep(_RESYNC)
        if count_in_log(server, r"LOG:  connection authorized", since=since) < _DATABASES / 100:
            return
