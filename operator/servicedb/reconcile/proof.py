"""A password is proved by a login with it, and never held to be wrong on a glimpse."""

from servicedb import metrics
from servicedb.errors import Retryable, Terminal
from servicedb.plan.wanted import Login
from servicedb.postgres.connections import Account
from servicedb.postgres.logins import (
    LoginTest,
    Outcome,
    admin_can_log_in,
    obstacle_to_login,
    says_nothing_of_the_password,
    try_login,
)
from servicedb.postgres.session import Session
from servicedb.reconcile.world import Server


async def is_accepted(
    server: Server, connection: Session, database: str, login: Login, account: Account, *, new: bool
) -> bool:
    """Log in as an application would. False: nothing stands in the way, the password itself is wrong and is to be
    replaced. `new`: it was made a moment ago, and another one would fare no better.

    Raises a Problem where it can't be told, or where the login does not work as it should.
    """
    endpoint = server.client_endpoint
    assert endpoint is not None
    test = await try_login(endpoint, account, database, login)
    metrics.LOGIN_TESTS.labels(test.outcome.value).inc()
    match test.outcome:
        case Outcome.PROVED:
            return True
        case Outcome.OTHER_ROLE:
            raise Terminal(
                "LoginLosesRole",
                f'login "{account.user}" on {endpoint} works as "{test.detail}" instead of "{login.works_as}"; '
                "old minor releases of PostgreSQL lose the role over DISCARD ALL: upgrade the server",
                condition="CredentialsReady",
            )
    await _rule_out_all_else(server, connection, database, account, test)
    if new:
        raise Retryable(
            "LoginRefused",
            f'login "{account.user}" is refused by {endpoint} with the password that it was just given: {test.detail}',
            condition="CredentialsReady",
        )
    # Once more, now that all else is known to be in order: a working password is never replaced on a glimpse.
    again = await try_login(endpoint, account, database, login)
    return again.outcome is Outcome.PROVED


async def _rule_out_all_else(
    server: Server, connection: Session, database: str, account: Account, test: LoginTest
) -> None:
    """Raise what stands in the way of any login with that name, whatever its password."""
    endpoint = server.client_endpoint
    assert endpoint is not None
    assert server.admin is not None
    fault = await admin_can_log_in(endpoint, server.admin.account, database)
    if fault is not None:
        raise Retryable(
            "ClientEndpointUnreachable",
            f"logins can't be tried through {endpoint}: the admin itself can't log in to database "
            f'"{database}" there: {fault}',
            condition="CredentialsReady",
            ready="Unknown",
        )
    obstacle = await obstacle_to_login(connection, account.user)
    if obstacle is None and says_nothing_of_the_password(test.detail):
        obstacle = test.detail
    if obstacle is not None:
        raise Retryable(
            "LoginNotTried",
            f'login "{account.user}" on {endpoint} can\'t be tried: {obstacle}',
            condition="CredentialsReady",
            ready="Unknown",
        )
