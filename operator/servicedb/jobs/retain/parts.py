"""The rule of a partitioned table: partitions made ahead, and those that are over archived and dropped as a whole.

A partition goes in three steps, each of which the next run goes on from: the ledger says that it is to go, it is
detached, and in one transaction its rows are archived and it is dropped. It still takes rows until that transaction
has it for itself.
"""

from servicedb.errors import NeedsDecision
from servicedb.jobs.retain.ground import Ground
from servicedb.jobs.retain.plain import described
from servicedb.plan.retention.ledger import Action, Detaching, Entry
from servicedb.plan.retention.partitions import Partition, partitions_to_drop, partitions_to_make
from servicedb.plan.retention.rule import Rule
from servicedb.plan.retention.table import Table
from servicedb.postgres.retention import partition as partitions
from servicedb.postgres.retention.batch import archived_columns
from servicedb.postgres.retention.ledger import add, detaching
from servicedb.postgres.retention.rows import Rows
from servicedb.postgres.retention.session import translated


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
    """Archive and drop the partitions that are over. Raises Problems and TimeUp."""
    _drop_detached(ground, rule, table)
    for one in partitions_to_drop(table.partitions, ground.before(rule.delete_after)):
        ground.breathe()
        _detach(ground, rule, table, one)
        _drop_detached(ground, rule, table)


def _detach(ground: Ground, rule: Rule, table: Table, one: Partition) -> None:
    low, high = (None if at is None else at.isoformat(sep=" ") for at in (one.span.low, one.span.high))
    with translated():
        add(
            ground.sessions.owner,
            Entry(
                run=ground.run.id,
                name=rule.name,
                action=Action.PARTITION_DETACHING,
                partition=one.name,
                oid=one.oid,
                low=low,
                high=high,
            ),
        )
        partitions.detach(ground.sessions.owner, table, one)


def _drop_detached(ground: Ground, rule: Rule, table: Table) -> None:
    with translated():
        waiting = [
            one
            for one in detaching(ground.sessions.work, rule.name)
            if partitions.is_detached(ground.sessions.owner, one)
        ]
    for one in waiting:
        ground.breathe()
        with translated():
            _drop(ground, rule, table, one)
        ground.progress.tell(f"{rule.name}: partition {one.partition.table} dropped")


def _drop(ground: Ground, rule: Rule, table: Table, one: Detaching) -> None:
    owner = ground.sessions.owner
    archive = None
    with owner.transaction():
        partitions.lock(owner, one.partition)
        rows = partitions.count(owner, one.partition)
        if rule.archive_after is not None and rows:
            columns = archived_columns(table, rule.column)
            with partitions.all_rows(owner, one.partition, columns) as copy:
                read = Rows(copy, ground.progress.add)
                stored = ground.archives().put(rule.name, read, ground.run.now)
            if read.count != rows:
                raise NeedsDecision(
                    "PartitionDiffers",
                    f"{read.count} of the {rows} rows of {one.partition} came out of it; it was not dropped",
                )
            archive = described(ground, rule, table, read, stored)
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
        partitions.drop(owner, one.partition)
