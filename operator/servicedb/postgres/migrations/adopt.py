"""Taking over the history of another tool, once: in one transaction, before the first run of ours."""

from collections.abc import Sequence
from typing import Any

from psycopg import Connection, sql

from servicedb.errors import Terminal
from servicedb.plan.migrations.adoption import Foreign, Row, taken_over
from servicedb.plan.migrations.formats import Migration
from servicedb.plan.migrations.history import Applied
from servicedb.postgres.migrations.history import Scope, as_ourselves, begin, read


def adopt(
    connection: Connection[Any], scope: Scope, foreign: Foreign, source: Sequence[Migration], source_digest: str | None
) -> int:
    """How many migrations were taken over; 0 where there is a history of ours already, or none of theirs.

    The table of the other tool stays as it is. Raises Terminal where it can't be read, or says that one failed.
    """
    with connection.transaction():
        table = table_of(connection, foreign)
        as_ourselves(connection)
        if read(connection, scope).applied:
            return 0
        found = of_others(connection, table, foreign, source)
        for one in found:
            begin(connection, scope, one, source_digest=source_digest)
    return len(found)


def table_of(connection: Connection[Any], foreign: Foreign) -> int | None:
    """The OID of the other tool's table, as the session itself would find it; None where there is none."""
    found = _value(connection, "SELECT pg_catalog.to_regclass(%s)::pg_catalog.oid", _quoted(connection, foreign.table))
    return None if found is None else int(found)


def of_others(
    connection: Connection[Any], table: int | None, foreign: Foreign, source: Sequence[Migration]
) -> list[Applied]:
    """What the other tool has applied, as a history of ours would have it. With search_path = pg_catalog.

    Raises what `adopt` raises.
    """
    if table is None:
        return []
    # A view could run another role's functions as the one that looks.
    if _value(connection, "SELECT relkind::text FROM pg_class WHERE oid = %s", table) not in ("r", "p"):
        raise Terminal("UnreadableHistory", f"{foreign.table} is no table; name the one that holds the versions")
    name = _value(connection, "SELECT %s::oid::regclass::text", table)
    return taken_over(_rows(connection, name, foreign), foreign, source)


def _rows(connection: Connection[Any], table: str, foreign: Foreign) -> list[Row]:
    place = sql.SQL(table)  # regclass has quoted it
    for column, wrong in ((foreign.dirty, sql.SQL("{}")), (foreign.clean, sql.SQL("NOT {}"))):
        if column is None:
            continue
        condition = wrong.format(sql.Identifier(column))
        if _value(connection, sql.SQL("SELECT count(*) FROM {} WHERE {}").format(place, condition)):
            raise Terminal(
                "HalfApplied",
                f"{foreign.table} says that a migration failed half-way; mend that with the other tool first",
            )
    version = sql.Identifier(foreign.version)
    query = sql.SQL(
        "SELECT DISTINCT ON ({version}) {version}::text, {name}, {applied}, {kind} FROM {table} {order}"
    ).format(
        version=version,
        name=_text(foreign.name),
        applied=sql.SQL("true") if foreign.applied is None else sql.Identifier(foreign.applied),
        kind=_text(foreign.kind),
        table=place,
        order=sql.SQL("ORDER BY {}{}").format(
            version,
            sql.SQL("") if foreign.order is None else sql.SQL(", {} DESC").format(sql.Identifier(foreign.order)),
        ),
    )
    return [Row(*row) for row in connection.execute(query).fetchall()]


def _text(column: str | None) -> sql.Composable:
    return sql.SQL("NULL") if column is None else sql.SQL("{}::text").format(sql.Identifier(column))


def _quoted(connection: Connection[Any], table: str) -> str:
    return sql.Identifier(*table.split(".")).as_string(connection)


def _value(connection: Connection[Any], query: str | sql.Composed, *parameters: Any) -> Any:
    row = connection.execute(query.encode() if isinstance(query, str) else query, parameters or None).fetchone()
    return row[0] if row else None
