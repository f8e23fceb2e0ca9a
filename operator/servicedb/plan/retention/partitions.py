"""Which partitions to make ahead, and which are over."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, time

from servicedb.naming import NAME_BYTES
from servicedb.plan.retention.calendar import Span, spans, without
from servicedb.plan.retention.rule import Name, Partitioning


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A partition as the catalogue has it. `is_pending`: a concurrent detach of it was interrupted. `is_whole` False:
    it is divided itself, or a foreign table."""

    oid: int
    name: Name
    span: Span
    is_default: bool = False
    is_pending: bool = False
    is_whole: bool = True


@dataclass(frozen=True, slots=True, order=True)
class NewPartition:
    """One to make."""

    span: Span
    name: Name


def partitions_to_make(
    parent: Name, partitioning: Partitioning, partitions: Sequence[Partition], now: datetime
) -> list[NewPartition]:
    """Those that are missing for the time of `now` and for as many intervals ahead as wanted.

    What others cover already is left to them, in part as well: one that somebody cut otherwise stands beside ours.
    """
    taken = [one.span for one in partitions if not one.is_default]
    missing = (
        rest for span in spans(now, partitioning.interval, partitioning.premake) for rest in without(span, taken)
    )
    return [NewPartition(span, partition_name(parent, span)) for span in missing]


def partitions_to_drop(partitions: Sequence[Partition], cutoff: datetime) -> list[Partition]:
    """Those in which no row can be as young as `cutoff`, oldest first. The default one is never among them."""
    over = [one for one in partitions if not one.is_default and one.span.high is not None and one.span.high <= cutoff]
    return sorted(over, key=lambda one: one.span.high or cutoff)


def partition_name(parent: Name, span: Span) -> Name:
    """`metrics_p20260101`: by the begin of `span`, which has one, with its hour where that is not midnight."""
    assert span.low is not None
    midnight = span.low.time() == time()
    suffix = f"{span.low:_p%Y%m%d}" if midnight else f"{span.low:_p%Y%m%dt%H%M%S}"
    kept = parent.table.encode()[: NAME_BYTES - len(suffix)].decode(errors="ignore")
    return Name(parent.schema, kept + suffix)
