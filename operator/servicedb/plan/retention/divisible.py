"""A plain table as the catalogue has it, as far as it matters to who divides it by time."""

from dataclasses import dataclass, replace
from typing import Final

from servicedb.plan.retention.rule import Name
from servicedb.plan.retention.table import Column

CHECK_PREFIX: Final = "servicedb_convert_until_"
"""The helper CHECK of a conversion is named so, and by the day until which rows are let in."""


@dataclass(frozen=True, slots=True)
class Index:
    """`definition` is its CREATE INDEX, or its constraint's own words, where `is_constraint`."""

    name: str
    definition: str
    columns: tuple[str, ...]
    is_unique: bool
    is_valid: bool
    is_constraint: bool


@dataclass(frozen=True, slots=True)
class Constraint:
    """`kind` is as pg_constraint has it: c, f, n or x. Those of unique indexes are with the indexes."""

    name: str
    kind: str
    definition: str
    columns: tuple[str, ...]
    is_valid: bool
    """Validated, and enforced."""
    stays: bool
    """Whether no partition would have it: NO INHERIT."""

    @property
    def is_ours(self) -> bool:
        return self.kind == "c" and self.name.startswith(CHECK_PREFIX)


@dataclass(frozen=True, slots=True)
class Trigger:
    name: str
    definition: str
    is_plain: bool
    """Whether it fires as usual, and is none for rows with a transition table: those alone a partitioned table has."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """Of a column: an identity's (`options` are then its own, as SQL), or one that a default draws from."""

    name: Name
    column: str
    always: bool
    options: str | None


@dataclass(frozen=True, slots=True)
class Right:
    """On the table, its `column`, or the sequence `on`. `grantee` None: PUBLIC."""

    on: Name | None
    column: str | None
    grantee: str | None
    privilege: str
    grantable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Divisible:
    """`users` is what else is made of the table, such as views; `oddities` what is said of it and can't be carried
    over. `granted_at_birth` are those who hold rights on what the owner makes."""

    oid: int
    name: Name
    kind: str
    owner: str
    acts_as_owner: bool
    columns: tuple[Column, ...]
    comment: str | None = None
    indexes: tuple[Index, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    sequences: tuple[Sequence, ...] = ()
    rights: tuple[Right, ...] = ()
    granted_at_birth: tuple[str, ...] = ()
    referring: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    publications: tuple[str, ...] = ()
    oddities: tuple[str, ...] = ()

    @property
    def layout(self) -> "Divisible":
        """The same without what a conversion itself adds."""
        return replace(self, constraints=tuple(one for one in self.constraints if not one.is_ours))

    def column(self, name: str) -> Column | None:
        return next((one for one in self.columns if one.name == name), None)
