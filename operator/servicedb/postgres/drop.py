"""Ending sessions, and dropping a database and roles. What may be dropped is decided in plan.deletion and holdings.

Sources: PostgreSQL documentation, DROP DATABASE, DROP OWNED, "Dropping Roles", pg_shdepend.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg import sql

from servicedb.errors import Retryable, Terminal
from servicedb.plan.holdings import Holding
from servicedb.plan.observed import Membership
from servicedb.plan.steps import CloseDatabase, DropDatabase, DropOwned, DropRole, EndSessions, Step
from servicedb.postgres.apply import Executor
from servicedb.postgres.catalog import of_earlier_admin
from servicedb.postgres.connections import transaction, words_of
from servicedb.postgres.execute import grant, revoke, statements
from servicedb.postgres.session import Session

_HOLDINGS = b"""
SELECT r.rolname::text, b.datname::text, d.classid::regclass::text, d.deptype = 'o', count(*)
FROM pg_shdepend d JOIN pg_roles r ON r.oid = d.refobjid LEFT JOIN pg_database b ON b.oid = d.dbid
WHERE d.refclassid = 'pg_authid'::regclass AND r.rolname = ANY (%s)
GROUP BY 1, 2, 3, 4
"""


async def clock(connection: Session) -> datetime:
    """The server's time: a second opinion on whether a grace is over."""
    row = await (await connection.execute(b"SELECT clock_timestamp()")).fetchone()
    assert row is not None  # a query of constants gives one row
    time: datetime = row[0]
    return time


_MEMBERS: LiteralString = """
SELECT DISTINCT u.rolname::text FROM pg_auth_members m
JOIN pg_roles g ON g.oid = m.roleid JOIN pg_roles u ON u.oid = m.member
WHERE g.rolname = %s AND u.rolname <> current_user AND NOT ({of_earlier_admin}) ORDER BY 1
"""


async def with_sessions(connection: Session, roles: Sequence[str]) -> tuple[str, ...]:
    """Those of `roles` that have sessions, in whichever database."""
    cursor = await connection.execute(
        b"SELECT DISTINCT usename::text FROM pg_stat_activity WHERE usename = ANY (%s) ORDER BY 1", (list(roles),)
    )
    return tuple([row[0] async for row in cursor])


async def holdings(connection: Session, roles: Sequence[str]) -> list[Holding]:
    """Everything on the server that belongs to `roles`, or that they hold privileges on."""
    cursor = await connection.execute(_HOLDINGS, (list(roles),))
    return [Holding(*row) async for row in cursor]


async def members(connection: Session, role: str) -> tuple[str, ...]:
    """Who may act as `role`, but for the administrator of now and of before."""
    query = _MEMBERS.replace("{of_earlier_admin}", of_earlier_admin(connection.info.server_version))
    cursor = await connection.execute(query, (role,))
    return tuple([row[0] async for row in cursor])


async def drop_roles(execute: Executor, connection: Session, steps: Sequence[DropRole]) -> None:
    """One transaction. Raises Terminal, with the server's own list, where something depends on one of them."""
    try:
        await execute.roles(connection, steps, {})
    except psycopg.errors.DependentObjectsStillExist as error:
        what = error.diag.message_detail or error.diag.message_primary or "something depends on it"
        raise Terminal("DropBlocked", _on_one_line(what)) from None


def _on_one_line(text: str) -> str:
    """Source: PostgreSQL's checkSharedDependencies: a line for each object, up to a hundred."""
    lines = text.splitlines()
    return "; ".join(lines[:3]) + ("; ..." if len(lines) > 3 else "")


async def prepared_transactions(connection: Session, database: str) -> int:
    """How many transactions stand prepared in `database`: no DROP DATABASE gets past one, and nobody else either who
    can't connect there."""
    row = await (
        await connection.execute(b"SELECT count(*) FROM pg_prepared_xacts WHERE database = %s", (database,))
    ).fetchone()
    return row[0] if row is not None else 0


async def end_sessions(execute: Executor, connection: Session, step: EndSessions) -> None:
    """One transaction, in which alone the administrator may act for the logins."""
    execute.on_step(step)
    parts = statements(step, server_version=connection.info.server_version)
    async with transaction(connection):
        await connection.execute(_acting_for(step.roles, execute, connection, parts))


async def close(execute: Executor, connection: Session, step: CloseDatabase) -> None:
    """One transaction: the marker and the database."""
    execute.on_step(step)
    async with transaction(connection):
        await connection.execute(_text(connection, step))


async def drop_database(execute: Executor, connection: Session, step: DropDatabase) -> None:
    """Drop the database, however long its files take to go. Raises Retryable where somebody else holds it up.

    FORCE is refused to who may not end one of the sessions, be it an autovacuum worker, which a plain DROP ends.
    """
    execute.on_step(step)
    await connection.execute(b"SET statement_timeout = 0")
    try:
        try:
            await connection.execute(_text(connection, step))
        except psycopg.errors.InsufficientPrivilege:
            if execute.superuser:
                raise
            await connection.execute(_text(connection, DropDatabase(step.reason, step.name, force=False)))
    except psycopg.errors.ObjectInUse as error:
        detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
        raise Retryable(
            "DropBlocked",
            f'database "{step.name}" can\'t be dropped yet: {words_of(error)}{detail}; have a DBA end what uses it',
        ) from None
    finally:
        if not connection.closed:
            await connection.execute(b"RESET statement_timeout")


async def drop_owned(
    execute: Executor,
    inside: Session,
    step: DropOwned,
    *,
    grantors: Sequence[str],
    check: Callable[[list[Holding]], None],
) -> None:
    """One transaction, on a connection inside the step's database. Has `check` look once more at what the role owns
    there, or anywhere: DROP OWNED BY makes no difference between a leftover and a table.

    A privilege is taken back only by who may act for its grantor, which `grantors` may be: any tenant can grant
    something of its own to any role, and would else keep it from being dropped.
    """
    execute.on_step(step)
    async with transaction(inside):
        check(await holdings(inside, [step.role]))
        parts = statements(step, server_version=inside.info.server_version)
        await inside.execute(_acting_for(list(dict.fromkeys([step.role, *grantors])), execute, inside, parts))


def _acting_for(
    roles: Sequence[str], execute: Executor, connection: Session, parts: Sequence[sql.Composed]
) -> sql.Composed:
    """`parts` between a GRANT of `roles` to the administrator and its REVOKE; a superuser needs neither."""
    memberships = [] if execute.superuser else [Membership(role, execute.admin, True, False) for role in roles]
    version = connection.info.server_version
    granted = [grant(membership, server_version=version) for membership in memberships]
    return sql.SQL("; ").join([*granted, *parts, *(revoke(membership) for membership in memberships)])


def _text(connection: Session, step: Step) -> sql.Composed:
    return sql.SQL("; ").join(statements(step, server_version=connection.info.server_version))
