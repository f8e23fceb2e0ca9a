"""Steps carried out on a server, in transactions, so that a kill leaves either all of a group or none of it."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from psycopg import AsyncConnection
from pydantic import SecretStr

from servicedb.plan.marker import Marker
from servicedb.plan.observed import Membership
from servicedb.plan.steps import DatabaseStep, InsideStep, OpenDatabase, RoleStep, SetPassword, Step
from servicedb.postgres.connections import transaction
from servicedb.postgres.execute import grant, revoke, set_verifier, statements

OnStep = Callable[[Step], None]
"""Told of each step just before it is carried out: for the log, the metrics, and whoever else wants to watch."""


async def apply_role_steps(
    connection: AsyncConnection[Any],
    steps: Sequence[RoleStep],
    passwords: Mapping[str, SecretStr],
    on_step: OnStep,
) -> None:
    """Carry out `steps` in one transaction. `passwords` goes by the half that SetPassword names."""
    async with transaction(connection):
        for step in steps:
            on_step(step)
            if isinstance(step, SetPassword):
                await connection.execute(set_verifier(step.half, _verifier(connection, step.half, passwords)))
            else:
                await _execute(connection, step)


async def apply_alone(connection: AsyncConnection[Any], step: Step, on_step: OnStep) -> None:
    """Carry out a step that can stand in no transaction."""
    on_step(step)
    await _execute(connection, step)


async def apply_database_steps(
    connection: AsyncConnection[Any], steps: Sequence[DatabaseStep], owner: str, on_step: OnStep
) -> None:
    """Carry out `steps` in one transaction; the marker that opens a database gets its OID here, where it is known."""
    async with transaction(connection), _acting_for(connection, owner):
        for step in steps:
            on_step(step)
            opened = await _with_oid(connection, step) if isinstance(step, OpenDatabase) else step
            await _execute(connection, opened)


async def apply_inside_steps(
    connection: AsyncConnection[Any], steps: Sequence[InsideStep], owner: str, on_step: OnStep
) -> None:
    """Carry out `steps` in one transaction on a connection inside the database."""
    async with transaction(connection), _acting_for(connection, owner):
        for step in steps:
            on_step(step)
            await _execute(connection, step)


async def _execute(connection: AsyncConnection[Any], step: Step) -> None:
    for statement in statements(step, server_version=connection.info.server_version):
        await connection.execute(statement)


def _verifier(connection: AsyncConnection[Any], half: str, passwords: Mapping[str, SecretStr]) -> str:
    """Source: libpq, PQencryptPasswordConn: a plaintext sent in a statement could stand in the server's log."""
    secret = passwords[half].get_secret_value()
    return connection.pgconn.encrypt_password(secret.encode(), half.encode(), b"scram-sha-256").decode()


async def _with_oid(connection: AsyncConnection[Any], step: OpenDatabase) -> OpenDatabase:
    row = await (
        await connection.execute("SELECT oid::bigint FROM pg_database WHERE datname = %s", (step.database,))
    ).fetchone()
    marker = Marker.read(step.comment)
    assert row is not None  # made a moment ago, under the lock
    assert marker is not None  # written by the planner
    return replace(step, comment=marker.with_oid(row[0]).comment())


@contextlib.asynccontextmanager
async def _acting_for(connection: AsyncConnection[Any], owner: str) -> AsyncIterator[None]:
    """Within the running transaction alone, the administrator is a member of `owner`: it keeps nothing at rest.

    A superuser needs no membership, and on PostgreSQL 16+ would be left with the one that it takes away here.
    """
    row = await (
        await connection.execute("SELECT current_user, rolsuper FROM pg_roles WHERE rolname = current_user")
    ).fetchone()
    assert row is not None
    admin, superuser = row
    membership = Membership(owner, admin, inherit=True, set_role=True)
    if not superuser:
        await connection.execute(grant(membership, server_version=connection.info.server_version))
    yield
    if not superuser:
        await connection.execute(revoke(membership))
