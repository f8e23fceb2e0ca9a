"""Which rows, archives and partitions are over, decided without a database."""

import json
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.jobs.outcome import TERMINATION_MESSAGE_BYTES
from servicedb.jobs.retain.plan import Plan, RulePlan
from servicedb.jobs.retain.policy import policy_spec
from servicedb.jobs.retain.request import Result, RuleResult
from servicedb.plan.backups.keys import Group, Key
from servicedb.plan.retention.calendar import Interval, Span, begin_of, next_begin, spans, without
from servicedb.plan.retention.gate import gate_fault
from servicedb.plan.retention.keys import archive_key, is_compressed, is_encrypted
from servicedb.plan.retention.pace import FEWEST_ROWS, MOST_ROWS, Pace
from servicedb.plan.retention.partitions import (
    Partition,
    partition_name,
    partitions_to_drop,
    partitions_to_make,
)
from servicedb.plan.retention.refusals import is_time
from servicedb.plan.retention.rule import Name, Partitioning, cutoff, rules_of
from servicedb.plan.retention.where import where_fault
from servicedb.postgres.retention.observe import span_of
from servicedb.postgres.retention.rows import Rows

PARENT = Name("public", "metrics")
MOMENTS = st.datetimes(
    min_value=datetime(1900, 1, 1),
    max_value=datetime(2400, 1, 1),
    timezones=st.builds(timezone, st.timedeltas(min_value=timedelta(hours=-14), max_value=timedelta(hours=14))),
)
INTERVALS = st.sampled_from(Interval)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def part(low: str | None, high: str | None, **more: bool) -> Partition:
    span = Span(None if low is None else at(low), None if high is None else at(high))
    return Partition(oid=1, name=Name("public", f"p{low}"), span=span, **more)


@pytest.mark.parametrize(
    ("moment", "interval", "low", "high"),
    [
        ("2024-02-29T23:59:59.999999", Interval.DAY, "2024-02-29", "2024-03-01"),
        ("2024-12-31", Interval.WEEK, "2024-12-30", "2025-01-06"),
        ("2024-02-29", Interval.MONTH, "2024-02-01", "2024-03-01"),
        ("2023-12-31T23:00:00", Interval.MONTH, "2023-12-01", "2024-01-01"),
        ("2024-02-29", Interval.YEAR, "2024-01-01", "2025-01-01"),
    ],
)
def test_an_interval_begins_and_ends_where_the_calendar_says(moment, interval, low, high):
    assert begin_of(at(moment), interval) == at(low)
    assert next_begin(at(low), interval) == at(high)


def test_a_day_begins_in_utc_whatever_zone_a_moment_is_told_in():
    tokyo = datetime(2024, 3, 1, 8, 0, tzinfo=timezone(timedelta(hours=9)))
    assert begin_of(tokyo, Interval.MONTH) == at("2024-02-01")


@given(MOMENTS, INTERVALS, st.integers(0, 40))
def test_intervals_follow_each_other_without_a_gap_and_the_first_holds_the_moment(moment, interval, ahead):
    found = list(spans(moment, interval, ahead))
    assert len(found) == ahead + 1
    assert found[0].low <= moment < found[0].high
    assert all(one.high == after.low for one, after in pairwise(found))


@given(
    MOMENTS, INTERVALS, st.integers(0, 12), st.lists(st.tuples(st.integers(-500, 500), st.integers(1, 300)), max_size=6)
)
def test_what_is_made_overlaps_nothing_and_leaves_no_gap(moment, interval, premake, others):
    there: list[Partition] = []
    for low, days in others:
        begin = begin_of(moment, Interval.DAY) + timedelta(days=low)
        one = Partition(oid=1, name=PARENT, span=Span(begin, begin + timedelta(days=days)))
        if not any(one.span.overlaps(other.span) for other in there):
            there.append(one)
    made = partitions_to_make(PARENT, Partitioning(interval=interval, premake=premake), there, moment)
    everything = [one.span for one in there] + [one.span for one in made]
    for number, span in enumerate(everything):
        assert not any(span.overlaps(other) for other in everything[number + 1 :])
    wanted = Span(begin_of(moment, interval), list(spans(moment, interval, premake))[-1].high)
    assert without(wanted, everything) == []
    assert len({one.name for one in made}) == len(made)


@given(MOMENTS, INTERVALS, st.integers(0, 12))
def test_what_was_made_is_not_made_again(moment, interval, premake):
    wanted = Partitioning(interval=interval, premake=premake)
    made = partitions_to_make(PARENT, wanted, [], moment)
    there = [Partition(oid=1, name=one.name, span=one.span) for one in made]
    assert partitions_to_make(PARENT, wanted, there, moment) == []


@pytest.mark.parametrize(
    ("partition", "goes"),
    [
        (part("2024-01-01", "2024-02-01"), True),
        (part(None, "2024-02-01"), True),
        (part("2024-01-01", "2024-02-02"), False),
        (part("2024-01-01", None), False),
        (part(None, None, is_default=True), False),
        (part("2024-01-01", "2024-02-01", is_pending=True), True),
    ],
)
def test_a_partition_goes_when_none_of_its_rows_can_be_young(partition, goes):
    assert partitions_to_drop([partition], at("2024-02-01")) == ([partition] if goes else [])


def test_a_partition_is_named_by_its_begin_and_never_too_long():
    assert partition_name(PARENT, Span(at("2024-02-01"), None)) == Name("public", "metrics_p20240201")
    assert partition_name(PARENT, Span(at("2024-02-01T06:30:00"), None)).table == "metrics_p20240201t063000"
    long = partition_name(Name("public", "ä" * 31), Span(at("2024-02-01"), None)).table
    assert (len(long.encode()), long[-10:]) == (62, "_p20240201")


@pytest.mark.parametrize(
    ("bound", "span"),
    [
        ("FOR VALUES FROM ('2024-01-01') TO ('2024-02-01')", Span(at("2024-01-01"), at("2024-02-01"))),
        (
            "FOR VALUES FROM ('2024-01-01 00:00:00+00') TO ('2024-02-01 00:00:00+00')",
            Span(at("2024-01-01"), at("2024-02-01")),
        ),
        ("FOR VALUES FROM (MINVALUE) TO ('2024-02-01')", Span(None, at("2024-02-01"))),
        ("FOR VALUES FROM ('0044-03-15 00:00:00+00 BC') TO ('infinity')", Span(None, None)),
        ("FOR VALUES FROM ('a', 1) TO ('b', 2)", None),
        ("DEFAULT", None),
    ],
)
def test_bounds_are_read_as_the_server_writes_them(bound, span):
    assert span_of(bound) == span


@given(MOMENTS, st.integers(0, 999_999))
def test_a_day_of_an_age_is_24_hours(moment, days):
    found = cutoff(moment, timedelta(days=days))
    assert found == datetime.min.replace(tzinfo=UTC) or moment - found == timedelta(days=days)


@pytest.mark.parametrize(
    "text",
    [
        "status <> 'open'",
        "a = 1 AND (b = 'x;--' OR c IS NULL)",
        '"select" = 1',
        "note = E'it\\'s; (1'",
        "lower(a) = 'x'",
    ],
)
def test_a_condition_on_one_row_is_taken(text):
    assert where_fault(text) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = 1; DROP TABLE b", "a semicolon"),
        ("(a = 1;)", "a semicolon"),
        ("id IN (SELECT 1)", "SELECT"),
        ("id IN (TABLE other)", "TABLE"),
        ("id IN (VALUES (1))", "VALUES"),
        ("a = 1) OR (true", "parentheses"),
        ("(a = 1", "parentheses"),
        ("a = 1 -- or", "a comment"),
        ("a /* b */ = 1", "a comment"),
        ("a = $$x$$", "a string in dollars"),
        ("a = $1", "a parameter"),
        ("a = 'x", "without its end"),
        ("\\! rm", "a backslash"),
        ("  ", "is empty"),
        ("()", "is empty"),
    ],
)
def test_a_condition_that_is_more_than_one_is_refused(text, says):
    fault = where_fault(text)
    assert fault is not None
    assert says in fault


def test_a_batch_grows_and_shrinks_to_its_time():
    pace = Pace(1000, timedelta(milliseconds=200))
    assert pace.after(1000, timedelta(milliseconds=150)).rows == 1333
    assert pace.after(1000, timedelta(milliseconds=1)).rows == 2000
    assert pace.after(1000, timedelta(seconds=1)).rows == 200
    assert pace.after(1000, timedelta(hours=1)).rows == FEWEST_ROWS
    assert Pace(MOST_ROWS, timedelta(hours=1)).after(MOST_ROWS, timedelta(0)).rows == MOST_ROWS


@pytest.mark.parametrize(
    ("taken_at", "open_"), [("2024-01-02T00:00:00", True), ("2024-01-01T21:59:59", False), (None, False)]
)
def test_the_gate_opens_for_a_young_backup_alone(taken_at, open_):
    required = policy_spec(
        "archive: {storage: {volume: {claimName: a}}}\nrequireBackup: {scheduleRef: {name: nightly}, maxAge: 26h}\n"
        "rules: [{table: public.a, column: at, deleteAfter: 1d}]"
    ).require_backup
    fault = gate_fault(required, "sha256:1", at(taken_at) if taken_at else None, at("2024-01-03"))
    assert (fault is None) == open_
    assert gate_fault(None, None, None, at("2024-01-03")) is None


def test_ages_that_are_left_out_follow_from_the_other():
    spec = policy_spec(
        "archive: {storage: {volume: {claimName: a}}}\n"
        "rules:\n"
        "- {table: public.a, column: at, archiveAfter: 2d}\n"
        "- {table: public.b, column: at, deleteAfter: 3d}\n"
        "- {table: public.c, column: at, deleteAfter: 3d, archive: false}\n"
        "- {table: 'app.\"Order Lines\"', column: at, archiveAfter: 1d, deleteAfter: 3d}\n"
    )
    days = [
        (one.archive_after and one.archive_after.days, one.delete_after.days, one.archives_first)
        for one in rules_of(spec)
    ]
    assert days == [(2, 2, False), (3, 3, False), (None, 3, False), (1, 3, True)]
    assert rules_of(spec)[3].name == Name("app", "Order Lines")


@pytest.mark.parametrize(
    ("type_name", "is_one"),
    [
        ("timestamp with time zone", True),
        ("timestamp(3) with time zone", True),
        ("timestamp(0) without time zone", True),
        ("date", True),
        ("time without time zone", False),
        ("date[]", False),
        ("timestamp with time zone[]", False),
        ("daterange", False),
        ("bigint", False),
    ],
)
def test_only_a_time_is_a_time(type_name, is_one):
    assert is_time(type_name) == is_one


def test_a_key_of_an_archive_is_none_of_a_backup():
    key = archive_key(
        Group("71", 5), Name("public", "a/../b"), at("2024-01-01"), "0" * 16, compressed=True, encrypted=True
    )
    assert key == "71-5/retention/public.a____b/20240101T000000Z-0000000000000000.copy.zst.age"
    assert Key.parse(key) is None
    assert (is_compressed(key), is_encrypted(key)) == (True, True)


STAMPS = st.datetimes(
    min_value=datetime(1000, 1, 1),
    max_value=datetime(9999, 12, 31),
)


@given(st.lists(STAMPS, min_size=1), st.lists(st.sampled_from(["infinity", "0044-03-15 BC", "12024-01-01"])))
def test_the_oldest_and_youngest_time_are_among_the_edges_and_what_no_text_tells_too(stamps, odd):
    def written(moment: datetime) -> str:
        return moment.isoformat(sep=" ", timespec="auto").rstrip("0" if moment.microsecond else "") + "+00"

    lines = [f"{one}\tx\n".encode() for one in [*map(written, stamps), *odd]]
    rows = Rows(lines)
    assert b"".join(rows) == b"".join(lines)
    assert rows.count == len(lines)
    assert set(rows.edges) == {written(min(stamps)), written(max(stamps)), *odd}


@pytest.mark.parametrize("rules", [0, 1, 32, 200])
@pytest.mark.parametrize("whole", ["run", "plan"])
def test_a_message_fits_whatever_there_is_to_say(rules, whole):
    if whole == "run":
        result: Result | Plan = Result(
            rules=[RuleResult(table=f"public.{number:0>120}", problem="x" * 5000) for number in range(rules)]
        )
    else:
        lists = ["y" * 120] * 100
        result = Plan(
            rules=[RulePlan(table="public.a", warnings=lists, partitions_to_drop=lists) for _ in range(rules)]
        )
    message = result.termination_message()
    assert len(message.encode()) <= TERMINATION_MESSAGE_BYTES
    told = json.loads(message)
    assert bool(told["rules"]) == bool(rules)
    assert len(result.as_json()["rules"]) == rules


def test_a_message_leaves_out_what_is_nothing():
    (rule,) = json.loads(Result(rules=[RuleResult(table="public.a", deleted_rows=3)]).termination_message())["rules"]
    assert rule == {"table": "public.a", "deletedRows": 3}
    (planned,) = json.loads(Plan(rules=[RulePlan(table="public.a")]).termination_message())["rules"]
    assert planned == {"table": "public.a", "index": False}
