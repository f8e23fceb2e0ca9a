"""A table as the catalogue has it, as far as it matters to a rule."""

from dataclasses import dataclass, replace

from servicedb.plan.retention.partitions import Partition
from servicedb.plan.retention.rule import Name


@dataclass(frozen=True, slots=True)
class Column:
    """`type_name` is as format_type() writes it, `is_generated` what INSERT can't give."""

    name: str
    type_name: str
    not_null: bool = False
    is_generated: bool = False


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key of table `child` to ours. `on_delete` is as pg_constraint has it: a, r, c, n or d."""

    name: str
    child: str
    on_delete: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """`kind` is relkind's letter. `key` are the columns of its primary key, in order; `is_indexed` whether an index
    begins with the rule's column. `partition_key` are the columns that a partitioned table is divided by, None where
    one is an expression. `rows` and `bytes` are about what there is.

    `triggers` are those on DELETE that users made, `rules` those on DELETE and SELECT.
    """

    oid: int
    name: Name
    kind: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    is_indexed: bool = False
    foreign_keys: tuple[ForeignKey, ...] = ()
    triggers: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    children: tuple[str, ...] = ()
    row_security: bool = False
    is_partition: bool = False
    strategy: str | None = None
    partition_key: tuple[str, ...] | None = ()
    partitions: tuple[Partition, ...] = ()
    rows: int = 0
    bytes: int = 0

    def column(self, name: str) -> Column | None:
        return next((one for one in self.columns if one.name == name), None)

    @property
    def layout(self) -> "Table":
        """The same without what changes by itself."""
        return replace(self, rows=0, bytes=0, partitions=())

    @property
    def stored(self) -> tuple[str, ...]:
        """The columns that an archive holds: what is computed from them comes back by itself."""
        return tuple(one.name for one in self.columns if not one.is_generated)
