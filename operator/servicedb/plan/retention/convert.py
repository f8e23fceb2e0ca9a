"""How a plain table becomes one that is divided by time, online, and why one does not.

The old table becomes the partition for all that is older. A CHECK that was validated while writers went on says so, and
ATTACH need not read it.

Source: PostgreSQL documentation, "Table Partitioning", "Partition Maintenance"; ALTER TABLE, "Notes".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice

from servicedb.naming import NAME_BYTES
from servicedb.plan.retention.calendar import Interval, begin_of, spans
from servicedb.plan.retention.divisible import CHECK_PREFIX, Constraint, Divisible
from servicedb.plan.retention.partitions import NewPartition, partition_name
from servicedb.plan.retention.refusals import is_time
from servicedb.plan.retention.rule import Name

_DAY = "%Y%m%d"


class Step(StrEnum):
    """In their order; a run that was killed goes on with the first that is not done."""

    DROP_CHECK = "DropCheck"
    ADD_CHECK = "AddCheck"
    VALIDATE = "Validate"
    SWAP = "Swap"
    ANALYZE = "Analyze"


LOCKS: dict[Step, str] = {
    Step.DROP_CHECK: "ACCESS EXCLUSIVE, for a moment: nothing is read",
    Step.ADD_CHECK: "ACCESS EXCLUSIVE, for a moment: nothing is read",
    Step.VALIDATE: "SHARE UPDATE EXCLUSIVE, while the table is read once: readers and writers go on",
    Step.SWAP: "ACCESS EXCLUSIVE, for a moment: catalogue entries alone",
    Step.ANALYZE: "SHARE UPDATE EXCLUSIVE, while a sample is read: readers and writers go on",
}
"""What each step locks, and for how long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """`until` is the end of the old table's rows, in UTC, `old` the name that it gets as a partition, `ahead` the
    partitions that are made for what comes after. `stale` are helper CHECKs of runs that nobody ended in time."""

    table: Divisible
    column: str
    until: datetime
    old: Name
    ahead: tuple[NewPartition, ...]
    stale: tuple[str, ...]
    steps: tuple[Step, ...]

    @property
    def check(self) -> str:
        """The helper CHECK's name: it says until when rows are let in, so that the next run finds it again."""
        return f"{CHECK_PREFIX}{self.until:{_DAY}}"

    @property
    def type_name(self) -> str:
        return next(one.type_name for one in self.table.columns if one.name == self.column)

    def old_name(self, name: str, number: int) -> str:
        """What an index or a sequence of the old table is called afterwards: the new one gets its name."""
        return _with_suffix(name, f"_until_{self.until:{_DAY}}_{number}")

    @property
    def new_names(self) -> list[Name]:
        """All that have to be free."""
        return [self.old, *(one.name for one in self.ahead)]


def conversion(table: Divisible, column: str, interval: Interval, premake: int, youngest: datetime) -> Conversion:
    """What is left to do on `table`. `youngest` is the time of its youngest row, and no earlier than now.

    The old table's rows end an interval after that: writers go on while it is converted.
    """
    found = [(one, _until(one)) for one in table.constraints if one.is_ours]
    standing = [
        (one, until)
        for one, until in found
        if until is not None and until > youngest and begin_of(until, interval) == until and one.columns == (column,)
    ]
    until = standing[0][1] if standing else _end_of_next(youngest, interval)
    stale = tuple(one.name for one, _ in found if one not in [kept for kept, _ in standing[:1]])
    steps = [Step.DROP_CHECK] if stale else []
    if not standing:
        steps.append(Step.ADD_CHECK)
    if not standing or not standing[0][0].is_valid:
        steps.append(Step.VALIDATE)
    steps += [Step.SWAP, Step.ANALYZE]
    ahead = tuple(NewPartition(span, partition_name(table.name, span)) for span in spans(until, interval, premake - 1))
    old = Name(table.name.schema, _with_suffix(table.name.table, f"_until_{until:{_DAY}}"))
    return Conversion(table=table, column=column, until=until, old=old, ahead=ahead, stale=stale, steps=tuple(steps))


def conversion_refusals(name: Name, table: Divisible | None, column: str) -> list[str]:
    """Why `table` is not converted; empty where it is."""
    if table is None:
        return [f"table {name} does not exist, or the login has no right on it; correct --table"]
    if table.kind == "p":
        return [f"table {name} is partitioned already, by another column or in another way than by range"]
    if table.kind != "r":
        return [f"{name} is no table; name a plain table"]
    return [f"table {name}: {fault}" for fault in _faults(table, column)]


def _faults(table: Divisible, column: str) -> Iterator[str]:
    if not table.acts_as_owner:
        yield f'it is owned by "{table.owner}", and its successor would not be; act as that role with --as-role'
    yield from _faults_of_column(table, column)
    yield from _faults_of_keys(table, column)
    yield from _faults_of_constraints(table.constraints)
    for names, what in (
        (table.referring, "foreign key {} refers to it, and would go on referring to the old table; drop it before"),
        (table.users, "{} stands on it, and would stay with the old table; drop it before, and make it again after"),
        (table.rules, "rule {} is on it; drop it before, and make it again after"),
        (table.policies, "policy {} is on it, which could let the wrong rows be seen; drop it before"),
        (table.publications, "publication {} has it, and subscribers do not know its partitions; take it out before"),
        (table.oddities, "it {}; that can't be carried over"),
        (tuple(one.name for one in table.triggers if not one.is_plain), "trigger {} can't be carried over as it is"),
    ):
        yield from (what.format(one) for one in names)


def _faults_of_column(table: Divisible, name: str) -> Iterator[str]:
    column = table.column(name)
    if column is None:
        yield f'it has no column "{name}"; correct --column'
        return
    if not is_time(column.type_name):
        yield f'column "{name}" is of type {column.type_name}; name one of type timestamptz, timestamp or date'
    if column.is_generated:
        yield f'column "{name}" is computed, and PostgreSQL divides by no such column'
    if not column.not_null:
        yield (
            f'column "{name}" may be NULL, and no partition takes such rows; give them a time, and '
            f'ALTER TABLE {table.name} ALTER COLUMN "{name}" SET NOT NULL'
        )


def _faults_of_keys(table: Divisible, column: str) -> Iterator[str]:
    for index in table.indexes:
        if not index.is_valid:
            yield f"index {index.name} is not valid; REINDEX INDEX CONCURRENTLY it, or drop it"
        elif index.is_unique and column not in index.columns:
            yield (
                f'{index.name} is unique without "{column}", which PostgreSQL can\'t keep across partitions; if '
                f'uniqueness together with "{column}" is enough, make it so before: CREATE UNIQUE INDEX CONCURRENTLY '
                f'one on its columns and "{column}", and put that in its place'
                + (" (ALTER TABLE ... DROP CONSTRAINT ..., ADD PRIMARY KEY USING INDEX ...)" * index.is_constraint)
            )


def _faults_of_constraints(constraints: Sequence[Constraint]) -> Iterator[str]:
    for one in constraints:
        if one.is_ours:
            continue
        if one.kind == "x":
            yield f"exclusion constraint {one.name} can't be kept across partitions; drop it before"
        elif one.stays:
            yield f"constraint {one.name} is NO INHERIT, which partitions can't have; make it one without"
        elif not one.is_valid:
            yield f"constraint {one.name} is not validated; ALTER TABLE ... VALIDATE CONSTRAINT it before"


def _until(check: Constraint) -> datetime | None:
    try:
        return datetime.strptime(check.name.removeprefix(CHECK_PREFIX), _DAY).replace(tzinfo=UTC)
    except ValueError:
        return None


def _end_of_next(at: datetime, interval: Interval) -> datetime:
    (following,) = islice(spans(at, interval, 1), 1, None)
    assert following.high is not None
    return following.high


def _with_suffix(name: str, suffix: str) -> str:
    return name.encode()[: NAME_BYTES - len(suffix)].decode(errors="ignore") + suffix
