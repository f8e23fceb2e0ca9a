"""Steps carried out on a server, in transactions, so that a kill leaves either all of a group or none of it.

The statements of a group go out together, in one message: half of the time of a group was spent on taking turns.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg import AsyncConnection, sql
from pydantic import SecretStr

from servicedb.plan.marker import Marker
from servicedb.plan.observed import Membership
from servicedb.plan.steps import DatabaseStep, InsideStep, OpenDatabase, RoleStep, SetPassword, Step
from servicedb.postgres.connections import transaction
from servicedb.postgres.execute import grant, revoke, set_verifier, statements

OnStep = Callable[[Step], None]
"""Told of each step just before it is carried out: for the log, the metrics, and whoever else wants to watch."""


@dataclass(frozen=True, slots=True)
class Executor:
    """Carries out steps as the administrator `admin`. `on_step` hears of each before it is sent."""

    admin: str
    superuser: bool
    on_step: OnStep

    async def roles(
        self, connection: AsyncConnection[Any], steps: Sequence[RoleStep], passwords: Mapping[str, SecretStr]
    ) -> None:
        """One transaction. `passwords` goes by the half that SetPassword names."""
        parts: list[sql.Composed] = []
        for step in steps:
            self.on_step(step)
            if isinstance(step, SetPassword):
                parts.append(set_verifier(step.half, _verifier(connection, step.half, passwords)))
            else:
                parts += _statements(connection, step)
        async with transaction(connection):
            await _send(connection, parts)

    async def alone(self, connection: AsyncConnection[Any], step: Step) -> None:
        """A step that can stand in no transaction."""
        self.on_step(step)
        await _send(connection, _statements(connection, step))

    async def database(self, connection: AsyncConnection[Any], steps: Sequence[DatabaseStep], owner: str) -> None:
        """One transaction; the marker that opens a database gets its OID here, where it is known."""
        parts: list[sql.Composed] = []
        for step in steps:
            self.on_step(step)
            opened = await _with_oid(connection, step) if isinstance(step, OpenDatabase) else step
            parts += _statements(connection, opened)
        async with transaction(connection):
            await _send(connection, self._acting_for(connection, owner, parts))

    async def inside(self, connection: AsyncConnection[Any], steps: Sequence[InsideStep], owner: str) -> None:
        """One transaction, on a connection inside the database."""
        parts: list[sql.Composed] = []
        for step in steps:
            self.on_step(step)
            parts += _statements(connection, step)
        async with transaction(connection):
            await _send(connection, self._acting_for(connection, owner, parts))

    def _acting_for(
        self, connection: AsyncConnection[Any], owner: str, parts: Sequence[sql.Composed]
    ) -> Iterator[sql.Composed]:
        """Within the transaction alone, the administrator is a member of `owner`: it keeps nothing at rest.

        A superuser needs no membership, and on PostgreSQL 16+ would be left with the one that it takes away here.
        """
        membership = Membership(owner, self.admin, inherit=True, set_role=True)
        if not self.superuser:
            yield grant(membership, server_version=connection.info.server_version)
        yield from parts
        if not self.superuser:
            yield revoke(membership)


async def try_settings(connection: AsyncConnection[Any], settings: Iterable[tuple[str, str]]) -> None:
    """Raise what PostgreSQL says to a parameter or a value that it does not take; changes nothing."""
    for parameter, value in settings:
        if parameter not in ("role", "search_path"):  # ours, and about what may not be there yet
            # Alone in its transaction: a timeout of a millisecond must have no time to end this session.
            await connection.execute("SELECT set_config(%s, %s, true)", (parameter, value))


async def _send(connection: AsyncConnection[Any], parts: Sequence[sql.Composed] | Iterator[sql.Composed]) -> None:
    await connection.execute(sql.SQL("; ").join(parts))


def _statements(connection: AsyncConnection[Any], step: Step) -> list[sql.Composed]:
    return statements(step, server_version=connection.info.server_version)


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
