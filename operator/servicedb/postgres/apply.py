"""Steps carried out on a server, in transactions, so that a kill leaves either all of a group or none of it.

The statements of a group go out together, in one message: half of the time of a group was spent on taking turns.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.errors import (
    InsufficientPrivilege,
    InvalidGrantOperation,
    LockNotAvailable,
    UndefinedColumn,
    UndefinedFunction,
    UndefinedObject,
    UndefinedTable,
)
from pydantic import SecretStr

from servicedb.errors import Busy
from servicedb.plan.foreign import apart
from servicedb.plan.lines import drift_line, one_line
from servicedb.plan.marker import Marker
from servicedb.plan.observed import Membership
from servicedb.plan.steps import (
    NEEDED,
    TAKES_BACK,
    ChangeDatabaseOwner,
    ChangeObjectOwner,
    ChangeSchemaOwner,
    DatabaseStep,
    GrantOnObjects,
    InsideStep,
    NoteGranted,
    ObjectStep,
    OpenDatabase,
    RoleStep,
    SetPassword,
    Step,
)
from servicedb.postgres.connections import WithoutEffect, transaction, words_of
from servicedb.postgres.execute import grant, revoke, set_verifier, statements

OnStep = Callable[[Step], None]
"""Told of each step just before it is carried out: for the log, the metrics, and whoever else wants to watch."""


_PATIENCE = sql.SQL("SET lock_timeout = '500ms'")
"""Who waits for a table longer than deadlock_timeout (1 s) may see an application's statement ended in its place."""

_REFUSALS = (WithoutEffect, InsufficientPrivilege, InvalidGrantOperation)
_GONE = (UndefinedTable, UndefinedFunction, UndefinedObject, UndefinedColumn)


@dataclass(frozen=True, slots=True)
class Refused:
    """A step that the server would not carry out for this administrator, and its words."""

    step: Step
    words: str


@dataclass(frozen=True, slots=True)
class Executor:
    """Carries out steps as the administrator `admin`. `on_step` hears of each before it is sent.

    What takes back something that was done to roles by hand may be refused, and with `lenient` all that a working
    database can do without (plan.steps.NEEDED names the rest): all others of its group are carried out, still in one
    transaction, and what was refused is returned.
    """

    admin: str
    superuser: bool
    on_step: OnStep
    lenient: bool = False

    async def roles(
        self, connection: AsyncConnection[Any], steps: Sequence[RoleStep], passwords: Mapping[str, SecretStr]
    ) -> list[Refused]:
        """One transaction. `passwords` goes by the half that SetPassword names."""
        parts: list[_Part] = []
        for step in steps:
            self.on_step(step)
            if isinstance(step, SetPassword):
                parts.append((step, [set_verifier(step.half, _verifier(connection, step.half, passwords))]))
            else:
                parts.append((step, _statements(connection, step)))
        return await self._together(connection, parts, acting_for=())

    async def alone(self, connection: AsyncConnection[Any], step: Step) -> None:
        """A step that can stand in no transaction."""
        self.on_step(step)
        await _send(connection, _statements(connection, step))

    async def together(self, connection: AsyncConnection[Any], steps: Iterable[Step]) -> None:
        """One transaction, in which every step is needed."""
        parts: list[sql.Composed] = []
        for step in steps:
            self.on_step(step)
            parts += _statements(connection, step)
        async with transaction(connection):
            await _send(connection, parts)

    async def database(
        self, connection: AsyncConnection[Any], steps: Sequence[DatabaseStep | ChangeSchemaOwner], owner: str
    ) -> list[Refused]:
        """One transaction; the marker that opens a database gets its OID here, where it is known. Schemas that are to
        change hands with their database do so on a connection inside it."""
        parts: list[_Part] = []
        for step in steps:
            self.on_step(step)
            opened = await _with_oid(connection, step) if isinstance(step, OpenDatabase) else step
            parts.append((step, _statements(connection, opened)))
        return await self._together(connection, parts, acting_for=(owner,))

    async def inside(self, connection: AsyncConnection[Any], steps: Sequence[InsideStep], owner: str) -> list[Refused]:
        """One transaction, on a connection inside the database."""
        parts: list[_Part] = []
        for step in steps:
            self.on_step(step)
            parts.append((step, _statements(connection, step)))
        try:
            return await self._together(connection, parts, acting_for=(owner,))
        except _GONE as error:
            if any(isinstance(step, ObjectStep) for step in steps):
                raise Busy("ObjectChanged", f"an object was changed or dropped meanwhile: {words_of(error)}") from None
            raise

    async def inside_apart(
        self, connection: AsyncConnection[Any], steps: Sequence[InsideStep], owner: str
    ) -> list[Refused]:
        """The same with each object in a transaction of its own, for a database in which others are at work: at no time
        is a second table waited for with one locked. What is in use is passed over; raises Busy for it in the end.
        """
        refused: list[Refused] = []
        busy: Busy | None = None
        await connection.execute(_PATIENCE)
        for part in apart(steps):
            if busy is not None and any(isinstance(step, NoteGranted) for step in part):
                continue  # not everything has its grants
            try:
                refused += await self.inside(connection, part, owner)
            except Busy:
                continue  # gone or changed meanwhile: the next look sees what it is by then
            except LockNotAvailable:
                what = one_line(drift_line(part[0]).partition(":")[0])
                busy = Busy(
                    "ObjectBusy",
                    f"{what} is in use by a long transaction, and is left for now; the rest goes on, and it is tried "
                    "again (pg_stat_activity shows who holds it)",
                )
        if busy is not None:
            raise busy
        return refused

    async def _together(
        self, connection: AsyncConnection[Any], parts: Sequence["_Part"], *, acting_for: Collection[str]
    ) -> list[Refused]:
        """All in one message; only where the server refuses one of them, one by one, each with its own savepoint."""
        try:
            async with transaction(connection):
                await _send(connection, self._acting_for(connection, acting_for, parts))
        except _REFUSALS:
            if not any(self._may_be_refused(step) for step, _ in parts):
                raise
        else:
            return []
        refused = []
        async with connection.transaction():
            for part in parts:
                try:
                    async with transaction(connection):
                        await _send(connection, self._acting_for(connection, acting_for, [part]))
                except _REFUSALS as error:
                    if not self._may_be_refused(part[0]):
                        raise
                    words = words_of(error) if isinstance(error, psycopg.Error) else str(error)
                    refused.append(Refused(part[0], words))
        return refused

    def _may_be_refused(self, step: Step) -> bool:
        return isinstance(step, TAKES_BACK) or (self.lenient and not isinstance(step, NEEDED))

    def _acting_for(
        self, connection: AsyncConnection[Any], owners: Collection[str], parts: Sequence["_Part"]
    ) -> Iterator[sql.Composed]:
        """Within the transaction alone, the administrator is a member of `owners` and of those whose objects are handed
        over: it keeps nothing at rest.

        A superuser needs no membership, and on PostgreSQL 16+ would be left with the one that it takes away here.
        """
        handing_over = [
            step.present_owner
            for step, _ in parts
            if isinstance(step, ChangeDatabaseOwner | ChangeSchemaOwner | ChangeObjectOwner) and step.take_up
        ]
        handing_over += [
            step.acting_for for step, _ in parts if isinstance(step, GrantOnObjects) and step.acting_for is not None
        ]
        memberships = [
            Membership(owner, self.admin, inherit=True, set_role=True)
            for owner in dict.fromkeys((*owners, *handing_over))
            if not self.superuser
        ]
        for membership in memberships:
            yield grant(membership, server_version=connection.info.server_version)
        for _, statements_of_step in parts:
            yield from statements_of_step
        for membership in reversed(memberships):
            yield revoke(membership)


_Part = tuple[Step, list[sql.Composed]]
"""A step with its statements."""


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
