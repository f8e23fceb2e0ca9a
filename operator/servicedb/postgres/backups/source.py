"""The database that is backed up: its snapshot, under locks, and what is read of it besides pg_dump's own reading."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self, TypeVar

import psycopg
from psycopg import Connection
from psycopg.pq import TransactionStatus

from servicedb.errors import Retryable, Terminal
from servicedb.naming import RESTORE_SCHEMA
from servicedb.plan.backups.manifest import Extension, Sequence, Table
from servicedb.plan.backups.objects import Objects
from servicedb.plan.backups.relations import Counted, Relation, check_locks, check_readable
from servicedb.postgres.backups import facts as facts_of
from servicedb.postgres.backups.counts import count
from servicedb.postgres.backups.large_objects import MOST_BYTES, fingerprint
from servicedb.postgres.backups.not_included import not_included
from servicedb.postgres.backups.objects import objects
from servicedb.postgres.backups.relations import begin_locked, relations, rewritten
from servicedb.postgres.backups.session import Way, hold_database, translated
from servicedb.postgres.backups.unfinished import Mark, marked
from servicedb.postgres.migrations.session import Tell

T = TypeVar("T")

_TRIES = 5


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is backed up: the snapshot's name for pg_dump, and the tables that are locked as they are in it."""

    name: str
    tables: tuple[Relation, ...]
    started_at: datetime


class Source:
    """A session that alone has the database, among those of servicedb. Raises Problems."""

    def __init__(self, connection: Connection[Any], way: Way) -> None:
        self._connection = connection
        self._way = way
        with translated():
            self.facts = facts_of.facts(connection)

    @classmethod
    @contextlib.contextmanager
    def open(cls, way: Way, *, wait: float | None, tell: Tell) -> Iterator[Self]:
        """Wait for the database up to `wait` seconds (None: as long as it takes). Raises Busy, too."""
        connection = way.open()
        try:
            with translated():
                hold_database(connection, wait=wait, tell=tell)
            yield cls(connection, way)
        finally:
            _let_go(connection)

    def begin(self, tell: Tell) -> Snapshot:
        """Lock every table, and take the snapshot: again, while tables come and go in between.

        Raises Terminal where not all rows can be seen, or where there is no room for the locks.
        """
        for _ in range(_TRIES):
            with translated():
                if (left := marked(self._connection)) is not None:
                    raise _unfinished(self.facts.name, left)
                tables = relations(self._connection)
                check_readable(tables, reader=self.facts.reader)
                check_locks(tables, room=self.facts.lock_room, most=self.facts.locks_of_a_session)
                try:
                    name = begin_locked(self._connection, tables)
                except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
                    tell("a table was dropped while the tables were locked; once more")
                    self._connection.rollback()
                    continue
                if _files(relations(self._connection)) == _files(tables):
                    return Snapshot(name, tables, facts_of.clock(self._connection))
                tell("tables were made or rewritten while they were locked; once more")
                self._connection.rollback()
        raise Retryable(
            "TablesChange",
            f"tables were made, dropped or rewritten each of the {_TRIES} times that a backup began; tried again later",
        )

    def check_files(self) -> None:
        """Raises Retryable where a table was rewritten since the snapshot: pg_dump might read it without its rows."""
        with translated():
            if found := rewritten(self._connection):
                raise Retryable("TablesChange", f"{', '.join(found[:5])} was rewritten meanwhile; tried again later")

    def objects(self) -> Objects:
        """Every object at the snapshot."""
        return self._read(objects)

    def sequences(self) -> tuple[Sequence, ...]:
        return self._read(facts_of.sequences)

    def extensions(self) -> tuple[Extension, ...]:
        return self._read(facts_of.extensions)

    def not_included(self) -> tuple[str, ...]:
        return self._read(not_included)

    def counts(self, tables: tuple[Counted, ...], snapshot: Snapshot, over: Callable[[], bool]) -> tuple[Table, ...]:
        """The rows of `tables`, read by a session of its own, until `over` says that nobody wants to know any more."""
        with contextlib.closing(self._way.open(application="servicedb-backup-counts")) as connection, translated():
            return tuple(count(connection, tables, snapshot.name, over=over))

    def large_objects(self, snapshot: Snapshot) -> str | None:
        """A fingerprint of them all, read by a session of its own; None where that takes too long."""
        if self.facts.large_object_bytes > MOST_BYTES:
            return None
        with contextlib.closing(self._way.open(application="servicedb-backup-counts")) as connection, translated():
            return fingerprint(connection, snapshot.name)

    def clock(self) -> datetime:
        """The server's time."""
        return self._read(facts_of.clock)

    def _read(self, what: Callable[[Connection[Any]], T]) -> T:
        with translated():
            return what(self._connection)


def _unfinished(database: str, left: Mark) -> Terminal:
    if left.differs:
        return Terminal(
            "UnfinishedRestore",
            f'what was restored into database "{database}" differs from the backup {left.key}, and nobody has said '
            f"that it is good; look at what differs, and drop schema {RESTORE_SCHEMA} as its owner when it is",
        )
    return Terminal(
        "UnfinishedRestore",
        f'a restore into database "{database}" has not come to its end, and what is there may be half of it: let it '
        f"end, or drop schema {RESTORE_SCHEMA} as its owner when what is there is what you want to keep",
    )


def _files(tables: tuple[Relation, ...]) -> set[tuple[int, int, str, str]]:
    return {(one.oid, one.file, one.schema, one.name) for one in tables if one.kind in "rp"}


def _let_go(connection: Connection[Any]) -> None:
    """The lock goes at once; with the connection alone it would go when the server has noticed."""
    with contextlib.suppress(psycopg.Error):
        if connection.info.transaction_status != TransactionStatus.IDLE:
            connection.rollback()
        connection.execute("SELECT pg_catalog.pg_advisory_unlock_all()")
    connection.close()
