"""What a rule of a RetentionPolicy asks for, as far as that can be read without the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from servicedb.api.retention_policy import RetentionPolicySpec, RetentionRule
from servicedb.errors import Terminal
from servicedb.plan.identifiers import parsed_name
from servicedb.plan.retention.calendar import Interval

_BATCH_ROWS: Final = 5000
_PREMAKE: Final = 3


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A table, as its schema and its name."""

    schema: str
    table: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitioning:
    """Partitions of one `interval` each, `premake` of them made ahead of the current one."""

    interval: Interval
    premake: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One table: rows older than `archive_after` by `column` are archived (None: never), those older than
    `delete_after` deleted.

    `where` is SQL that a row has to satisfy, `batch_rows` what a first batch takes, `drop_archive_after` the age,
    counted from a row's time, at which its archive goes. `allow` names what would otherwise refuse the rule: foreign
    keys, triggers and rules, children. `partitioning` None: a plain table.
    """

    name: Name
    column: str
    archive_after: timedelta | None
    delete_after: timedelta
    where: str | None = None
    batch_rows: int = _BATCH_ROWS
    drop_archive_after: timedelta | None = None
    allow: frozenset[str] = frozenset()
    partitioning: Partitioning | None = None

    @property
    def archives_first(self) -> bool:
        """Whether rows are archived while they still stand in the table."""
        return self.archive_after is not None and self.archive_after < self.delete_after


def rules_of(spec: RetentionPolicySpec) -> list[Rule]:
    """The rules of `spec`. Raises Terminal where one names no table or no age."""
    return [_rule(one) for one in spec.rules]


def cutoff(now: datetime, age: timedelta) -> datetime:
    """What is before it is older than `age`. Days are 24 hours of UTC, whatever clocks do elsewhere."""
    try:
        return now.astimezone(UTC) - age
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def rule_faults(rule: Rule) -> list[str]:
    """What is wrong with the ages that `rule` names; empty where nothing is."""
    faults = []
    if rule.delete_after <= timedelta() or (rule.archive_after is not None and rule.archive_after <= timedelta()):
        faults.append("an age of 0 would take every row; name a longer one")
    if rule.archive_after is not None and rule.archive_after > rule.delete_after:
        faults.append("archiveAfter is longer than deleteAfter: rows would be gone before they are archived")
    if rule.drop_archive_after is not None:
        if rule.archive_after is None:
            faults.append("dropArchiveAfter is of no use where nothing is archived; leave it out")
        elif rule.drop_archive_after <= rule.delete_after:
            faults.append("dropArchiveAfter is not longer than deleteAfter: archives would go before their rows do")
    if rule.where is not None and rule.partitioning is not None:
        faults.append("where is not possible with partition: a partition goes as a whole; leave one of them out")
    return faults


def names_twice(rules: Sequence[Rule]) -> list[Name]:
    """The tables that more than one rule is for."""
    names = [rule.name for rule in rules]
    return sorted({name for name in names if names.count(name) > 1})


def _rule(given: RetentionRule) -> Rule:
    parsed = parsed_name(given.table)
    if parsed is None or parsed[0] is None:
        raise Terminal(
            "InvalidRule",
            f'a rule names the table "{ascii(given.table)[1:-1]}"; write it with its schema, as in public.sessions, '
            'and with double quotes around what holds other characters or capitals, as in app."Order Lines"',
        )
    age = given.delete_after or given.archive_after
    if age is None:
        raise Terminal("InvalidRule", f"rule {given.table} names neither archiveAfter nor deleteAfter; name one")
    archives = given.archive is not False
    return Rule(
        name=Name(*parsed),  # type: ignore[arg-type]
        column=given.column,
        archive_after=(given.archive_after or age).timedelta if archives else None,
        delete_after=age.timedelta,
        where=given.where,
        batch_rows=given.batch_rows or _BATCH_ROWS,
        drop_archive_after=given.drop_archive_after.timedelta if given.drop_archive_after is not None else None,
        allow=frozenset(given.allow),
        partitioning=None
        if given.partition is None
        else Partitioning(
            interval=Interval(given.partition.interval),
            premake=given.partition.premake or _PREMAKE,
        ),
    )
