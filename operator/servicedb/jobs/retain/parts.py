"""The rule of a partitioned table: partitions made ahead, and those that are over archived and dropped as a whole.

A partition goes in three steps, each of which the next run goes on from: the ledger says that it is to go, it is
detached, and in one transaction its rows are archived and it is dropped. It still takes rows until that transaction
has it for itself.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from servicedb.errors import NeedsDecision, Problem
from servicedb.jobs.retain.ground import Ground
from servicedb.jobs.retain.plain import described
from servicedb.plan.retention.ledger import Action, Archive, Detaching, Entry, PartitionState
from servicedb.plan.retention.partitions import Partition, partitions_to_drop, partitions_to_make
from servicedb.plan.retention.rule import Rule
from servicedb.plan.retention.table import Table
from servicedb.postgres.retention import partition as partitions
from servicedb.postgres.retention.batch import archived_columns
from servicedb.postgres.retention.ledger import add, detaching, note_partition
from servicedb.postgres.retention.observe import observe
from servicedb.postgres.retention.rows import Rows
from servicedb.postgres.retention.session import translated

_OF_ONE_PARTITION = frozenset({"PartitionBusy", "PartitionDiffers", "PartitionKept", "PartitionUsed"})


def make_ahead(ground: Ground, rule: Rule, table: Table) -> None:
    """Make the partitions that are missing. Raises Problems."""
    assert rule.partitioning is not None
    owner = ground.sessions.owner
    for new in partitions_to_make(rule.name, rule.partitioning, table.partitions, ground.run.now):
        with translated(), owner.transaction():
            partitions.make(owner, table, rule.column, new)
            add(
                owner,
                Entry(run=ground.run.id, name=rule.name, action=Action.PARTITION_MADE, partition=new.name),
            )
        ground.progress.tell(f"{rule.name}: partition {new.name.table} made")


def drop_over(ground: Ground, rule: Rule, table: Table) -> None:
    """Archive and drop the partitions that are over. Raises Problems and TimeUp.

    What is wrong with one partition holds up no other. Where anything else is, such as the store, no other is detached.
    """
    first: Problem | None = None
    before = ground.before(rule.delete_after)
    with translated():
        _keep_attached(ground, rule, table)
        waiting = detaching(ground.sessions.work, rule.name)
    over = partitions_to_drop(table.partitions, before)
    steps: list[Callable[[], None]] = [partial(_drop_detached, ground, rule, one, before) for one in waiting]
    steps += [partial(_check_pending, one) for one in table.partitions if one.is_pending and one not in over]
    steps += [partial(_detach_and_drop, ground, rule, table, one, before) for one in over]
    for step in steps:
        ground.breathe()
        try:
            with translated():
                step()
        except Problem as problem:
            first = first or problem
            if problem.reason not in _OF_ONE_PARTITION:
                break
    if first is not None:
        raise first


def _keep_attached(ground: Ground, rule: Rule, table: Table) -> None:
    """What was to be detached and is attached now somebody wants, or it was never begun: it is decided anew."""
    attached = {one.oid for one in table.partitions if not one.is_pending}
    for one in detaching(ground.sessions.work, rule.name):
        if one.oid in attached:
            note_partition(ground.sessions.owner, ground.run.id, rule.name, PartitionState.KEPT, one)


def _check_pending(one: Partition) -> None:
    raise NeedsDecision(
        "PartitionKept",
        f"partition {one.name} is half detached since an earlier run, and the rule of today keeps it: end that with "
        "ALTER TABLE ... DETACH PARTITION ... FINALIZE, and attach it again",
    )


def _detach_and_drop(ground: Ground, rule: Rule, table: Table, one: Partition, before: datetime) -> None:
    owner = ground.sessions.owner
    low, high = (None if at is None else at.isoformat(sep=" ") for at in (one.span.low, one.span.high))
    noted = Detaching(one.name, one.oid, low, high)
    partitions.check_unused(owner, noted)
    if rule.archive_after is not None:
        ground.archives()  # as long as there is no store, its rows had better stay where they are seen
    note_partition(owner, ground.run.id, rule.name, PartitionState.DETACHING, noted)
    partitions.detach(owner, table, one)
    _drop_detached(ground, rule, noted, before)


def _drop_detached(ground: Ground, rule: Rule, one: Detaching, before: datetime) -> None:
    """Drop what was detached, unless the rule of today keeps it, or it is another table, or attached again."""
    owner = ground.sessions.owner
    if not partitions.is_detached(owner, one):
        return
    if one.high is None or datetime.fromisoformat(one.high) > before:
        raise NeedsDecision(
            "PartitionKept",
            f"partition {one.partition} was detached by an earlier run, and the rule of today keeps it: attach it "
            "again, or drop it yourself",
        )
    partitions.check_unused(owner, one)
    with owner.transaction():
        partitions.lock(owner, one.partition)
        if not partitions.is_detached(owner, one):
            return
        rows = partitions.count(owner, one.partition)
        archive = _archived(ground, rule, one, rows) if rule.archive_after is not None and rows else None
        add(
            owner,
            Entry(
                run=ground.run.id,
                name=rule.name,
                action=Action.PARTITION_DROPPED,
                rows=rows,
                archive=archive,
                partition=one.partition,
                oid=one.oid,
                low=one.low,
                high=one.high,
            ),
        )
        note_partition(owner, ground.run.id, rule.name, PartitionState.DROPPED, one)
        partitions.drop(owner, one.partition)
    ground.progress.tell(f"{rule.name}: partition {one.partition.table} dropped")


def _archived(ground: Ground, rule: Rule, one: Detaching, count: int) -> Archive:
    """The rows of a detached partition, by its own columns: those of its table may be others by now."""
    owner = ground.sessions.owner
    itself = observe(owner, one.partition, rule.column)
    if itself is None or itself.column(rule.column) is None:
        raise NeedsDecision(
            "PartitionDiffers",
            f'{one.partition} has no column "{rule.column}" any more; it was not dropped: look at it',
        )
    with partitions.all_rows(owner, one.partition, archived_columns(itself, rule.column)) as copy:
        rows = Rows(copy, ground.progress.add)
        stored = ground.archives().put(rule.name, rows, ground.run.now)
    if rows.count != count:
        raise NeedsDecision(
            "PartitionDiffers",
            f"{rows.count} of the {count} rows of {one.partition} came out of it; it was not dropped: look at it",
        )
    return described(ground, rule, itself, rows, stored)
