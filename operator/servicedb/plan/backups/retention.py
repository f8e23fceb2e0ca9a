"""Which backups a retention keeps, and why."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from servicedb.plan.backups.keys import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """A complete backup. `completed_at` is a time of the database's clock and in its manifest, `arrived_at` that of the
    store's, by which its manifest came."""

    place: Place
    completed_at: datetime
    arrived_at: datetime
    size_bytes: int
    rows: int

    @property
    def key(self) -> str:
        return self.place.manifest

    @property
    def age_order(self) -> tuple[datetime, str]:
        return self.completed_at, self.place.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """As in spec.retention; 0 and None are no rule. A backup that any rule keeps is kept.

    `keep_within` counts back from the newest backup, not from now: where no backups come any more, none goes. Days,
    weeks (from Monday, as ISO 8601 has them) and months are those of `time_zone`.
    """

    keep_last: int = 0
    keep_within: timedelta | None = None
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    minimum: int = 1
    time_zone: tzinfo = UTC

    @property
    def is_empty(self) -> bool:
        """Whether it has no rule: then nothing is pruned."""
        return self.keep_within is None and not (
            self.keep_last or self.keep_daily or self.keep_weekly or self.keep_monthly
        )


def kept(
    backups: Iterable[Backup], retention: Retention, *, verified: frozenset[str], pinned: frozenset[str]
) -> dict[str, list[str]]:
    """Key -> why it is kept, of the `backups` of one group; those that may go are not in it.

    `verified` and `pinned` are keys. Besides the rules, the newest is kept by both clocks, for the database's may have
    been set back, and so are the newest that was verified, and each that is pinned.
    """
    newest_first = sorted(backups, key=lambda one: one.age_order, reverse=True)
    within = retention.keep_within
    why: dict[str, list[str]] = defaultdict(list)
    if not newest_first:
        return why
    for one in newest_first[: max(retention.minimum, 1)]:
        why[one.key].append("newest")
    why[max(newest_first, key=lambda one: (one.arrived_at, one.age_order)).key].append("last to arrive")
    for one in [one for one in newest_first if one.key in verified][:1]:
        why[one.key].append("newest verified")
    for one in newest_first:
        if one.key in pinned:
            why[one.key].append("pinned")
        if retention.is_empty:
            why[one.key].append("no rule")
        if within is not None and newest_first[0].completed_at - one.completed_at <= within:
            why[one.key].append("within")
    for one in newest_first[: retention.keep_last]:
        why[one.key].append("last")
    for rule, count, period in (
        ("daily", retention.keep_daily, _day),
        ("weekly", retention.keep_weekly, _week),
        ("monthly", retention.keep_monthly, _month),
    ):
        for one in _last_of_each(newest_first, period, retention.time_zone)[:count]:
            why[one.key].append(rule)
    return dict(why)


_Period = Callable[[datetime], tuple[int, ...]]


def _last_of_each(newest_first: Sequence[Backup], period: _Period, zone: tzinfo) -> list[Backup]:
    """The newest backup of each period that has any, newest first."""
    last: dict[tuple[int, ...], Backup] = {}
    for one in newest_first:
        last.setdefault(period(one.completed_at.astimezone(zone)), one)
    return list(last.values())


def _day(time: datetime) -> tuple[int, ...]:
    return time.year, time.month, time.day


def _week(time: datetime) -> tuple[int, ...]:
    return time.isocalendar()[:2]


def _month(time: datetime) -> tuple[int, ...]:
    return time.year, time.month
