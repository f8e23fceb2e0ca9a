"""When a line of cron is due, as Kubernetes' CronJobs see it.

At a change of clocks a time that does not exist is left out, and one that comes twice is due twice: that is what the
CronJob controller does (robfig/cron), and what is said of the next run has to be what it will do.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from servicedb.errors import Terminal

_WORDS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_CHANGE: Final = timedelta(hours=3)
"""No clock is put forward or back by more than this at once."""


def zone(name: str) -> ZoneInfo:
    """The time zone. Raises Terminal where there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Terminal(
            "InvalidSchedule", f'there is no time zone "{name}"; write one such as Etc/UTC or Europe/Berlin'
        ) from None


def next_due(schedule: str, time_zone: str, after: datetime) -> datetime | None:
    """The first time after `after` at which `schedule` is due, in `time_zone`; None where there is none in 50 years.
    It is told in UTC: Python holds no two times of different zones to be equal while clocks change.

    Raises Terminal for what is no line of cron.
    """
    return _nearest(schedule, zone(time_zone), after, forward=True)


def last_due(schedule: str, time_zone: str, until: datetime) -> datetime | None:
    """The last time up to `until` at which `schedule` was due, in `time_zone`. Raises Terminal as `next_due` does."""
    return _nearest(schedule, zone(time_zone), until, forward=False)


def _nearest(schedule: str, zone: ZoneInfo, of: datetime, *, forward: bool) -> datetime | None:
    """Clocks show the times of cron in order, but not always the times that they stand for: so all within a change of
    clocks of the first one found are looked at."""
    sign = 1 if forward else -1
    best: datetime | None = None
    limit: datetime | None = None
    for shown in _shown(schedule, of.astimezone(zone).replace(tzinfo=None) - sign * _CHANGE, forward=forward):
        if limit is not None and sign * (shown - limit).total_seconds() > 0:
            break
        for time in _times(shown, zone):
            if (time > of) != forward:
                continue
            if best is None or sign * (best - time).total_seconds() > 0:
                best = time
            limit = limit or shown + sign * _CHANGE
    return best


def _shown(schedule: str, start: datetime, *, forward: bool) -> Iterator[datetime]:
    """What a clock on the wall shows when `schedule` is due."""
    try:
        yield from CronSim(_WORDS.get(schedule, schedule.upper()), start, reverse=not forward)
    except CronSimError as error:
        raise Terminal(
            "InvalidSchedule", f'"{schedule}" is no line of cron ({error}); write five fields, such as 0 2 * * *'
        ) from None


def _times(shown: datetime, zone: ZoneInfo) -> list[datetime]:
    """The times at which a clock in `zone` shows that: none, one, or two."""
    times = {shown.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
    return sorted(time for time in times if time.astimezone(zone).replace(tzinfo=None) == shown)
