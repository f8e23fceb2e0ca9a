"""A run of retention: partitions ahead first, and then each rule, while everything that is deleted is archived before.

Killed anywhere, the next pod goes on from what the ledger says.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TypeVar

from servicedb.api.retention_policy import RetentionPolicySpec
from servicedb.errors import Problem, Retryable, Terminal
from servicedb.jobs.backup.stream import Encoding
from servicedb.jobs.encoding import recipients
from servicedb.jobs.progress import SILENT, Progress
from servicedb.jobs.retain.archive import Archives
from servicedb.jobs.retain.expiry import drop_archives
from servicedb.jobs.retain.first import archive_ahead, delete_archived
from servicedb.jobs.retain.ground import Ground, TimeUp
from servicedb.jobs.retain.parts import drop_over, make_ahead
from servicedb.jobs.retain.plain import delete_only, move_rows
from servicedb.jobs.retain.request import Request, Result, RuleResult
from servicedb.plan.retention.gate import gate_fault
from servicedb.plan.retention.ledger import Summed
from servicedb.plan.retention.partitions import partitions_to_drop
from servicedb.plan.retention.refusals import policy_faults, refusals
from servicedb.plan.retention.rule import Rule, rules_of
from servicedb.plan.retention.table import Table
from servicedb.postgres.backups.session import Way
from servicedb.postgres.retention import counts, ledger
from servicedb.postgres.retention.observe import observe
from servicedb.postgres.retention.session import Sessions, lag_is_hidden, translated
from servicedb.postgres.retention.upkeep import analyze
from servicedb.store.interface import Store

_TIME_UP = "TimeUp"
_HIDDEN = (
    "the login may not see how far replicas are behind, so spec.limits.maxReplicaLag is not kept; GRANT "
    "pg_read_all_stats to it"
)


def retain(
    request: Request,
    spec: RetentionPolicySpec,
    way: Way,
    owner: Way | None,
    open_stores: Callable[[], Sequence[Store]] = tuple,
    progress: Progress = SILENT,
) -> Result:
    """Follow the rules of `spec`. Never raises a Problem: the result holds it.

    `owner` is the way of a session that may make and drop partitions, and the ledger; None: `way` is. Archives go to
    all stores that `open_stores` gives, which is called when the first one is made.
    """
    result = Result(run=request.run)
    try:
        rules = checked_rules(spec)
        with Sessions.open(way, owner, wait=request.wait, tell=progress.tell) as sessions:
            with translated():
                ledger.prepare(sessions.owner, sessions.login)
                run = ledger.begin(
                    sessions.work,
                    request.run,
                    backup_digest=request.backup_digest,
                    backup_time=request.backup_time,
                )
                if lag_is_hidden(sessions.work):
                    result.warnings.append(_HIDDEN)
            result.began_at = run.now.isoformat()
            limits = spec.limits
            ground = Ground(
                sessions=sessions,
                run=run,
                open_archives=partial(_archives, request, open_stores, sessions),
                progress=progress,
                until=time.monotonic() + limits.max_duration.timedelta.total_seconds(),
                batch_target=limits.batch_target.timedelta,
                most_lag=limits.max_replica_lag.timedelta,
                most_rows=limits.max_rows_per_run,
            )
            try:
                _follow_all(request, spec, rules, ground, result)
            finally:
                _sum_up(ground, rules, result)
    except Problem as problem:
        result.failed_with(problem)
    return result


def _archives(request: Request, open_stores: Callable[[], Sequence[Store]], sessions: Sessions) -> Archives:
    encoding = Encoding(request.level, recipients(request.recipients))
    if not (stores := open_stores()):
        raise Terminal("NoArchive", "the policy archives rows, and no place was named; name it with --store")
    return Archives(stores, encoding, sessions.group)


def checked_rules(spec: RetentionPolicySpec) -> list[Rule]:
    """The rules of `spec`. Raises Terminal where something is wrong with one, whatever the database holds."""
    rules = rules_of(spec)
    if faults := policy_faults(rules):
        raise Terminal("InvalidRule", "; ".join(faults))
    return rules


def _follow_all(
    request: Request, spec: RetentionPolicySpec, rules: Sequence[Rule], ground: Ground, result: Result
) -> None:
    """Partitions ahead come first: they wait for no store and no backup. A rule that is refused, or fails, holds up no
    other; the first problem is the run's."""
    result.rules = [RuleResult(table=str(rule.name)) for rule in rules]
    course = _Course(ground, result)
    found = [course.tried(said, partial(_found, ground, rule)) for rule, said in zip(rules, result.rules, strict=True)]
    ahead = True
    for rule, said, table in zip(rules, result.rules, found, strict=True):
        if rule.partitioning is not None:
            made = table is not None and course.tried(said, partial(_made_ahead, ground, rule, table))
            ahead = ahead and bool(made)
    result.partitions_ahead = ahead
    required = spec.require_backup
    with translated():  # the run may have begun long ago
        now = counts.now(ground.sessions.work)
    if (fault := gate_fault(required, request.backup_digest, request.backup_time, now)) is not None:
        raise Retryable("BackupRequired", fault)
    left: list[str] = []
    for rule, said, table in zip(rules, result.rules, found, strict=True):
        if course.is_over:
            left.append(said.table)
        elif table is not None:
            course.tried(said, partial(_follow, ground, rule, table))
    if left and result.reason == _TIME_UP:
        result.message += f"; not reached: {', '.join(left)}"
    if course.first is not None:
        raise course.first


T = TypeVar("T")


@dataclass(slots=True)
class _Course:
    """Of a run: its first problem, and whether its time is up."""

    ground: Ground
    result: Result
    first: Problem | None = None
    is_over: bool = False

    def tried(self, said: RuleResult, work: Callable[[], T]) -> T | None:
        """What `work` for a rule gives; None where it failed, which is then noted."""
        try:
            return work()
        except TimeUp:
            self.is_over = True
            self.result.reason = _TIME_UP
            self.result.message = "the run lasted as long as spec.limits.maxDuration lets it; the next one goes on"
        except Problem as problem:
            said.problem = problem.message if said.problem is None else f"{said.problem}; {problem.message}"
            self.first = self.first or problem
            self.is_over = self.is_over or self.ground.sessions.work.closed or self.ground.sessions.owner.closed
        return None


def _found(ground: Ground, rule: Rule) -> Table:
    """The rule's table. Raises Terminal where nothing of the rule can be done on it."""
    with translated():
        table = observe(ground.sessions.work, rule.name, rule.column)
    faults = refusals(rule, table)
    if faults or table is None:
        raise Terminal("RuleRefused", "; ".join(faults))
    return table


def _made_ahead(ground: Ground, rule: Rule, table: Table) -> bool:
    make_ahead(ground, rule, table)
    return True


def _follow(ground: Ground, rule: Rule, table: Table) -> None:
    before = ground.before(rule.delete_after)
    _check_count(ground, rule, table)
    if rule.partitioning is not None:
        drop_over(ground, rule, table)
    elif rule.archive_after is None:
        delete_only(ground, rule, table, before)
    elif rule.archives_first:
        archive_ahead(ground, rule, table)
        if (rest := delete_archived(ground, rule, table, before)) is not None:
            move_rows(ground, rule, table, min(rest, before))
    else:
        move_rows(ground, rule, table, before)
    if rule.drop_archive_after is not None:
        drop_archives(ground, rule, table)
    with translated():
        if ledger.done(ground.sessions.work, ground.run.id).get(rule.name, Summed()).deleted_rows:
            analyze(ground.sessions.owner, rule.name)


def _check_count(ground: Ground, rule: Rule, table: Table) -> None:
    """An age with a wrong unit takes a whole table: nothing is done where more would go than a person has said."""
    most = ground.most_rows
    if most is None:
        return
    before = ground.before(rule.delete_after)
    with translated():
        if rule.partitioning is None:
            count = counts.due(ground.sessions.work, rule, table, before, most + 1)
        else:
            names = [one.name for one in partitions_to_drop(table.partitions, before)]
            count = counts.rows_in(ground.sessions.owner, names)
    if count > most:
        raise Terminal(
            "TooManyRows",
            f"rule {rule.name} would delete more than the {most} rows that spec.limits.maxRowsPerRun allows; look at "
            "its ages, and raise maxRowsPerRun if they are right",
        )


def _sum_up(ground: Ground, rules: Sequence[Rule], result: Result) -> None:
    """What the ledger says was done, whichever pod did it; and what is left."""
    if ground.sessions.work.closed:
        return
    with translated():
        done = ledger.done(ground.sessions.work, ground.run.id)
        for rule, said in zip(rules, result.rules, strict=True):
            for name, value in asdict(done.get(rule.name, Summed())).items():
                setattr(said, name, value)
                setattr(result.totals, name, getattr(result.totals, name) + value)
            table = observe(ground.sessions.work, rule.name, rule.column)
            if table is None or refusals(rule, table):
                continue
            said.oldest = counts.oldest(ground.sessions.work, rule, table)
            said.null_times = counts.null_times(ground.sessions.work, rule, table)
