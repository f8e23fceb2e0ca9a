"""Sessions of a retention's run: one that deletes and holds the database, and one of the owner for partitions."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus

from servicedb.errors import Problem, Retryable, Terminal
from servicedb.naming import RESTORE_SCHEMA
from servicedb.plan.backups.keys import Group
from servicedb.postgres.backups.facts import facts
from servicedb.postgres.backups.session import Way, hold_database, problem_of
from servicedb.postgres.migrations.session import Tell

APPLICATION = "servicedb-retain"


@dataclass(frozen=True, slots=True)
class Sessions:
    """`work` deletes rows and has the database for itself, among those of servicedb; `owner` makes and drops."""

    work: Connection[Any]
    owner: Connection[Any]
    group: Group

    @classmethod
    @contextlib.contextmanager
    def open(cls, way: Way, owner: Way | None, *, wait: float | None, tell: Tell) -> Iterator[Self]:
        """Wait for the database up to `wait` seconds (None: as long as it takes). `owner` None: `way` is the owner's,
        too. Raises Problems, Busy among them."""
        work = way.open(application=APPLICATION)
        second = work
        try:
            with translated():
                hold_database(work, wait=wait, tell=tell)
                _check_restored(work)
            second = work if owner is None else owner.open(application=f"{APPLICATION}-owner")
            with translated():
                group = facts(work).group
            yield cls(work, second, group)
        finally:
            if second is not work:
                second.close()
            _let_go(work)

    @property
    def login(self) -> str:
        """What `work` works as."""
        row = self.work.execute("SELECT current_user::text").fetchone()
        assert row is not None
        return str(row[0])


def lag(connection: Connection[Any]) -> timedelta | None:
    """How far the slowest replica is behind, None where there is none, or where this login may not see it."""
    row = connection.execute("SELECT max(replay_lag) FROM pg_stat_replication").fetchone()
    return row[0] if row is not None else None


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Errors of the server become Problems."""
    try:
        yield
    except psycopg.Error as error:
        raise _problem(error) from None  # psycopg's text holds DETAIL, which may hold values of rows


def _problem(error: psycopg.Error) -> Problem:
    diag = error.diag
    match error:
        case psycopg.errors.InsufficientPrivilege():
            return Retryable(
                "RightsMissing",
                f"the login lacks a right: {diag.message_primary}; grant it to the login, or run as the owner",
            )
        case psycopg.errors.ForeignKeyViolation():
            return Terminal(
                "StillReferenced",
                f'rows of table {diag.table_name} refer to what is to be deleted, by foreign key "'
                f'{diag.constraint_name}"; give {diag.table_name} a rule that deletes them earlier',
            )
        case psycopg.errors.CheckViolation() if diag.constraint_name is None:
            return Terminal(
                "DefaultPartitionHoldsRows",
                f"a partition can't be made: {diag.message_primary}; move those rows out of the default partition",
            )
        case psycopg.errors.LockNotAvailable():
            return Retryable("LockTimeout", f"a lock was not to be had: {diag.message_primary}; tried again later")
    return problem_of(error)


def _check_restored(connection: Connection[Any]) -> None:
    row = connection.execute("SELECT to_regnamespace(%s) IS NOT NULL", (RESTORE_SCHEMA,)).fetchone()
    if row is not None and row[0]:
        raise Terminal(
            "UnfinishedRestore",
            f"a restore into this database has not come to its end, or nobody has said that it is good; nothing is "
            f"deleted before schema {RESTORE_SCHEMA} is gone",
        )


def _let_go(connection: Connection[Any]) -> None:
    """The lock goes at once; with the connection alone it would go when the server has noticed."""
    with contextlib.suppress(psycopg.Error):
        if connection.info.transaction_status != TransactionStatus.IDLE:
            connection.rollback()
        connection.execute("SELECT pg_catalog.pg_advisory_unlock_all()")
    connection.close()
