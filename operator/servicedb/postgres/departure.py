"""The end of a login that has left the spec: it goes when nobody uses it and nothing depends on it."""

from typing import Any

import psycopg
from psycopg import AsyncConnection

from servicedb.plan.steps import DropRole
from servicedb.postgres.apply import Executor


async def drop_login(execute: Executor, connection: AsyncConnection[Any], step: DropRole) -> str | None:
    """Drop a login that is closed already; what keeps it, None when it is gone.

    One with sessions stays: PostgreSQL would drop it under them, and nobody could tell any more whose they are.
    """
    row = await (
        await connection.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = %s", (step.name,))
    ).fetchone()
    if row is not None and row[0]:
        return "it still has sessions, which may end by themselves"
    try:
        await execute.roles(connection, [step], {})
    except psycopg.errors.DependentObjectsStillExist as error:
        return _on_one_line(error.diag.message_detail or error.diag.message_primary or "something depends on it")
    return None


def _on_one_line(text: str) -> str:
    """Source: PostgreSQL's checkSharedDependencies: a line for each object, up to a hundred."""
    lines = text.splitlines()
    return "; ".join(lines[:3]) + ("; ..." if len(lines) > 3 else "")
