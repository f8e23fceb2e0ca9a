"""What pruning deletes, and what it never does."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.plan.backups.catalogue import Entry, File, Lot, State, entry, lots
from servicedb.plan.backups.keys import Group, Place, backup_id
from servicedb.plan.backups.manifest import Manifest
from servicedb.plan.backups.prune import ABANDONED_AFTER, Bury, Check, Decision, Delete, Held, prune
from servicedb.plan.backups.retention import Backup, Retention, kept

from tests.backups import NOW, manifest

GROUP, OTHER_GROUP = Group("7300000000000000001", 16384), Group("7300000000000000001", 16999)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NOBODY = Held()


def backup(
    at: datetime,
    *,
    group: Group = GROUP,
    size: int = 4 << 20,
    rows: int = 1000,
    arrived: datetime | None = None,
) -> Backup:
    place = Place(group, backup_id(at, "00c0ffee"))
    return Backup(place=place, completed_at=at, arrived_at=arrived or at, size_bytes=size, rows=rows)


def complete(one: Backup, *, tombstone: bool = False) -> Entry:
    files = ["schema.zst", "data-1.zst", "started.json", "manifest.json", *(["tombstone.json"] if tombstone else [])]
    lot = Lot(one.place, {name: File(1, one.arrived_at) for name in files})
    return Entry(lot=lot, state="Leaving" if tombstone else "Complete", backup=one)


def unfinished(at: datetime, *files: str, group: Group = GROUP) -> Entry:
    names = files or ("started.json", "schema.zst")
    lot = Lot(Place(group, backup_id(at, "0badf00d")), {name: File(1, at) for name in names})
    return entry(lot, None, None)


def decide(entries, retention=Retention(keep_last=2), held=NOBODY, *, now=NOW, most=100) -> Decision:  # noqa: B008
    runs: dict[str, str | None] = {one.lot.place.started: "a run" for one in entries}
    return prune(entries, retention, held, now=now, most=most, runs=runs)


def pruned(decision: Decision) -> list[str]:
    return [one.key for one in decision.prunings]


# What a retention keeps

MONDAY = datetime(2026, 11, 16, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("retention", "times", "expected"),
    [
        pytest.param(Retention(), [MONDAY, MONDAY + DAY], [0, 1], id="no rule keeps all"),
        pytest.param(Retention(keep_last=2), [MONDAY + n * HOUR for n in range(4)], [2, 3], id="the last two"),
        pytest.param(
            Retention(keep_within=DAY), [MONDAY, MONDAY + HOUR, MONDAY + DAY + HOUR], [1, 2], id="within a day"
        ),
        pytest.param(
            Retention(keep_daily=2),
            [MONDAY, MONDAY + HOUR, MONDAY + DAY, MONDAY + DAY + HOUR, MONDAY + 2 * DAY],
            [3, 4],
            id="the last of each of two days",
        ),
        pytest.param(
            Retention(keep_daily=2),
            [MONDAY, MONDAY + 9 * DAY, MONDAY + 20 * DAY],
            [1, 2],
            id="days without one do not count",
        ),
        pytest.param(
            Retention(keep_weekly=3),
            [
                datetime(2026, 12, 27, tzinfo=UTC),
                datetime(2026, 12, 28, tzinfo=UTC),
                datetime(2027, 1, 3, tzinfo=UTC),
                datetime(2027, 1, 4, tzinfo=UTC),
            ],
            [0, 2, 3],
            id="a week begins on Monday, and may lie in two years",
        ),
        pytest.param(
            Retention(keep_monthly=2),
            [
                datetime(2026, 10, 31, tzinfo=UTC),
                datetime(2026, 11, 1, tzinfo=UTC),
                datetime(2026, 11, 30, tzinfo=UTC),
                datetime(2026, 12, 1, tzinfo=UTC),
            ],
            [2, 3],
            id="the last of each of two months",
        ),
        pytest.param(
            Retention(keep_daily=2, time_zone=BERLIN),
            # 25 October 2026 has 25 hours in Berlin, from 22:00 UTC of the 24th to 23:00 UTC of the 25th.
            [
                datetime(2026, 10, 24, 21, 30, tzinfo=UTC),
                datetime(2026, 10, 24, 22, 30, tzinfo=UTC),
                datetime(2026, 10, 25, 22, 30, tzinfo=UTC),
                datetime(2026, 10, 25, 23, 30, tzinfo=UTC),
            ],
            [2, 3],
            id="the day on which clocks are put back is one day",
        ),
        pytest.param(
            Retention(keep_daily=3, time_zone=BERLIN),
            [
                datetime(2026, 3, 28, 22, 59, tzinfo=UTC),
                datetime(2026, 3, 28, 23, tzinfo=UTC),
                datetime(2026, 3, 29, 21, 59, tzinfo=UTC),
                datetime(2026, 3, 29, 22, tzinfo=UTC),
            ],
            [0, 2, 3],
            id="and so is the day on which they are put forward",
        ),
        pytest.param(
            Retention(keep_monthly=1, minimum=3), [MONDAY + n * HOUR for n in range(4)], [1, 2, 3], id="minimum"
        ),
        pytest.param(Retention(keep_last=1, minimum=0), [MONDAY, MONDAY + HOUR], [1], id="a minimum of none is one"),
        pytest.param(
            Retention(keep_last=1, keep_daily=2, keep_weekly=2),
            [MONDAY - 7 * DAY, MONDAY - 6 * DAY, MONDAY, MONDAY + DAY, MONDAY + DAY + HOUR],
            [1, 2, 4],
            id="what any rule keeps is kept",
        ),
        pytest.param(Retention(keep_within=999_999 * DAY), [MONDAY], [0], id="longer than time"),
    ],
)
def test_a_retention_keeps(retention, times, expected):
    backups = [backup(time) for time in times]
    found = kept(reversed(backups), retention, verified=frozenset(), pinned=frozenset())
    assert sorted(found) == [backups[index].key for index in expected]
    assert all(found.values())


def test_the_newest_verified_and_the_pinned_are_kept():
    backups = [backup(MONDAY + n * DAY) for n in range(6)]
    keys = [one.key for one in backups]
    found = kept(backups, Retention(keep_last=1), verified=frozenset({keys[1], keys[2]}), pinned=frozenset({keys[0]}))
    assert found == {keys[0]: ["pinned"], keys[2]: ["newest verified"], keys[5]: ["newest", "last to arrive", "last"]}


def test_the_last_to_arrive_is_kept_also_where_the_databases_clock_was_set_back():
    old, new = backup(MONDAY + 9 * DAY, arrived=MONDAY), backup(MONDAY, arrived=MONDAY + DAY)
    assert set(kept([old, new], Retention(keep_last=1), verified=frozenset(), pinned=frozenset())) == {old.key, new.key}


# When pruning rather stops

FIVE = [backup(NOW - n * DAY) for n in range(5, 0, -1)]


@pytest.mark.parametrize(
    ("newest", "sentence"),
    [
        pytest.param(backup(NOW), None, id="like the one before"),
        pytest.param(backup(NOW, size=2 << 20, rows=500), None, id="half of it"),
        pytest.param(backup(NOW, rows=499), "499 rows in place of 1000", id="far fewer rows"),
        pytest.param(backup(NOW, size=(2 << 20) - 1), "2097151 bytes in place of 4194304", id="far fewer bytes"),
        pytest.param(backup(NOW + HOUR), None, id="clocks may differ by an hour"),
        pytest.param(
            backup(NOW + HOUR + timedelta(seconds=1)), "dated in the future, 2026-11-21T23:53:01Z", id="future"
        ),
    ],
)
def test_what_looks_wrong_stops_pruning(newest, sentence):
    decision = decide([complete(one) for one in (*FIVE, newest)])
    if sentence is None:
        assert len(pruned(decision)) == 4
        assert decision.stopped == {}
    else:
        assert pruned(decision) == []
        assert sentence in decision.stopped[GROUP]
        assert newest.key in decision.stopped[GROUP]


def test_a_small_database_may_shrink():
    small = [backup(NOW - 2 * DAY, size=90_000, rows=90), backup(NOW - DAY, size=100, rows=0), backup(NOW, size=90_000)]
    assert pruned(decide([complete(one) for one in small], Retention(keep_last=1))) == [small[0].key, small[1].key]


def test_one_group_stops_and_the_other_is_pruned():
    others = [backup(NOW - n * DAY, group=OTHER_GROUP) for n in range(4)]
    decision = decide([complete(one) for one in (*FIVE, backup(NOW, rows=0), *others)])
    assert pruned(decision) == [others[3].key, others[2].key]
    assert list(decision.stopped) == [GROUP]


def damaged(at: datetime) -> Entry:
    one = complete(backup(at))
    return replace(one, state="Damaged", backup=None, fault="part schema.zst is missing")


def test_a_damaged_one_is_left_alone_and_stops_pruning_where_it_is_the_newest():
    older = decide([*(complete(one) for one in FIVE), damaged(NOW - 60 * HOUR)])
    assert (len(older.prunings), older.stopped, len(older.damaged)) == (3, {}, 1)
    newest = decide([*(complete(one) for one in FIVE), damaged(NOW)])
    assert (newest.prunings, len(newest.damaged)) == ([], 1)
    assert "part schema.zst is missing; nothing is pruned until a newer one is good" in newest.stopped[GROUP]


# Which, how many and how


def test_a_database_that_was_made_again_pushes_out_nothing():
    again = [backup(NOW - n * HOUR, group=OTHER_GROUP, size=1000, rows=0) for n in range(20)]
    decision = decide([complete(one) for one in (*FIVE[:2], *again)], Retention(keep_last=2))
    assert len(pruned(decision)) == 18
    assert all(str(OTHER_GROUP) in key for key in pruned(decision))


def test_so_many_at_most_go_and_the_oldest_first():
    decision = decide([complete(one) for one in FIVE], most=2)
    assert pruned(decision) == [FIVE[0].key, FIVE[1].key]
    assert decision.later == 1
    assert pruned(decide([complete(one) for one in FIVE], most=0)) == []


def test_a_backup_goes_step_by_step():
    (pruning,) = decide([complete(one) for one in FIVE[:3]]).prunings
    place = FIVE[0].place
    assert pruning.steps == (
        Bury(place.tombstone),
        Delete(place.manifest),
        Delete(place.prefix + "data-1.zst"),
        Delete(place.prefix + "schema.zst"),
        Delete(place.started),
        Delete(place.tombstone),
    )


def test_one_whose_tombstone_stands_goes_first():
    decision = decide([complete(FIVE[0]), complete(FIVE[1], tombstone=True), *map(complete, FIVE[2:])], most=1)
    assert pruned(decision) == [FIVE[1].key]


def test_one_whose_tombstone_stands_is_spared_where_it_is_kept_by_now():
    entries = [complete(FIVE[0], tombstone=True), *map(complete, FIVE[1:])]
    decision = decide(entries, held=Held(pinned=frozenset({FIVE[0].key})))
    assert decision.spared == [Delete(FIVE[0].place.tombstone)]
    assert next(decision.steps()) == decision.spared[0]
    assert FIVE[0].key not in pruned(decision)


def test_the_rest_of_a_pruned_one_goes_without_a_new_decision():
    lot = Lot(FIVE[0].place, {name: File(1, NOW) for name in ("schema.zst", "tombstone.json")})
    decision = decide([entry(lot, None, None), *map(complete, FIVE[1:])], Retention())
    (orphan,) = decision.orphans
    assert orphan.steps == (Delete(FIVE[0].place.prefix + "schema.zst"), Delete(FIVE[0].place.tombstone))


LONG_AGO, LATELY = NOW - ABANDONED_AFTER - HOUR, NOW - ABANDONED_AFTER + HOUR


@pytest.mark.parametrize(
    ("found", "live", "is_orphan"),
    [
        pytest.param(unfinished(LONG_AGO), (), True, id="nobody is at it"),
        pytest.param(unfinished(LONG_AGO, "data-1.zst"), (), True, id="without a start marker"),
        pytest.param(
            unfinished(LONG_AGO, "started.json.partial-00000000"), (), True, id="its start marker is not whole"
        ),
        pytest.param(unfinished(LATELY), (), False, id="somebody may be at it"),
        pytest.param(unfinished(LONG_AGO), ("another", "a run"), False, id="its run is alive"),
    ],
)
def test_what_never_became_a_backup_goes_when_nobody_is_at_it(found, live, is_orphan):
    decision = decide([found], held=Held(live=frozenset(live)))
    if not is_orphan:
        assert list(decision.steps()) == []
        return
    (orphan,) = decision.orphans
    assert orphan.steps[:2] == (Bury(found.lot.place.tombstone), Check(found.lot))
    assert [one.key for one in orphan.steps[2:] if isinstance(one, Delete)] == [
        *found.lot.all_keys(but=["started.json"]),
        *([found.lot.place.started] if found.lot.has_marker else []),
        found.lot.place.tombstone,
    ]


def test_what_a_killed_process_had_not_written_to_its_end_goes_from_a_folder():
    one = complete(FIVE[0])
    old, new = f"{STARTED}.partial-00000000", f"{STARTED}.partial-11111111"
    one.lot.files.update({old: File(1, LONG_AGO), new: File(1, LATELY)})
    assert list(decide([one]).steps()) == [Delete(one.lot.place.prefix + old)]


STARTED = "started.json"


# Whatever the history

PLACES = st.builds(
    lambda group, hours: Place(group, backup_id(NOW + timedelta(hours=hours), "00c0ffee")),
    st.sampled_from([GROUP, OTHER_GROUP]),
    st.integers(-24 * 90, 24),
)


@st.composite
def stores(draw) -> list[Entry]:
    found = []
    for place in draw(st.lists(PLACES, max_size=25, unique=True)):
        began = datetime.strptime(place.id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        at = began + timedelta(hours=draw(st.sampled_from([0, 0, 0, -900, 900])))
        one = Backup(
            place=place,
            completed_at=at,
            arrived_at=began + timedelta(hours=draw(st.sampled_from([0, 0, 500]))),
            size_bytes=draw(st.sampled_from([4 << 20, 4 << 20, 100])),
            rows=draw(st.sampled_from([1000, 1000, 3])),
        )
        kind = draw(st.sampled_from(["complete"] * 6 + ["tombstone", "damaged", "unfinished", "rest"]))
        whole = complete(one, tombstone=kind == "tombstone")
        match kind:
            case "damaged":
                whole = replace(whole, state="Damaged", backup=None, fault="of a part")
            case "unfinished":
                whole = unfinished(began, group=place.group)
            case "rest":
                lot = Lot(place, {"schema.zst": File(1, began), "tombstone.json": File(1, began)})
                whole = entry(lot, None, None)
        found.append(whole)
    return found


RETENTIONS = st.builds(
    Retention,
    keep_last=st.integers(0, 4),
    keep_within=st.none() | st.timedeltas(timedelta(), 30 * DAY),
    keep_daily=st.integers(0, 4),
    keep_weekly=st.integers(0, 4),
    keep_monthly=st.integers(0, 4),
    minimum=st.integers(0, 3),
    time_zone=st.sampled_from([UTC, BERLIN, ZoneInfo("Pacific/Apia"), ZoneInfo("America/St_Johns")]),
)


@given(stores(), RETENTIONS, st.data())
def test_nothing_good_is_ever_lost(entries, retention, data):
    """For any history, clocks, failures and pins: what must stay stays, at every moment of the pruning."""
    keys = [one.lot.place.manifest for one in entries]
    pinned = frozenset(data.draw(st.lists(st.sampled_from(keys)))) if keys else frozenset()
    verified = frozenset(data.draw(st.lists(st.sampled_from(keys)))) if keys else frozenset()
    held = Held(verified=verified, pinned=pinned)
    most = data.draw(st.integers(0, 5))
    decision = decide(entries, retention, held, most=most)
    gone = {step.key for step in decision.steps() if isinstance(step, Delete)}
    by_group = {
        group: [one.backup for one in entries if one.lot.place.group == group and one.backup]
        for group in (GROUP, OTHER_GROUP)
    }
    assert len(decision.prunings) <= most
    for group, backups in by_group.items():
        left = [one for one in backups if one.key not in gone]
        assert len(left) >= min(len(backups), max(retention.minimum, 1))
        newest = max(backups, key=lambda one: one.age_order, default=None)
        checked = max((one for one in backups if one.key in verified), key=lambda one: one.age_order, default=None)
        assert all(one is None or one in left for one in (newest, checked))
        assert group not in decision.stopped or left == backups
        assert set(kept(left, retention, verified=verified, pinned=pinned)) >= set(
            kept(backups, retention, verified=verified, pinned=pinned)
        )
    assert not gone & pinned - {one.lot.place.manifest for one in entries if one.backup is None}
    for one in entries:
        if one.lot.place.manifest not in gone and (one.state == "Damaged" or one.backup is not None):
            assert not gone & set(one.lot.all_keys(but=["tombstone.json"])), "a part of what stays"
    assert gone <= {key for one in entries for key in [*one.lot.all_keys(), one.lot.place.tombstone]}


def killed_after(entries: list[Entry], decision: Decision, count: int) -> list[Entry]:
    """What lies in the store when the pruning is killed after `count` steps, as the next look finds it."""
    files = {one.lot.place: dict(one.lot.files) for one in entries}
    for step in itertools.islice(decision.steps(), count):
        if isinstance(step, Bury):
            place = next(place for place in files if place.tombstone == step.key)
            files[place]["tombstone.json"] = File(1, NOW)
        elif isinstance(step, Delete):
            place = next(place for place in files if step.key.startswith(place.prefix))
            files[place].pop(step.key.rpartition("/")[2], None)
    found = []
    for one in entries:
        lot = Lot(one.lot.place, files[one.lot.place])
        if lot.files:
            same = one.backup is not None and lot.has_manifest
            state: State = "Leaving" if lot.has_tombstone else "Complete"
            again = replace(one, lot=lot, state=state) if same else entry(lot, None, None)
            found.append(again if same or one.state != "Damaged" else one)
    return found


@given(stores(), RETENTIONS, st.data())
def test_killed_anywhere_the_next_pruning_ends_where_the_first_would_have(entries, retention, data):
    decision = decide(entries, retention)
    steps = list(decision.steps())
    whole = killed_after(entries, decision, len(steps))
    rest = killed_after(entries, decision, data.draw(st.integers(0, len(steps))))
    again = decide(rest, retention)
    assert {one.lot.place: one.lot.files.keys() for one in killed_after(rest, again, 1000)} == {
        one.lot.place: one.lot.files.keys() for one in whole
    }


@given(st.lists(st.integers(0, 24 * 60), min_size=1, max_size=30, unique=True), RETENTIONS)
def test_pruning_after_each_backup_keeps_what_pruning_once_would(hours, retention):
    rules = replace(retention, keep_within=None)
    all_of_them = [backup(NOW - 60 * DAY + hour * HOUR) for hour in sorted(hours)]
    left: list[Backup] = []
    for one in all_of_them:
        left.append(one)
        reasons = kept(left, rules, verified=frozenset(), pinned=frozenset())
        left = [other for other in left if other.key in reasons]
    assert [one.key for one in left] == sorted(kept(all_of_them, rules, verified=frozenset(), pinned=frozenset()))


# The catalogue


def test_keys_are_put_together_by_place_and_oldest_first():
    older, newer = Place(OTHER_GROUP, backup_id(NOW - DAY, "00000000")), Place(GROUP, backup_id(NOW, "00000000"))
    listed = [(newer.manifest, 3, NOW), ("notes.txt", 1, NOW), (older.started, 1, NOW), (newer.started, 2, NOW)]
    assert lots(listed) == [
        Lot(older, {"started.json": File(1, NOW)}),
        Lot(newer, {"manifest.json": File(3, NOW), "started.json": File(2, NOW)}),
    ]


PLACE = Place(GROUP, backup_id(NOW, "00c0ffee"))
MANIFEST: Manifest = manifest(PLACE)
WHOLE = {"manifest.json": File(1, NOW), "schema.zst": File(100, NOW), "rest.zst": File(20, NOW)}


@pytest.mark.parametrize(
    ("files", "state", "fault"),
    [
        pytest.param(WHOLE, "Complete", None, id="complete"),
        pytest.param(WHOLE | {"tombstone.json": File(1, NOW)}, "Leaving", None, id="with a tombstone"),
        pytest.param(WHOLE | {"data-9.zst": File(1, NOW)}, "Complete", None, id="with more than it says"),
        pytest.param(
            {name: file for name, file in WHOLE.items() if name != "rest.zst"},
            "Damaged",
            "part rest.zst is missing",
            id="no rest",
        ),
        pytest.param(
            WHOLE | {"rest.zst": File(19, NOW)},
            "Damaged",
            "part rest.zst has 19 bytes, not 20",
            id="a part that was cut",
        ),
    ],
)
def test_a_backup_is_complete_when_its_parts_are_there_as_the_manifest_says(files, state, fault):
    found = entry(Lot(PLACE, files), MANIFEST, "sha256:00")
    assert (found.state, found.fault, found.backup is not None) == (state, fault, fault is None)


@pytest.mark.parametrize(
    ("files", "state"),
    [
        (["manifest.json", "schema.zst"], "Damaged"),
        (["manifest.json", "tombstone.json"], "Leaving"),
        (["started.json", "schema.zst"], "Unfinished"),
        (["schema.zst", "tombstone.json"], "Leaving"),
    ],
)
def test_without_a_manifest_that_can_be_read_it_is_no_backup(files, state):
    found = entry(Lot(PLACE, {name: File(1, NOW) for name in files}), None, None)
    assert (found.state, found.backup) == (state, None)
