"""Seeds: run once as their files stand, with a note of every row that they inserted, so that it can be taken back."""

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import Connection, sql
from psycopg.types.json import Jsonb

from servicedb.plan.migrations.history import Applied
from servicedb.plan.migrations.script import Script
from servicedb.postgres.migrations.history import Scope, as_ourselves, begin, bookkeeping
from servicedb.postgres.migrations.run import failing_at
from servicedb.postgres.migrations.transactional import carry_out

KEY = "seed:"


def applied_seeds(connection: Connection[Any], scope: Scope) -> dict[str, str]:
    """The files of the seeds that were run, and their checksums."""
    with failing_at(None), bookkeeping(connection):
        rows = connection.execute(
            "SELECT file, checksum FROM servicedb_migrations.history "
            "WHERE set_name = %s AND schema_name = %s AND key LIKE 'seed:%%'",
            (scope.set_name, scope.schema),
        ).fetchall()
    return dict(rows)


def seed(
    connection: Connection[Any], other: Callable[[], Connection[Any]], scope: Scope, one: Applied, script: Script
) -> int:
    """Run one file in a transaction; gives how many rows it inserted. `other` gives a second session, which sees what
    was there before. Raises StatementFailed."""
    with failing_at(None), connection.transaction():
        carry_out(connection, script)
        as_ourselves(connection)
        begin(connection, scope, one, source_digest=None, again=True)
        rows = 0
        for table, updated in _touched(connection):
            identities = _inserted(connection, table)
            if updated and identities:
                identities = _new(identities, table, other)
            for identity in identities:
                connection.execute(
                    "INSERT INTO servicedb_migrations.seed_rows (set_name, schema_name, key, table_name, identity) "
                    "VALUES (%s, %s, %s, %s, %s)",
                    (scope.set_name, scope.schema, one.key, table, Jsonb(identity)),
                )
            rows += len(identities)
    return rows


def clear(connection: Connection[Any], scope: Scope) -> int:
    """Delete all rows that seeds inserted and that are still there, and forget the seeds; gives how many.

    Tables are emptied in an order that their foreign keys allow. Raises StatementFailed where there is none: then
    something else refers to such a row, and nothing was done.
    """
    known = (scope.set_name, scope.schema)
    rows = 0
    with failing_at(None), bookkeeping(connection):
        tables = connection.execute(
            "SELECT table_name FROM servicedb_migrations.seed_rows WHERE set_name = %s AND schema_name = %s "
            "GROUP BY 1 ORDER BY max(position) DESC",
            known,
        )
        open_tables = [name for (name,) in tables.fetchall()]
        while open_tables:
            refused: list[str] = []
            for table in open_tables:
                try:
                    with connection.transaction():
                        rows += _delete(connection, scope, table)
                except psycopg.errors.ForeignKeyViolation:
                    if len(refused) + 1 == len(open_tables):
                        raise
                    refused.append(table)
            open_tables = refused
        connection.execute("DELETE FROM servicedb_migrations.seed_rows WHERE set_name = %s AND schema_name = %s", known)
        connection.execute(
            "DELETE FROM servicedb_migrations.history WHERE set_name = %s AND schema_name = %s AND key LIKE 'seed:%%'",
            known,
        )
    return rows


def _touched(connection: Connection[Any]) -> list[tuple[str, bool]]:
    """Tables that this session inserted into, and whether it updated rows there, too."""
    return connection.execute(
        """
        SELECT relid::regclass::text, n_tup_upd > 0 FROM pg_stat_xact_user_tables
        WHERE n_tup_ins > 0 AND schemaname <> 'servicedb_migrations' AND schemaname NOT LIKE 'pg\\_%' ORDER BY 1
        """
    ).fetchall()


def _identity(connection: Connection[Any], table: str) -> sql.Composable:
    """What tells one row from the others: its primary key, else all of it."""
    columns = connection.execute(
        """
        SELECT attribute.attname::text FROM pg_index AS index
        JOIN pg_attribute AS attribute ON attribute.attrelid = index.indrelid AND attribute.attnum = ANY (index.indkey)
        WHERE index.indrelid = %s::regclass AND index.indisprimary ORDER BY 1
        """,
        (table,),
    ).fetchall()
    if not columns:
        return sql.SQL("to_jsonb(seeded)")
    parts = [sql.SQL("{}, seeded.{}").format(sql.Literal(name), sql.Identifier(name)) for (name,) in columns]
    return sql.SQL("jsonb_build_object({})").format(sql.SQL(", ").join(parts))


def _inserted(connection: Connection[Any], table: str) -> list[Any]:
    """Rows of this transaction or a part of it: no other's row is seen while its transaction goes on."""
    query = sql.SQL(
        """
        SELECT {} FROM {} AS seeded
        WHERE xmin::text::bigint >= (pg_current_xact_id()::text::bigint & 4294967295)
          AND pg_xact_status((((pg_current_xact_id()::text::bigint >> 32) << 32) | xmin::text::bigint)::text::xid8)
              = 'in progress'
        """
    ).format(_identity(connection, table), sql.SQL(table))
    return [identity for (identity,) in connection.execute(query).fetchall()]


def _new(identities: list[Any], table: str, other: Callable[[], Connection[Any]]) -> list[Any]:
    """Those that were not there before: an upsert makes new versions of rows that are somebody else's."""
    with other() as watching, bookkeeping(watching):
        query = sql.SQL("SELECT {identity} FROM {table} AS seeded WHERE {identity} = ANY (%s)").format(
            identity=_identity(watching, table), table=sql.SQL(table)
        )
        known = [identity for (identity,) in watching.execute(query, ([Jsonb(one) for one in identities],)).fetchall()]
    return [one for one in identities if one not in known]


def _delete(connection: Connection[Any], scope: Scope, table: str) -> int:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (table,)).fetchone()
    if row is None or not row[0]:
        return 0
    query = sql.SQL(
        "DELETE FROM {} AS seeded USING servicedb_migrations.seed_rows AS noted "
        "WHERE noted.set_name = %s AND noted.schema_name = %s AND noted.table_name = %s AND noted.identity = {}"
    ).format(sql.SQL(table), _identity(connection, table))
    return connection.execute(query, (scope.set_name, scope.schema, table)).rowcount
