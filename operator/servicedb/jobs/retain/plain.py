"""The rule of a plain table: batch by batch, each a transaction that ends when its rows are in the archive for sure.

Killed anywhere, either the batch was committed and its rows are in the archive that the ledger names, or nothing of it
was, and an object may lie in the store that no line of the ledger speaks of.
"""

import time
from datetime import datetime, timedelta
from itertools import chain

from servicedb.jobs.retain.archive import Archives, Stored
from servicedb.jobs.retain.ground import Ground
from servicedb.plan.retention.ledger import Action, Archive, Entry
from servicedb.plan.retention.pace import Pace
from servicedb.plan.retention.rule import Rule
from servicedb.plan.retention.table import Table
from servicedb.postgres.retention.batch import archived_columns, delete_rows, deleted_rows, edges, hold
from servicedb.postgres.retention.ledger import add
from servicedb.postgres.retention.rows import Rows
from servicedb.postgres.retention.session import translated


def move_rows(ground: Ground, rule: Rule, table: Table, before: datetime) -> None:
    """Archive and delete what is older than `before`. Raises Problems and TimeUp."""
    archives = ground.archives()
    pace = Pace(rule.batch_rows, ground.batch_target)
    since: str | None = None
    while True:
        ground.breathe()
        begun = time.monotonic()
        with translated():
            moved = _move(ground, archives, rule, table, before, pace.rows, since)
        if moved is None:
            return
        took = timedelta(seconds=time.monotonic() - begun)
        ground.progress.tell(f"{rule.name}: {moved.rows} rows to {moved.key}")
        if moved.rows < pace.rows:
            return
        # What is older was locked by somebody, or came since: the next run takes it. Whatever was deleted before
        # leaves its traces in the index until nobody's snapshot needs them any more, and is not read again and again.
        since = moved.high
        pace = pace.after(moved.rows, took)


def delete_only(ground: Ground, rule: Rule, table: Table, before: datetime) -> None:
    """Delete what is older than `before`, which no archive is wanted of. Raises Problems and TimeUp."""
    pace = Pace(rule.batch_rows, ground.batch_target)
    while True:
        ground.breathe()
        begun = time.monotonic()
        with translated(), ground.sessions.work.transaction():
            hold(ground.sessions.work, rule, table)
            count = delete_rows(ground.sessions.work, rule, table, before, pace.rows)
            if count:
                add(
                    ground.sessions.work,
                    Entry(run=ground.run.id, name=rule.name, action=Action.DELETED, rows=count),
                )
        if count < pace.rows:
            return
        pace = pace.after(count, timedelta(seconds=time.monotonic() - begun))


def _move(
    ground: Ground, archives: Archives, rule: Rule, table: Table, before: datetime, most: int, since: str | None
) -> Archive | None:
    connection = ground.sessions.work
    with connection.transaction():
        hold(connection, rule, table)
        with deleted_rows(connection, rule, table, before, most, since) as copy:
            lines = iter(copy)
            first = next(lines, None)
            if first is None:
                return None
            rows = Rows(chain((bytes(first),), lines), ground.progress.add)
            stored = archives.put(table.name, rows, ground.run.now)
        archive = described(ground, rule, table, rows, stored)
        add(
            connection,
            Entry(run=ground.run.id, name=rule.name, action=Action.MOVED, rows=archive.rows, archive=archive),
        )
    return archive


def described(ground: Ground, rule: Rule, table: Table, rows: Rows, stored: Stored) -> Archive:
    """What the ledger says of rows that were stored."""
    column = table.column(rule.column)
    assert column is not None
    low, high = edges(ground.sessions.work, column.type_name, rows.edges)
    types = {one.name: one.type_name for one in table.columns}
    return Archive(
        key=stored.key,
        rows=rows.count,
        raw_bytes=stored.written.raw_bytes,
        size_bytes=stored.written.size_bytes,
        sha256=stored.written.sha256,
        raw_sha256=rows.sha256,
        columns=tuple((name, types[name]) for name in archived_columns(table, rule.column)),
        key_columns=table.key,
        time_column=rule.column,
        low=low,
        high=high,
    )
