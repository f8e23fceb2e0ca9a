"""Why a rule is not followed on a table as it is: sentences that say what to do."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from servicedb.plan.retention.rule import Rule, names_twice, rule_faults
from servicedb.plan.retention.table import Table
from servicedb.plan.retention.where import where_fault

TIMES: Final = ("timestamp with time zone", "timestamp without time zone", "date")

_KINDS: Final = {
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
    "I": "an index",
    "c": "a type",
}
_ON_DELETE: Final = {"c": "ON DELETE CASCADE", "n": "ON DELETE SET NULL", "d": "ON DELETE SET DEFAULT"}


def policy_faults(rules: Sequence[Rule]) -> list[str]:
    """What is wrong with the rules alone, whatever the database holds."""
    faults = [f"rule {name} is there twice; a table has one rule" for name in names_twice(rules)]
    for rule in rules:
        faults += [f"rule {rule.name}: {fault}" for fault in rule_faults(rule)]
        if rule.where is not None and (fault := where_fault(rule.where)) is not None:
            faults.append(f"rule {rule.name}: {fault}")
    return faults


def refusals(rule: Rule, table: Table | None) -> list[str]:
    """Why nothing of `rule` is done on `table` (None: there is none); empty where it is."""
    if table is None:
        return [f"table {rule.name} does not exist, or the login has no right on it; correct the rule's table"]
    if table.kind in _KINDS:
        return [f"{rule.name} is {_KINDS[table.kind]}; a rule is for a table"]
    if table.is_partition:
        return [f"{rule.name} is a partition; name the table that it is a part of"]
    return [f"table {table.name}: {fault}" for fault in _faults(rule, table)]


def warnings(rule: Rule, table: Table) -> list[str]:
    """What `rule` costs on `table` beyond need, for a plan."""
    found = []
    if rule.partitioning is None and not table.is_indexed:
        found.append(
            f'table {table.name} has no index that begins with "{rule.column}": each batch reads all of its '
            f"{table.bytes} bytes; CREATE INDEX CONCURRENTLY ON {table.name} ({rule.column})"
        )
    if rule.partitioning is not None and any(one.is_default for one in table.partitions):
        found.append(
            f"table {table.name} has a default partition: it is read when a partition is made, and partitions are "
            "detached under a lock that holds up everybody for a moment; drop it once it is empty"
        )
    if rule.partitioning is not None and rule.archives_first:
        found.append(f"table {table.name}: a partition is archived when it goes, and not earlier")
    return found


def _faults(rule: Rule, table: Table) -> Iterator[str]:
    column = table.column(rule.column)
    if column is None:
        yield f'it has no column "{rule.column}"; correct the rule\'s column'
    elif not is_time(column.type_name):
        yield (
            f'column "{rule.column}" is of type {column.type_name}, which is no time; name a column of type '
            "timestamptz, timestamp or date"
        )
    if table.row_security:
        yield (
            "it has row-level security, which could hide rows from the archive; exempt it from the policy, or have the "
            "owner ALTER TABLE ... DISABLE ROW LEVEL SECURITY"
        )
    yield from _unlisted(rule, table)
    if rule.partitioning is None:
        yield from _faults_of_plain(table)
    else:
        yield from _faults_of_partitioned(rule, table)


def is_time(type_name: str) -> bool:
    """Whether it is a type of a time, with a precision, too: `timestamp(3) with time zone`."""
    return re.sub(r"\([0-9]\)", "", type_name) in TIMES


def _unlisted(rule: Rule, table: Table) -> Iterator[str]:
    for key in table.foreign_keys:
        if key.on_delete in _ON_DELETE and key.name not in rule.allow:
            yield (
                f"foreign key {key.name} of {key.child} is {_ON_DELETE[key.on_delete]}: rows there would be changed "
                f"that no archive holds; give {key.child} a rule of its own and the key NO ACTION, or list {key.name} "
                "under allow"
            )
    for names, what in (
        (table.triggers, "trigger {} runs when rows are deleted"),
        (table.rules, "rule {} rewrites what deletes or reads it"),
        (table.children, "table {} inherits from it, and its rows would stay"),
    ):
        for name in names:
            if name not in rule.allow:
                yield f"{what.format(name)}; list {name} under allow if that is as you want it, or drop it"


def _faults_of_plain(table: Table) -> Iterator[str]:
    if table.kind == "p":
        yield "it is partitioned; give the rule `partition: {interval: ...}`"
    elif not table.key:
        yield "it has no primary key, by which a batch finds its rows; add one"


def _faults_of_partitioned(rule: Rule, table: Table) -> Iterator[str]:
    if table.kind != "p":
        yield "it is not partitioned; leave partition out of the rule, or have a migration divide it"
    elif table.strategy != "r" or table.partition_key != (rule.column,):
        by = ", ".join(table.partition_key) if table.partition_key else "an expression"
        how = {"r": "range", "l": "list", "h": "hash"}.get(table.strategy or "", "")
        yield f'it is divided by {how} of {by}; the rule needs a table divided by range of "{rule.column}" alone'
    else:
        yield from (
            f"partition {one.name} is divided itself, or a foreign table; such a one is not dropped"
            for one in table.partitions
            if not one.is_whole and not one.is_default
        )
