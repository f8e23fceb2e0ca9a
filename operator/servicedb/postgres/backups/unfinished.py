"""The mark of a restore that has not come to its end, in the database itself, and the way to be rid of what it left.

It is set before anything else and taken away when all was compared: a run that is killed anywhere in between leaves it,
and the same restore, run again, begins anew. No other one does: what is there may be what somebody needs by now.
"""

import contextlib
import json
import time
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import Connection, sql

from servicedb.errors import Busy
from servicedb.naming import RESTORE_SCHEMA

_OURS: LiteralString = """
SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s AND pg_has_role(nspowner, 'USAGE'))
"""

_MARK: LiteralString = """
SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = %s
"""

_WORDS: LiteralString = """CASE i.type WHEN 'composite type' THEN 'TYPE' WHEN 'statistics object' THEN 'STATISTICS'
    ELSE upper(i.type) END"""

# What stands in schemas by itself: what belongs to it, as the sequence of an identity column does, goes with it. A
# partitioned table belongs to its own key in this sense. Extensions were made by who may, and stay.
_LEFT: LiteralString = """
SELECT DISTINCT {words} AS kind, i.identity
FROM pg_depend d JOIN pg_namespace n ON n.oid = d.refobjid, pg_identify_object(d.classid, d.objid, 0) i
WHERE d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n'
  AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_operator'::regclass,
                    'pg_opclass'::regclass, 'pg_opfamily'::regclass, 'pg_collation'::regclass, 'pg_ts_config'::regclass,
                    'pg_ts_dict'::regclass, 'pg_conversion'::regclass, 'pg_statistic_ext'::regclass)
  AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', %s)
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid
                  AND e.deptype IN ('e', 'i') AND e.refobjid <> d.objid)
"""

_SCHEMAS: LiteralString = """
SELECT nspname FROM pg_namespace
WHERE nspname !~ '^pg_' AND nspname NOT IN ('public', 'information_schema', %s) AND pg_has_role(nspowner, 'USAGE')
"""

_SERVERS: LiteralString = """
SELECT srvname FROM pg_foreign_server s
WHERE pg_has_role(srvowner, 'USAGE')
  AND NOT EXISTS (SELECT FROM pg_depend
                  WHERE classid = 'pg_foreign_server'::regclass AND objid = s.oid AND deptype = 'e')
"""

_UNLINK: LiteralString = """
SELECT count(lo_unlink(oid))
FROM (SELECT oid FROM pg_largeobject_metadata WHERE pg_has_role(lomowner, 'USAGE') LIMIT %s) l
"""
_UNLINKED_AT_ONCE = 1000

_END_OTHERS: LiteralString = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND usename = session_user AND pid <> pg_backend_pid()
  AND application_name LIKE 'servicedb-restore%'
"""
_PATIENCE_SECONDS = 30.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Mark:
    """Which restore it is of: the backup's key, and the name of the run. Empty where the mark does not say.

    `differs`: all rows are in, but what is there is not what was backed up. A person has to look at it.
    """

    key: str
    run: str
    differs: bool = False


def marked(connection: Connection[Any]) -> Mark | None:
    """The mark in the database, by whomever; None: what is there is of no restore, or of one that was whole."""
    row = connection.execute(_MARK, (RESTORE_SCHEMA,)).fetchone()
    if row is None:
        return None
    try:
        told = json.loads(row[0] or "")
        return Mark(str(told["key"]), str(told["run"]), bool(told["differs"]))
    except (ValueError, TypeError, KeyError):
        return Mark("", "")


def is_ours(connection: Connection[Any]) -> bool:
    """Whether the mark was set by the role that everything is restored as: only then what is there may go."""
    row = connection.execute(_OURS, (RESTORE_SCHEMA,)).fetchone()
    return bool(row and row[0])


def mark(connection: Connection[Any], restore: Mark) -> None:
    schema = sql.Identifier(RESTORE_SCHEMA)
    told = json.dumps({"key": restore.key, "run": restore.run, "differs": restore.differs})
    with connection.transaction():
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(schema))
        connection.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(schema, sql.Literal(told)))


def unmark(connection: Connection[Any]) -> None:
    connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(RESTORE_SCHEMA)))


def clear(connection: Connection[Any]) -> None:
    """Drop all that a restore makes, each by itself: thousands at once would need a lock each. The mark stays.

    Raises Busy where a session of the run before does not end.
    """
    _end_others(connection)
    left = connection.execute(_LEFT.replace("{words}", _WORDS).encode(), (RESTORE_SCHEMA,)).fetchall()
    for kind, identity in left:
        # Both are the server's own words, which it has quoted.
        connection.execute(sql.SQL("DROP {} IF EXISTS {} CASCADE").format(sql.SQL(kind), sql.SQL(identity)))
    for (server,) in connection.execute(_SERVERS).fetchall():
        connection.execute(sql.SQL("DROP SERVER {} CASCADE").format(sql.Identifier(server)))
    for (publication,) in connection.execute(
        "SELECT pubname FROM pg_catalog.pg_publication WHERE pg_catalog.pg_has_role(pubowner, 'USAGE')"
    ).fetchall():
        connection.execute(sql.SQL("DROP PUBLICATION {}").format(sql.Identifier(publication)))
    for (schema,) in connection.execute(_SCHEMAS, (RESTORE_SCHEMA,)).fetchall():
        with contextlib.suppress(psycopg.errors.DependentObjectsStillExist):  # an extension's
            connection.execute(sql.SQL("DROP SCHEMA {}").format(sql.Identifier(schema)))
    while (row := connection.execute(_UNLINK, (_UNLINKED_AT_ONCE,)).fetchone()) and row[0]:
        continue


def _end_others(connection: Connection[Any]) -> None:
    """A psql outlives the run that it was killed with by what it had been given already."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while (row := connection.execute(_END_OTHERS).fetchone()) and row[0]:
        if time.monotonic() >= until:
            raise Busy("LockBusy", f"{row[0]} sessions of a restore that was killed don't end; tried again later")
        time.sleep(_POLL_SECONDS)
