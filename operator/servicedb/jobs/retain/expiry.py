"""Archives that are over themselves: they go from every place, and the ledger says so."""

from servicedb.jobs.retain.ground import Ground
from servicedb.plan.retention.ledger import Action, Entry
from servicedb.plan.retention.rule import Rule
from servicedb.plan.retention.table import Table
from servicedb.postgres.retention import ledger, window
from servicedb.postgres.retention.session import translated


def drop_archives(ground: Ground, rule: Rule, table: Table) -> None:
    """Delete the archives of which every row is older than the rule's `drop_archive_after`, and none still stands in
    the table. Raises Problems and TimeUp.

    The objects go first, and then the line is written: who is killed in between deletes once more.
    """
    assert rule.drop_archive_after is not None
    before = ground.before(rule.drop_archive_after)
    connection = ground.sessions.work
    with translated():
        kept = {one.key for one in ledger.windows(connection, rule.name)}
        candidates = [one for one in ledger.archives(connection, rule.name) if one.key not in kept]
    others = 0
    for one in candidates:
        if one.high is None:
            continue
        if not one.key.startswith(ground.sessions.group.prefix):
            others += 1  # the ledger came with a backup of another database, whose archive it is
            continue
        ground.breathe()
        with translated():
            if not window.is_over(connection, rule, table, one, before):
                continue
        for store in ground.archives().stores:
            store.delete(one.key)
        with translated():
            ledger.add(
                connection,
                Entry(run=ground.run.id, name=rule.name, action=Action.ARCHIVE_DROPPED, key=one.key),
            )
        ground.progress.tell(f"{rule.name}: archive {one.key} dropped")
    if others:
        ground.progress.tell(f"{rule.name}: {others} archives are another database's, and are left to it")
