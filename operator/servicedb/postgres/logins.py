"""Logging in just as an application does: the only proof that a Secret works."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import psycopg
from psycopg import AsyncConnection

from servicedb.plan.wanted import Login
from servicedb.postgres.connections import Account, Endpoint, connect, words_of


class Outcome(StrEnum):
    PROVED = "Proved"
    REFUSED = "Refused"
    OTHER_ROLE = "OtherRole"


@dataclass(frozen=True, slots=True)
class LoginTest:
    """How a login went. `detail` is the server's sentence, or the role that the session came to work as."""

    outcome: Outcome
    detail: str = ""


async def try_login(endpoint: Endpoint, account: Account, database: str, login: Login) -> LoginTest:
    """Log in through `endpoint` and see that the session works as it should, also after DISCARD ALL.

    Poolers send DISCARD ALL between two clients; some old minor releases of PostgreSQL lose the role over it.
    """
    try:
        connection = await connect(endpoint, account, database, application_name="servicedb-login-test", pinned=False)
    except psycopg.OperationalError as error:
        return LoginTest(Outcome.REFUSED, words_of(error))
    try:
        async with connection:
            for statement in (None, b"DISCARD ALL"):
                if statement is not None:
                    await connection.execute(statement)
                row = await (await connection.execute(b"SELECT current_user")).fetchone()
                if row is None or row[0] != login.works_as:
                    return LoginTest(Outcome.OTHER_ROLE, str(row[0]) if row else "")
    except psycopg.Error as error:
        return LoginTest(Outcome.REFUSED, words_of(error))
    return LoginTest(Outcome.PROVED)


def says_nothing_of_the_password(detail: str) -> bool:
    """Whether a refusal has another cause than the password, by the server's words: a full server, pg_hba.conf.

    Words that are not known here (of another language, say) are taken for a wrong password only after everything else
    has been ruled out, too.
    """
    return any(words in detail for words in _OTHER_CAUSES)


_OTHER_CAUSES = (
    "too many connections",
    "too many clients",
    "remaining connection slots",
    "pg_hba.conf",
    "the database system is",
    "does not exist",
    "permission denied for database",
    "is not currently accepting connections",
)


async def admin_can_log_in(endpoint: Endpoint, account: Account, database: str) -> str | None:
    """Why the administrator itself can't log in through `endpoint`; None when it can.

    A password may be replaced only when the way there is known to be free.
    """
    try:
        connection = await connect(endpoint, account, database)
    except psycopg.OperationalError as error:
        return words_of(error)
    await connection.close()
    return None


async def obstacle_to_login(connection: AsyncConnection[Any], half: str) -> str | None:
    """What the catalogue knows that keeps `half` from logging in with any password; None where there is nothing."""
    row = await (
        await connection.execute(
            "SELECT rolcanlogin, rolconnlimit, (SELECT count(*) FROM pg_stat_activity WHERE usename = rolname),"
            " rolvaliduntil <= now(), rolvaliduntil::text FROM pg_roles WHERE rolname = %s",
            (half,),
        )
    ).fetchone()
    if row is None:
        return "the role is not there"
    may_log_in, limit, sessions, expired, valid_until = row
    if not may_log_in:
        return "the role may not log in"
    if limit >= 0 and sessions >= limit:
        return f"it has as many sessions as its connectionLimit allows ({limit})"
    if expired:
        return (
            f"its password was valid until {valid_until}; have a DBA run ALTER ROLE \"{half}\" VALID UNTIL 'infinity'"
        )
    return None
