"""A table beside another, into which archived rows come back.

A row that was archived more than once, since it was changed in between, stands there as it was the last time.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg import Connection, sql

from servicedb.errors import Terminal
from servicedb.plan.retention.ledger import Archive
from servicedb.plan.retention.rule import Name
from servicedb.postgres.retention.batch import identifier, moment, of_type


class SideTable:
    """Table `into`, for archived rows whose time is not before `low` and before `high` (None: without a bound)."""

    def __init__(
        self,
        connection: Connection[Any],
        into: Name,
        *,
        low: datetime | None,
        high: datetime | None,
    ) -> None:
        self._connection = connection
        self._into = into
        self._low, self._high = low, high
        self._columns: dict[str, str] = {}
        self._key: tuple[str, ...] = ()

    def make(self, archives: Sequence[Archive]) -> None:
        """Make it, empty, with all columns that `archives` have: as text those that had several types.

        Raises Terminal where there is a table of that name.
        """
        for name, type_name in ((name, type_name) for one in archives for name, type_name in one.columns):
            self._columns[name] = type_name if self._columns.get(name, type_name) == type_name else "text"
        keys = {one.key_columns for one in archives}
        self._key = keys.pop() if len(keys) == 1 else ()  # after another key came, no row is known by both
        columns = [_column(*one) for one in self._columns.items()]
        if self._key:
            columns.append(sql.SQL("PRIMARY KEY ({})").format(_listed(self._key)))
        try:
            self._connection.execute(
                sql.SQL("CREATE TABLE {} ({})").format(identifier(self._into), sql.SQL(", ").join(columns))
            )
        except psycopg.errors.DuplicateTable:
            raise Terminal(
                "RestoreTargetExists", f"table {self._into} exists; drop it, or name another one with --into"
            ) from None

    def touches(self, archive: Archive) -> bool:
        """Whether rows of `archive` may be among those that are wanted."""
        type_name = dict(archive.columns)[archive.time_column]
        conditions: list[sql.Composable] = [sql.SQL("true")]
        if self._low is not None and archive.high is not None:
            conditions.append(_compared(of_type(archive.high, type_name), ">=", moment(self._low, type_name)))
        if self._high is not None and archive.low is not None:
            conditions.append(_compared(of_type(archive.low, type_name), "<", moment(self._high, type_name)))
        row = self._connection.execute(sql.SQL("SELECT {}").format(sql.SQL(" AND ").join(conditions))).fetchone()
        return row is not None and bool(row[0])

    def load(self, archive: Archive, chunks: Iterable[bytes]) -> int:
        """Bring in what is wanted of the rows in `chunks`; how many there were."""
        names = [name for name, _ in archive.columns]
        columns = sql.SQL(", ").join(_column(*one) for one in archive.columns)
        self._connection.execute(sql.SQL("CREATE TEMPORARY TABLE servicedb_loading ({})").format(columns))
        with self._connection.cursor() as cursor:
            with cursor.copy("COPY pg_temp.servicedb_loading FROM STDIN") as copy:
                for chunk in chunks:
                    copy.write(chunk)
            loaded = cursor.rowcount
        self._connection.execute(
            sql.SQL("INSERT INTO {} ({}) SELECT {} FROM pg_temp.servicedb_loading WHERE {} {}").format(
                identifier(self._into),
                _listed(names),
                sql.SQL(", ").join(_cast(name, self._columns[name]) for name in names),
                self._wanted(archive),
                self._latest(names),
            )
        )
        self._connection.execute("DROP TABLE pg_temp.servicedb_loading")
        return loaded

    def count(self) -> int:
        row = self._connection.execute(sql.SQL("SELECT count(*) FROM {}").format(identifier(self._into))).fetchone()
        return int(row[0]) if row is not None else 0

    def _wanted(self, archive: Archive) -> sql.Composed:
        column = sql.Identifier(archive.time_column)
        type_name = dict(archive.columns)[archive.time_column]
        conditions: list[sql.Composable] = [sql.SQL("true")]
        if self._low is not None:
            conditions.append(_compared(column, ">=", moment(self._low, type_name)))
        if self._high is not None:
            conditions.append(_compared(column, "<", moment(self._high, type_name)))
        return sql.SQL(" AND ").join(conditions)

    def _latest(self, names: Sequence[str]) -> sql.Composed:
        """The later archive holds the row as it was later."""
        if not self._key:
            return sql.Composed([])
        values = sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(sql.Identifier(name)) for name in names)
        return sql.SQL("ON CONFLICT ({}) DO UPDATE SET {}").format(_listed(self._key), values)


def _cast(name: str, type_name: str) -> sql.Composed:
    return sql.SQL("{}::{}").format(sql.Identifier(name), sql.SQL(type_name))


def _column(name: str, type_name: str) -> sql.Composed:
    return sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(type_name))


def _listed(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _compared(left: sql.Composable, operator: str, right: sql.Composable) -> sql.Composed:
    return sql.SQL("{} {} {}").format(left, sql.SQL(operator), right)
