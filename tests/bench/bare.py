"""The reference: a script of plain psycopg that sends the same SQL for each database, and knows nothing else.

It plans nothing while it is timed, reads no catalogue, writes no Secret, asks no API server.
"""

import secrets
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from typing import Any

import psycopg
from psycopg import sql
from servicedb.api.database_server import DatabaseServer
from servicedb.api.service_database import ServiceDatabase
from servicedb.plan.credentials import LoginState
from servicedb.plan.database import current_marker, database_steps
from servicedb.plan.inside import inside_steps
from servicedb.plan.marker import Marker
from servicedb.plan.memberships import membership_steps, wanted_memberships
from servicedb.plan.observed import PUBLIC, InsideScan, Membership, Privilege, Schema, ServerScan
from servicedb.plan.resolve import resolve
from servicedb.plan.roles import role_steps
from servicedb.plan.steps import CreateDatabase, SetPassword, Step
from servicedb.postgres.execute import grant, revoke, set_verifier, statements

from tests.postgres.server import Server

_BORN = InsideScan(
    schemas={
        "public": Schema(
            "public",
            "pg_database_owner",
            frozenset({Privilege(PUBLIC, "USAGE")}),
        )
    },
    default_privileges={
        "TABLES": frozenset(),
        "SEQUENCES": frozenset(),
        "ROUTINES": frozenset({Privilege(PUBLIC, "EXECUTE")}),
        "TYPES": frozenset({Privilege(PUBLIC, "USAGE")}),
        "SCHEMAS": frozenset(),
    },
    extensions={},
)


@dataclass(frozen=True, slots=True)
class Script:
    """What is sent for one database, in the order in which it is sent. `logins` work as the role they map to."""

    database: str
    roles: str
    passwords: tuple[str, ...]
    create: str
    opening: str
    inside: str


def script_for(manifest: dict[str, Any], server: DatabaseServer, *, admin: str, version: int) -> Script:
    """The SQL that servicedb sends for the ServiceDatabase `manifest`, from its own plan."""
    sdb = ServiceDatabase.parse(manifest)
    uid = "00000000-0000-0000-0000-000000000000"
    wanted = resolve(sdb, server, Marker(uid, uid, sdb.metadata.namespace, uid, sdb.metadata.name, uid, oid=1))
    nothing = ServerScan(version, admin, False, "0", roles={}, databases={})
    states = {login.role: LoginState(None, login.halves[0]) for login in wanted.logins}
    marker = current_marker(wanted, nothing)
    planned = list(role_steps(wanted, marker, states, {}, now=datetime.now(UTC), overlap=timedelta(hours=1)))
    roles: list[Step] = [step for step in planned if not isinstance(step, SetPassword)]
    roles += membership_steps(wanted_memberships(wanted), frozenset())
    database = list(database_steps(wanted, nothing))
    acting = Membership(wanted.names.owner, admin, inherit=True, set_role=True)

    def text(steps: Sequence[Step], *, acting_for: Membership | None = None) -> str:
        parts = [statement for step in steps for statement in statements(step, server_version=version)]
        if acting_for is not None:
            parts = [grant(acting_for, server_version=version), *parts, revoke(acting_for)]
        return sql.SQL("; ").join(parts).as_string(None)

    return Script(
        database=wanted.database,
        roles=text(roles),
        passwords=tuple(login.halves[0] for login in wanted.logins),
        create=text([step for step in database if isinstance(step, CreateDatabase)]),
        opening=text([step for step in database if not isinstance(step, CreateDatabase)], acting_for=acting),
        inside=text(list(inside_steps(wanted, _BORN, admin=admin, admin_superuser=False)), acting_for=acting),
    )


def run(server: Server, scripts: Sequence[Script], *, connections: int) -> float:
    """Send everything for all `scripts`, `connections` at a time; the seconds that it took."""
    waiting: SimpleQueue[Script | None] = SimpleQueue()
    for script in scripts:
        waiting.put(script)
    for _ in range(connections):
        waiting.put(None)
    started = time.monotonic()
    with ThreadPoolExecutor(connections) as pool:
        for worker in [pool.submit(_work, server, waiting) for _ in range(connections)]:
            worker.result()
    return time.monotonic() - started


def _work(server: Server, waiting: "SimpleQueue[Script | None]") -> None:
    with server.connect(server.admin.name) as connection:
        while (script := waiting.get()) is not None:
            _provision(server, connection, script)


def _provision(server: Server, connection: psycopg.Connection[Any], script: Script) -> None:
    passwords = {login: secrets.token_hex(16) for login in script.passwords}
    verifiers = [
        set_verifier(
            login, connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
        )
        for login, password in passwords.items()
    ]
    with connection.transaction():
        connection.execute(script.roles.encode())
        connection.execute(sql.SQL("; ").join(verifiers))
    connection.execute(script.create.encode())
    with connection.transaction():
        connection.execute(script.opening.encode())
    with server.connect(server.admin.name, dbname=script.database) as inside, inside.transaction():
        inside.execute(script.inside.encode())
    for login, password in passwords.items():
        with server.connect(login, password, dbname=script.database) as proved:
            proved.execute("SELECT current_user")
            proved.execute("DISCARD ALL")
            proved.execute("SELECT current_user")
