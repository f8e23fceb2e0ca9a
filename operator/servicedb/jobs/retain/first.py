"""Rows that are archived long before they are deleted: archived in windows of time, and matched again at the end.

A window whose rows are still those of its archive, and whose archive is still what was stored, goes by one DELETE. Any
other goes as rows do that were never archived: they may have come late, or have been changed since.
"""

import time
from datetime import UTC, datetime, timedelta
from itertools import chain

from servicedb.errors import Retryable
from servicedb.jobs.retain.archive import check_stored
from servicedb.jobs.retain.ground import Ground
from servicedb.jobs.retain.plain import described
from servicedb.plan.retention.ledger import Action, Archive, Entry
from servicedb.plan.retention.pace import Pace
from servicedb.plan.retention.rule import Rule
from servicedb.plan.retention.table import Table
from servicedb.postgres.retention import window
from servicedb.postgres.retention.batch import hold
from servicedb.postgres.retention.ledger import add, last_window, windows
from servicedb.postgres.retention.rows import Rows
from servicedb.postgres.retention.session import translated
from servicedb.store.problems import NoSuchObject


def archive_ahead(ground: Ground, rule: Rule, table: Table) -> None:
    """Archive what is old enough for that. Raises Problems and TimeUp."""
    assert rule.archive_after is not None
    before = ground.before(rule.archive_after)
    pace = Pace(rule.batch_rows, ground.batch_target)
    while True:
        ground.breathe()
        begun = time.monotonic()
        with translated():
            archived = _archive(ground, rule, table, before, pace.rows)
        if archived is None or archived.rows < pace.rows:
            return
        ground.progress.tell(f"{rule.name}: {archived.rows} rows to {archived.key}")
        pace = pace.after(archived.rows, timedelta(seconds=time.monotonic() - begun))


def delete_archived(ground: Ground, rule: Rule, table: Table, before: datetime) -> datetime | None:
    """Delete the windows of which all is older than `before`. Gives the moment up to which no window is left: what is
    older than that, too, was never archived, or was changed since. None where that is not known.

    Raises Problems and TimeUp.
    """
    connection = ground.sessions.work
    with translated():
        waiting = windows(connection, rule.name)
    for one in waiting:
        ground.breathe()
        with translated():
            if not window.is_over(connection, rule, table, one, before):
                return _moment(one.low)
            _settle(ground, rule, table, one, is_stored=_is_stored(ground, one))
    return before


def _moment(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:  # infinity, or before Christ
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


def _archive(ground: Ground, rule: Rule, table: Table, before: datetime, most: int) -> Archive | None:
    connection = ground.sessions.work
    with connection.transaction():
        hold(connection, rule, table)
        after = last_window(connection, rule.name)
        with window.next_rows(connection, rule, table, before, most, after) as copy:
            lines = iter(copy)
            first = next(lines, None)
            if first is None:
                return None
            rows = Rows(chain((bytes(first),), lines), ground.progress.add)
            stored = ground.archives().put(rule.name, rows, ground.run.now)
        archive = described(ground, rule, table, rows, stored)
        add(
            connection,
            Entry(run=ground.run.id, name=rule.name, action=Action.ARCHIVED, rows=archive.rows, archive=archive),
        )
    return archive


def _is_stored(ground: Ground, archive: Archive) -> bool:
    """Whether every place still gives the archive as it was stored."""
    try:
        for store in ground.archives().stores:
            check_stored(store, archive.key, archive.size_bytes, archive.sha256)
    except (NoSuchObject, Retryable) as problem:
        if isinstance(problem, Retryable) and problem.reason != "ArchiveDiffers":
            raise
        return False
    return True


def _settle(ground: Ground, rule: Rule, table: Table, archive: Archive, *, is_stored: bool) -> None:
    """Delete the window's rows where they are those of the archive; note in any case that it is settled."""
    connection = ground.sessions.work
    with window.frozen(connection):
        hold(connection, rule, table)
        with window.window_rows(connection, rule, table, archive) as copy:
            rows = Rows(copy)
            for _ in rows:
                continue
        same = is_stored and (rows.count, rows.sha256) == (archive.rows, archive.raw_sha256)
        deleted = window.delete_window(connection, rule, table, archive) if same else 0
        assert deleted in {0, archive.rows}
        add(
            connection,
            Entry(run=ground.run.id, name=rule.name, action=Action.DELETED, rows=deleted, key=archive.key),
        )
        if not is_stored:
            gone = Entry(run=ground.run.id, name=rule.name, action=Action.ARCHIVE_DROPPED, key=archive.key)
            add(connection, gone)
            ground.progress.tell(f"{archive.key} is no longer what was stored; its rows are archived anew")
