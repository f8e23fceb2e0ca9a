"""What a table needs after many of its rows went."""

import contextlib
from typing import Any

import psycopg
from psycopg import Connection, sql

from servicedb.plan.retention.rule import Name
from servicedb.postgres.retention.batch import identifier


def analyze(connection: Connection[Any], name: Name) -> None:
    """Let the planner know. Who may not does without: autovacuum comes by, too."""
    with contextlib.suppress(psycopg.errors.InsufficientPrivilege, psycopg.errors.LockNotAvailable):
        connection.execute(sql.SQL("ANALYZE {}").format(identifier(name)))
