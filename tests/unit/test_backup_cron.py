"""When a line of cron is due: plainly, and around a change of clocks."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.errors import Terminal
from servicedb.plan.backups.cron import last_due, next_due

BERLIN = "Europe/Berlin"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("schedule", "time_zone", "now", "due"),
    [
        pytest.param("0 2 * * *", "Etc/UTC", "2026-03-01T01:59:59Z", "2026-03-01T02:00:00Z", id="today"),
        pytest.param("0 2 * * *", "Etc/UTC", "2026-03-01T02:00:00Z", "2026-03-02T02:00:00Z", id="after, not at"),
        pytest.param("@daily", "Asia/Kolkata", "2026-03-01T00:00:00Z", "2026-03-01T18:30:00Z", id="a word"),
        pytest.param("0 3 * * sun", BERLIN, "2026-03-02T00:00:00Z", "2026-03-08T02:00:00Z", id="a day's name"),
        pytest.param("*/15 * * * *", "Etc/UTC", "2026-03-01T01:01:00Z", "2026-03-01T01:15:00Z", id="a step"),
        pytest.param("30 2 * * *", BERLIN, "2026-03-28T12:00:00Z", "2026-03-30T00:30:00Z", id="never shown"),
        pytest.param("30 2 * * *", BERLIN, "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", id="shown first"),
        pytest.param("30 2 * * *", BERLIN, "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", id="shown again"),
        pytest.param("30 2 * * *", BERLIN, "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z", id="once more"),
        pytest.param("*/30 * * * *", BERLIN, "2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", id="each half hour"),
    ],
)
def test_the_next_time(schedule: str, time_zone: str, now: str, due: str) -> None:
    assert next_due(schedule, time_zone, at(now)) == at(due)


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-03-01T02:00:00Z", "2026-03-01T02:00:00Z"),
        ("2026-03-01T01:59:59Z", "2026-02-28T02:00:00Z"),
    ],
)
def test_the_last_time_counts_the_present(now: str, due: str) -> None:
    assert last_due("0 2 * * *", "Etc/UTC", at(now)) == at(due)


@pytest.mark.parametrize("schedule", ["61 * * * *", "* * * * FOO", "* * *", "0 0 32 * *"])
def test_what_is_no_line_of_cron_says_how_one_is_written(schedule: str) -> None:
    with pytest.raises(Terminal, match="write five fields"):
        next_due(schedule, "Etc/UTC", at("2026-03-01T00:00:00Z"))


@pytest.mark.parametrize("name", ["Europe/Bielefeld", "Etc"])
def test_a_time_zone_that_is_none_is_named(name: str) -> None:
    with pytest.raises(Terminal, match=f'no time zone "{name}"'):
        next_due("0 2 * * *", name, at("2026-03-01T00:00:00Z"))


@given(
    now=st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(lambda time: time.replace(tzinfo=UTC)),
    minute=st.integers(0, 59),
    hour=st.integers(0, 23),
    time_zone=st.sampled_from(
        [BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"]
    ),
)
def test_whatever_is_due_is_the_first_instant_at_which_the_clock_shows_it(
    now: datetime, minute: int, hour: int, time_zone: str
) -> None:
    due = next_due(f"{minute} {hour} * * *", time_zone, now)
    assert due is not None
    instant = now.replace(second=0, microsecond=0)
    while True:
        instant += timedelta(minutes=1)
        shown = instant.astimezone(ZoneInfo(time_zone))
        if (shown.hour, shown.minute) == (hour, minute):
            break
    assert due == instant
    assert last_due(f"{minute} {hour} * * *", time_zone, due) == due
