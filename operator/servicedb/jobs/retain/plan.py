"""What a run would do, rule by rule: looked at, and nothing changed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from servicedb.api.retention_policy import RetentionPolicySpec
from servicedb.errors import Problem, Terminal
from servicedb.jobs.outcome import Outcome
from servicedb.jobs.progress import SILENT, Progress
from servicedb.jobs.retain.request import rules_as_json
from servicedb.jobs.retain.retain import checked_rules
from servicedb.plan.retention.partitions import partitions_to_drop, partitions_to_make
from servicedb.plan.retention.refusals import refusals, warnings
from servicedb.plan.retention.rule import Rule, cutoff
from servicedb.plan.retention.table import Table
from servicedb.postgres.backups.session import Way
from servicedb.postgres.retention import counts
from servicedb.postgres.retention.observe import observe
from servicedb.postgres.retention.session import Sessions, translated


@dataclass(slots=True, kw_only=True)
class RulePlan:
    """What a rule would do: `rows` would be deleted, of a table of `bytes`. `index` is whether an index leads to them,
    `oldest` the oldest time there is, `problem` why nothing would be done."""

    table: str
    rows: int = 0
    bytes: int = 0
    oldest: str | None = None
    null_times: int = 0
    index: bool = False
    warnings: list[str] = field(default_factory=list)
    problem: str | None = None
    partitions_to_create: list[str] = field(default_factory=list)
    partitions_to_drop: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Plan(Outcome):
    action: str = "plan"
    rules: list[RulePlan] = field(default_factory=list)

    def as_json(self, listed: int | None = None) -> dict[str, Any]:
        """With names as in an API; briefly in a pod's last message."""
        return Outcome.as_json(self, listed) | {"rules": rules_as_json(self.rules, listed)}


def plan(spec: RetentionPolicySpec, way: Way, wait: float | None = None, progress: Progress = SILENT) -> Plan:
    """What a run of `spec` would do now. Never raises a Problem: the plan holds it."""
    result = Plan()
    try:
        rules = checked_rules(spec)
        result.rules = [RulePlan(table=str(rule.name)) for rule in rules]
        with Sessions.open(way, None, wait=wait, tell=progress.tell) as sessions:
            _look(sessions, rules, result)
        if refused := [one.problem for one in result.rules if one.problem is not None]:
            raise Terminal("RuleRefused", refused[0])
    except Problem as problem:
        result.failed_with(problem)
    return result


def _look(sessions: Sessions, rules: Sequence[Rule], result: Plan) -> None:
    for rule, said in zip(rules, result.rules, strict=True):
        with translated():
            table = observe(sessions.work, rule.name, rule.column)
        if faults := refusals(rule, table):
            said.problem = "; ".join(faults)
        elif table is not None:
            with translated():
                _plan_rule(sessions, rule, table, said)


def _plan_rule(sessions: Sessions, rule: Rule, table: Table, said: RulePlan) -> None:
    connection = sessions.work
    now = counts.now(connection)
    before = cutoff(now, rule.delete_after)
    said.bytes, said.index = table.bytes, table.is_indexed
    said.warnings = warnings(rule, table)
    said.oldest = counts.oldest(connection, rule, table)
    said.null_times = counts.null_times(connection, rule, table)
    if said.null_times:
        said.warnings.append(f"table {table.name}: {said.null_times} rows have no time, and are kept for ever")
    if rule.partitioning is None:
        said.rows = counts.due(connection, rule, table, before)
        return
    over = partitions_to_drop(table.partitions, before)
    said.partitions_to_create = [
        one.name.table for one in partitions_to_make(rule.name, rule.partitioning, table.partitions, now)
    ]
    said.partitions_to_drop = [str(one.name) for one in over]
    said.rows = counts.due(connection, rule, table, max(one.span.high for one in over if one.span.high)) if over else 0
