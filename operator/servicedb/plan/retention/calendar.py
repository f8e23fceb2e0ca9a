"""Days, weeks, months and years in UTC: the bounds of partitions.

In UTC no day is longer than another and none comes twice, whatever clocks do elsewhere.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

_LAST_YEAR = 9998
"""The end of the year after can't be told by a datetime."""


class Interval(StrEnum):
    """How long a partition is. Weeks begin on Monday, as ISO 8601 has them."""

    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"
    YEAR = "Year"


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """From `low` on to before `high`; None is without a bound."""

    low: datetime | None
    high: datetime | None

    def overlaps(self, other: "Span") -> bool:
        return _before(self.low, other.high) and _before(other.low, self.high)


def begin_of(at: datetime, interval: Interval) -> datetime:
    """When the `interval` begins that `at` lies in."""
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    match interval:
        case Interval.DAY:
            return day
        case Interval.WEEK:
            return day - timedelta(days=day.weekday())
        case Interval.MONTH:
            return day.replace(day=1)
        case Interval.YEAR:
            return day.replace(month=1, day=1)


def next_begin(begin: datetime, interval: Interval) -> datetime:
    """When the one after it begins. `begin` is the begin of an interval."""
    assert begin.year <= _LAST_YEAR
    match interval:
        case Interval.DAY:
            return begin + timedelta(days=1)
        case Interval.WEEK:
            return begin + timedelta(days=7)
        case Interval.MONTH:
            return begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
        case Interval.YEAR:
            return begin.replace(year=begin.year + 1)


def spans(at: datetime, interval: Interval, ahead: int) -> Iterator[Span]:
    """The interval that `at` lies in, and the `ahead` next ones."""
    low = begin_of(at, interval)
    for _ in range(ahead + 1):
        high = next_begin(low, interval)
        yield Span(low, high)
        low = high


def without(span: Span, taken: list[Span]) -> list[Span]:
    """What is left of `span`, which has both bounds, where those in `taken` are not."""
    left = [span]
    for other in taken:
        left = [rest for one in left for rest in _minus(one, other)]
    return left


def _minus(one: Span, other: Span) -> list[Span]:
    if not one.overlaps(other):
        return [one]
    rests = []
    if other.low is not None and one.low is not None and one.low < other.low:
        rests.append(Span(one.low, other.low))
    if other.high is not None and one.high is not None and other.high < one.high:
        rests.append(Span(other.high, one.high))
    return rests


def _before(low: datetime | None, high: datetime | None) -> bool:
    return low is None or high is None or low < high
