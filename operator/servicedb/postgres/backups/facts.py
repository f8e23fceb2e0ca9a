"""What a manifest says of the database besides its rows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString

from psycopg import Connection
from psycopg.rows import class_row

from servicedb.naming import RoleNames
from servicedb.plan.backups.keys import Group
from servicedb.plan.backups.manifest import Extension, Sequence

_FACTS: LiteralString = """
SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier, d.oid::int8 AS database_oid,
       d.datname AS name, current_user::text AS reader,
       current_setting('server_version_num')::int AS server_version,
       current_setting('max_locks_per_transaction')::int AS locks_of_a_session,
       current_setting('max_locks_per_transaction')::int
           * (current_setting('max_connections')::int + current_setting('max_prepared_transactions')::int) AS lock_room,
       greatest(pg_table_size('pg_largeobject'::regclass), (
           SELECT reltuples::int8 * (current_setting('block_size')::int8 / 4)
           FROM pg_class WHERE oid = 'pg_largeobject'::regclass)) AS large_object_bytes,
       shobj_description(to_regrole(quote_ident(%(owner)s)), 'pg_authid') AS marker
FROM pg_database d WHERE d.datname = current_database()
"""

# Of a sequence that was never used the catalogue gives no last value, and pg_dump its start.
_SEQUENCES: LiteralString = """
SELECT s.schemaname AS schema_, s.sequencename AS name, coalesce(s.last_value, s.start_value) AS last_value,
       s.last_value IS NOT NULL AS is_called
FROM pg_sequences s
JOIN pg_class c ON c.oid = to_regclass(format('%I.%I', s.schemaname, s.sequencename))
WHERE c.relpersistence <> 't' AND s.schemaname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
ORDER BY 1, 2
"""

_EXTENSIONS: LiteralString = """
SELECT e.extname AS name, e.extversion AS version, n.nspname AS schema_
FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.oid >= 16384
ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Facts:
    """Of the server and the database. `marker` is the comment on the owner role, `lock_room` how many locks the
    server has room for, `large_object_bytes` about what the large objects hold: a row is up to a quarter of a block.
    """

    system_identifier: str
    database_oid: int
    name: str
    reader: str
    server_version: int
    locks_of_a_session: int
    lock_room: int
    large_object_bytes: int
    marker: str | None

    @property
    def group(self) -> Group:
        return Group(self.system_identifier, self.database_oid)


def facts(connection: Connection[Any]) -> Facts:
    """Of the database that `connection` is in."""
    with connection.cursor(row_factory=class_row(Facts)) as cursor:
        row = cursor.execute(_FACTS, {"owner": RoleNames(connection.info.dbname).owner}).fetchone()
    assert row is not None
    return row


def sequences(connection: Connection[Any]) -> tuple[Sequence, ...]:
    """How far each has come. That is no part of a snapshot: it is never behind what the snapshot's rows hold."""
    with connection.cursor(row_factory=class_row(Sequence)) as cursor:
        return tuple(cursor.execute(_SEQUENCES).fetchall())


def descending(connection: Connection[Any]) -> frozenset[tuple[str, str]]:
    """Schema and name of the sequences that count downwards."""
    query: LiteralString = "SELECT schemaname, sequencename FROM pg_catalog.pg_sequences WHERE increment_by < 0"
    return frozenset((schema, name) for schema, name in connection.execute(query).fetchall())


def extensions(connection: Connection[Any]) -> tuple[Extension, ...]:
    """Those that are not in every database."""
    with connection.cursor(row_factory=class_row(Extension)) as cursor:
        return tuple(cursor.execute(_EXTENSIONS).fetchall())


def clock(connection: Connection[Any]) -> datetime:
    """The server's time."""
    row = connection.execute("SELECT pg_catalog.clock_timestamp()").fetchone()
    assert row is not None
    at: datetime = row[0]
    return at
