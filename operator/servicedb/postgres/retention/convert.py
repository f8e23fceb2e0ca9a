"""The steps of a conversion as SQL: what `--plan` shows is what is run.

Source: PostgreSQL documentation, ALTER TABLE, "ATTACH PARTITION"; CREATE TABLE, "LIKE".
"""

from collections.abc import Iterator
from typing import Any, Final

import psycopg
from psycopg import Connection, sql

from servicedb.errors import Retryable
from servicedb.plan.retention.convert import Conversion, Step
from servicedb.plan.retention.divisible import Right, Sequence
from servicedb.plan.retention.rule import Name
from servicedb.postgres.retention.batch import identifier
from servicedb.postgres.retention.divisible import divisible
from servicedb.postgres.retention.observe import observe
from servicedb.postgres.retention.partition import bound, making

_LOCK_TIMEOUT: Final = "2s"


def statements(conversion: Conversion, step: Step) -> list[sql.Composed]:
    """Those of `step`, which are one transaction. The first of a swap takes the lock."""
    table = identifier(conversion.table.name)
    check = sql.Identifier(conversion.check)
    match step:
        case Step.DROP_CHECK:
            return [
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(table, sql.Identifier(one))
                for one in conversion.stale
            ]
        case Step.ADD_CHECK:
            column = sql.Identifier(conversion.column)
            until = bound(conversion.until, conversion.type_name)
            statement = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} CHECK ({} IS NOT NULL AND {} < {}) NOT VALID")
            return [statement.format(table, check, column, column, until)]
        case Step.VALIDATE:
            return [sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(table, check)]
        case Step.SWAP:
            return list(_swap(conversion))
        case Step.ANALYZE:
            return [sql.SQL("ANALYZE {}").format(table)]


def _swap(conversion: Conversion) -> Iterator[sql.Composed]:
    table = conversion.table
    new, old = identifier(table.name), identifier(conversion.old)
    check = sql.Identifier(conversion.check)
    yield sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(new)
    yield from _names_made_free(conversion)
    yield sql.SQL(
        "CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING GENERATED INCLUDING STORAGE "
        "INCLUDING COMPRESSION INCLUDING STATISTICS INCLUDING COMMENTS) PARTITION BY RANGE ({})"
    ).format(new, old, sql.Identifier(conversion.column))
    yield sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(new, check)
    for one in table.sequences:
        yield from _sequence(conversion, one)
    yield from _rights(conversion)
    for index in table.indexes:
        yield _constraint(table.name, index.name, index.definition) if index.is_constraint else _said(index.definition)
    for constraint in table.constraints:
        if constraint.kind == "f":
            yield _constraint(table.name, constraint.name, constraint.definition)
    yield sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM (MINVALUE) TO ({})").format(
        new, old, bound(conversion.until, conversion.type_name)
    )
    yield sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(old, check)
    for ahead in conversion.ahead:
        yield from making(table.name, conversion.type_name, ahead)
    for trigger in table.triggers:
        yield _said(trigger.definition)
    if table.comment is not None:
        yield sql.SQL("COMMENT ON TABLE {} IS {}").format(new, sql.Literal(table.comment))


def _names_made_free(conversion: Conversion) -> Iterator[sql.Composed]:
    """The new table has its own and its indexes' names from the old one, for those are what people write."""
    table = conversion.table
    for trigger in table.triggers:
        yield sql.SQL("DROP TRIGGER {} ON {}").format(sql.Identifier(trigger.name), identifier(table.name))
    for number, index in enumerate(table.indexes, start=1):
        yield sql.SQL("ALTER INDEX {} RENAME TO {}").format(
            sql.Identifier(table.name.schema, index.name), sql.Identifier(conversion.old_name(index.name, number))
        )
    for one in table.sequences:
        if one.options is not None:
            yield sql.SQL("ALTER SEQUENCE {} RENAME TO {}").format(
                identifier(one.name), sql.Identifier(_old_sequence(conversion, one).table)
            )
    yield sql.SQL("ALTER TABLE {} RENAME TO {}").format(identifier(table.name), sql.Identifier(conversion.old.table))


def _old_sequence(conversion: Conversion, one: Sequence) -> Name:
    number = conversion.table.sequences.index(one) + 1
    return Name(one.name.schema, conversion.old_name(one.name.table, number))


def _sequence(conversion: Conversion, one: Sequence) -> Iterator[sql.Composed]:
    """An identity is made anew where the old one stands: its partitions may have none of their own. The sequence of a
    default goes over as it is."""
    new, column = identifier(conversion.table.name), sql.Identifier(one.column)
    if one.options is None:
        yield sql.SQL("ALTER SEQUENCE {} OWNED BY {}").format(
            identifier(one.name), sql.Identifier(conversion.table.name.schema, conversion.table.name.table, one.column)
        )
        return
    yield sql.SQL("ALTER TABLE {} ALTER COLUMN {} ADD GENERATED {} AS IDENTITY (SEQUENCE NAME {} {})").format(
        new, column, sql.SQL("ALWAYS" if one.always else "BY DEFAULT"), identifier(one.name), _said(one.options)
    )
    yield sql.SQL("SELECT setval({}, last_value, is_called) FROM {}").format(
        sql.Literal(identifier(one.name).as_string()), identifier(_old_sequence(conversion, one))
    )
    yield sql.SQL("ALTER TABLE {} ALTER COLUMN {} DROP IDENTITY").format(identifier(conversion.old), column)


def _rights(conversion: Conversion) -> Iterator[sql.Composed]:
    """Exactly those that there were: what default privileges give to a new table is taken first."""
    table = conversion.table
    holders = [sql.SQL("PUBLIC"), *map(sql.Identifier, dict.fromkeys((table.owner, *table.granted_at_birth)))]
    everybody = sql.SQL(", ").join(holders)
    yield sql.SQL("REVOKE ALL ON {} FROM {}").format(identifier(table.name), everybody)
    for one in table.sequences:
        if one.options is not None:
            yield sql.SQL("REVOKE ALL ON SEQUENCE {} FROM {}").format(identifier(one.name), everybody)
    for right in table.rights:
        yield _grant(table.name, right)


def _grant(table: Name, right: Right) -> sql.Composed:
    columns = sql.SQL("" if right.column is None else " ({})").format(sql.Identifier(right.column or "-"))
    return sql.SQL("GRANT {}{} ON {} {} TO {}{}").format(
        _said(right.privilege),
        columns,
        sql.SQL("TABLE" if right.on is None else "SEQUENCE"),
        identifier(right.on or table),
        sql.SQL("PUBLIC") if right.grantee is None else sql.Identifier(right.grantee),
        sql.SQL(" WITH GRANT OPTION" if right.grantable else ""),
    )


def _constraint(table: Name, name: str, definition: str) -> sql.Composed:
    return sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {}").format(
        identifier(table), sql.Identifier(name), _said(definition)
    )


def _said(definition: str) -> sql.Composed:
    """As the server's catalogue words it."""
    return sql.Composed([sql.SQL(definition)])


def take_step(connection: Connection[Any], conversion: Conversion, step: Step) -> None:
    """All of `step`, or nothing. Writers wait for it no longer than the lock timeout, and neither does it for them.

    Raises Retryable where the table was changed since it was looked at, or rows came that are too young.
    """
    lock, *rest = statements(conversion, step)
    with connection.transaction():
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(_LOCK_TIMEOUT)))
        try:
            connection.execute(lock)
        except psycopg.errors.CheckViolation:
            raise Retryable(
                "TableChanged",
                f"rows from {conversion.until} on came into {conversion.table.name} while its conversion began; the "
                "same command begins again",
            ) from None
        if step is Step.SWAP:
            _check_unchanged(connection, conversion)
        for statement in rest:
            connection.execute(statement)


def _check_unchanged(connection: Connection[Any], conversion: Conversion) -> None:
    """Under the lock: what was planned is of the very table, and ATTACH will not read it."""
    table = observe(connection, conversion.table.name, conversion.column)
    now = None if table is None else divisible(connection, table)
    if (
        now is None
        or now.layout != conversion.table.layout
        or not any(one.name == conversion.check and one.is_valid for one in now.constraints)
    ):
        raise Retryable(
            "TableChanged", f"table {conversion.table.name} was changed meanwhile; the same command looks at it anew"
        )
