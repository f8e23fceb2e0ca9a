"""Pruning and the catalogue on real stores: what goes, what stays, and what a killed run leaves."""

import json
import os
import shutil
import signal
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from servicedb.cli import main
from servicedb.jobs.prune.catalogue import AT_ONCE, list_backups
from servicedb.jobs.prune.prune import Request, prune
from servicedb.plan.backups.keys import Group, Place, backup_id
from servicedb.plan.backups.manifest import Started
from servicedb.plan.backups.prune import ABANDONED_AFTER, Check, Held, Step
from servicedb.plan.backups.retention import Retention
from servicedb.store.folder import FolderStore
from servicedb.store.interface import Store
from servicedb.store.location import open_store

from tests.backups import NOW, content, manifest
from tests.store.gateway import Gateway
from tests.store.killed_pruning import killed_before

GROUP, OTHER_GROUP = Group("7300000000000000001", 16384), Group("7300000000000000001", 16999)
DAY = timedelta(days=1)
KEEP_TWO = Request(retention=Retention(keep_last=2))
KEEP_ALL = Request(retention=Retention())


@dataclass(frozen=True, slots=True)
class Location:
    """A store with backups in it, and how it is opened."""

    url: str
    credentials: Path | None
    folder: Path
    """Where this machine has the files."""

    def open(self) -> Store:
        return open_store(self.url, self.credentials)

    def back_up(self, days_ago: int, *, group: Group = GROUP, sizes: tuple[int, ...] = (100, 20, 30)) -> Place:
        """A backup as a run leaves one."""
        at = NOW - days_ago * DAY
        place = self.begin(days_ago, group=group, sizes=sizes)
        self.open().put(place.manifest, [manifest(place, sizes=sizes, completed_at=at).as_bytes()])
        return place

    def begin(
        self, days_ago: int, *, group: Group = GROUP, sizes: tuple[int, ...] = (100, 20), run: str = "a run"
    ) -> Place:
        """What a run leaves that comes to no end."""
        at = NOW - days_ago * DAY
        place, store = Place(group, backup_id(at, "00c0ffee")), self.open()
        store.put(place.started, [Started(run=run, started_at=at, beat_at=at).as_bytes()])
        for part in manifest(place, sizes=sizes).parts:
            store.put(part.key, [content(part.size_bytes)])
        return place

    def age(self, place: Place, by: timedelta) -> None:
        """Set its files' times back, by which a store knows how old they are."""
        for file in (self.folder / place.prefix).iterdir():
            then = file.stat().st_mtime - by.total_seconds()
            os.utime(file, (then, then))

    def contents(self) -> dict[str, bytes]:
        """All that it holds."""
        store = self.open()
        return {one.key: b"".join(store.read(one.key)) for one in store.list("")}


@pytest.fixture(params=["bucket", "folder"])
def location(request: pytest.FixtureRequest, volume: Path) -> Location:
    """An empty store. Once for each kind."""
    if request.param == "folder":
        return Location(volume.as_uri(), None, volume)
    gateway: Gateway = request.getfixturevalue("gateway")
    prefix = uuid4().hex
    return Location(gateway.url(prefix), gateway.credentials, gateway.data / "backups" / prefix)


def run(location: Location, request: Request = KEEP_TWO) -> Any:
    return prune(location.open(), request, NOW)


def backups(location: Location) -> list[str]:
    return [one.key for one in list_backups(location.open(), None).backups]


def test_what_is_not_kept_goes_with_all_its_objects_and_nothing_else_does(location):
    places = [location.back_up(days) for days in (4, 3, 2, 1)]
    others = [location.back_up(days, group=OTHER_GROUP) for days in (30, 20)]
    store = location.open()
    for key in ("notes.txt", f"{places[0].prefix}notes.txt", f"{places[0].group}/notes.txt"):
        store.put(key, [b"mine"])
    before = location.contents()
    result = run(location)
    assert (result.outcome, result.pruned) == ("Succeeded", [places[0].manifest, places[1].manifest])
    assert (result.kept, result.later, result.orphans, result.stopped) == (4, 0, 0, None)
    assert backups(location) == [place.manifest for place in (*others, *places[2:])]
    gone = (places[0].prefix, places[1].prefix)
    assert location.contents() == {
        key: value for key, value in before.items() if not key.startswith(gone) or key.endswith("notes.txt")
    }


def test_a_second_pruning_finds_nothing_to_do(location):
    for days in (3, 2, 1):
        location.back_up(days)
    assert len(run(location).pruned) == 1
    before = location.contents()
    again = run(location)
    assert (again.pruned, again.kept, location.contents()) == ([], 2, before)


def test_a_dry_run_says_the_same_and_changes_nothing(location):
    for days in (3, 2, 1):
        location.back_up(days)
    before = location.contents()
    said = run(location, Request(retention=Retention(keep_last=2), dry_run=True))
    assert location.contents() == before
    assert said == run(location)


def mess(location: Location) -> list[Place]:
    """Some of all that pruning meets: two backups that go, two that stay, an orphan, the rest of an earlier pruning."""
    places = [location.back_up(days) for days in (4, 3, 2, 1)]
    orphan = location.begin(9)
    location.age(orphan, 2 * ABANDONED_AFTER)
    rest = location.begin(40)
    location.open().put(rest.tombstone, [b"{}"])
    return places


def steps_of(location: Location) -> list[Step]:
    taken: list[Step] = []
    prune(location.open(), KEEP_TWO, NOW + ABANDONED_AFTER, taken.append)
    return taken


STEPS = 24
"""As many as pruning that mess takes: a test says so."""


def test_every_step_is_among_those_before_which_it_is_killed(location):
    mess(location)
    assert len(steps_of(location)) == STEPS


@pytest.fixture(scope="module")
def in_a_mess(tmp_path_factory: pytest.TempPathFactory) -> tuple[Location, list[Place]]:
    """A folder to be copied: to make it takes longer."""
    folder = tmp_path_factory.mktemp("mess")
    location = Location(folder.as_uri(), None, folder)
    return location, mess(location)


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_killed_before_any_step_nothing_good_is_lost_and_the_next_one_ends_it(in_a_mess, volume, step):
    made, places = in_a_mess
    location = Location((volume / "killed").as_uri(), None, volume / "killed")
    shutil.copytree(made.folder, location.folder)
    before = location.contents()
    now = NOW + ABANDONED_AFTER
    process = killed_before(step, location.url, None, KEEP_TWO, now)
    assert process.exitcode == (-signal.SIGKILL if step < STEPS else 0)

    left = location.contents()
    kept = {key: value for key, value in before.items() if key.startswith(tuple(place.prefix for place in places[2:]))}
    assert kept.items() <= left.items()
    as_left = Location((volume / "copy").as_uri(), None, volume / "copy")
    shutil.copytree(location.folder, as_left.folder)
    assert prune(as_left.open(), KEEP_ALL, now).outcome == "Succeeded"
    spared = as_left.contents()
    assert set(backups(as_left)) == {key for key in left if key.endswith("manifest.json")}
    for key in backups(as_left):  # whatever is a backup by now is a whole one
        folder = key.removesuffix("manifest.json")
        assert {name: value for name, value in spared.items() if name.startswith(folder)} == {
            name: value for name, value in before.items() if name.startswith(folder)
        }

    assert prune(location.open(), KEEP_TWO, now).outcome == "Succeeded"
    assert location.contents() == kept


def test_killed_in_a_bucket_the_next_one_ends_it(gateway):
    prefix = uuid4().hex
    location = Location(gateway.url(prefix), gateway.credentials, gateway.data / "backups" / prefix)
    places = mess(location)
    for step in (1, 2, 4):  # each goes on where the one before was killed
        assert killed_before(step, location.url, location.credentials, KEEP_TWO, NOW).exitcode == -signal.SIGKILL
    run(location)
    assert backups(location) == [place.manifest for place in places[2:]]


def only(*places: Place, **held: Any) -> Request:
    return Request(retention=Retention(), only=frozenset(place.manifest for place in places), held=Held(**held))


def test_backups_are_deleted_by_their_keys_and_no_others(location):
    places = [location.back_up(days) for days in (5, 4, 3, 2, 1)]
    others = [location.back_up(days, group=OTHER_GROUP) for days in (30, 20)]
    result = run(location, only(places[1], places[3], others[0]))
    gone = [places[1].manifest, places[3].manifest, others[0].manifest]
    assert (result.outcome, sorted(result.pruned), result.refused) == ("Succeeded", sorted(gone), [])
    assert backups(location) == [place.manifest for place in (others[1], places[0], places[2], places[4])]
    assert not [key for key in location.contents() if key.startswith(places[1].prefix)]


@pytest.mark.parametrize(
    ("chosen", "held", "why"),
    [
        pytest.param(2, {}, "newest", id="the newest"),
        pytest.param(0, {"verified": {0}}, "newest verified", id="the newest verified"),
        pytest.param(1, {"pinned": {1}}, "pinned", id="one that is pinned or read"),
    ],
)
def test_a_backup_that_has_to_stay_is_not_deleted_by_its_key(location, chosen, held, why):
    places = [location.back_up(days) for days in (3, 2, 1)]
    before = location.contents()
    keys = {name: frozenset(places[one].manifest for one in numbers) for name, numbers in held.items()}
    result = run(location, only(places[chosen], **keys))
    assert (result.outcome, result.pruned, location.contents()) == ("Succeeded", [], before)
    assert len(result.refused) == 1
    assert result.refused[0].startswith(f"backup {places[chosen].manifest} stays: ")
    assert why in result.refused[0]


def test_nothing_is_deleted_while_the_newest_looks_wrong_or_where_no_other_is_whole(location):
    old, newest = location.back_up(2), location.back_up(1)
    (location.folder / newest.manifest).write_bytes(b"{}")
    for place in (old, newest):
        result = run(location, only(place))
        assert (result.pruned, len(result.refused)) == ([], 1)


def test_a_deletion_that_is_killed_before_any_step_is_ended_by_the_next_one(volume):
    """By the same one, or by a pruning."""
    steps = 0
    while True:
        shutil.rmtree(volume)
        volume.mkdir()
        location = Location(volume.as_uri(), None, volume)
        places = [location.back_up(days) for days in (3, 2, 1)]
        process = killed_before(steps, location.url, None, only(places[0]), NOW)
        assert process.exitcode in (0, -signal.SIGKILL)
        assert backups(location)[-2:] == [place.manifest for place in places[1:]]
        run(location, only(places[0]) if steps % 2 else KEEP_TWO)
        assert not list((volume / places[0].prefix).glob("*"))
        if process.exitcode == 0:
            break
        steps += 1
    assert steps >= 6


def test_one_that_was_to_go_stays_when_it_is_pinned_meanwhile(location):
    places = [location.back_up(days) for days in (3, 2, 1)]
    location.open().put(places[0].tombstone, [b"{}"])
    assert backups(location) == [place.manifest for place in places[1:]]
    result = run(location, Request(retention=Retention(keep_last=1), held=Held(pinned=frozenset({places[0].manifest}))))
    assert result.pruned == [places[1].manifest]
    assert backups(location) == [places[0].manifest, places[2].manifest]


def test_a_run_that_is_alive_keeps_what_it_has_written(location):
    place = location.begin(9, run="pod:1")
    location.age(place, 2 * ABANDONED_AFTER)
    before = location.contents()
    live = Request(retention=Retention(keep_last=2), held=Held(live=frozenset({"pod:1"})))
    assert prune(location.open(), live, NOW + 9 * DAY).orphans == 0
    assert location.contents() == before
    assert prune(location.open(), KEEP_TWO, NOW + 9 * DAY).orphans == 1
    assert location.contents() == {}


def test_a_clock_that_is_ahead_makes_no_orphan_of_what_is_being_written(location):
    """By this machine's clock it is old; by the store's own, which the tombstone was put at, it is not."""
    location.begin(0)
    before = location.contents()
    assert prune(location.open(), KEEP_TWO, NOW + 3650 * DAY).orphans == 0
    assert location.contents() == before


def test_a_backup_that_becomes_one_while_it_is_looked_at_is_left(location):
    place = location.begin(9)
    location.age(place, 2 * ABANDONED_AFTER)

    def before(step: Step) -> None:
        if isinstance(step, Check):
            whole = manifest(place, completed_at=NOW - 9 * DAY).as_bytes()
            location.open().put(place.manifest, [whole])
            os.utime(location.folder / place.manifest, (0, 0))

    result = prune(location.open(), KEEP_TWO, NOW + 9 * DAY, before)
    assert (result.outcome, result.orphans) == ("Succeeded", 0)
    assert backups(location) == [place.manifest]


def test_what_a_killed_upload_left_in_a_folder_is_swept_up(volume):
    location = Location(volume.as_uri(), None, volume)
    place = location.back_up(1)
    before = location.contents()
    partial = volume / place.prefix / "data-1.zst.partial-00000000"
    partial.write_bytes(b"half")
    run(location)
    assert partial.exists()
    then = NOW.timestamp() - 2 * ABANDONED_AFTER.total_seconds()
    os.utime(partial, (then, then))
    run(location)
    assert location.contents() == before


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        pytest.param(lambda folder: (folder / "data-1.zst").unlink(), "part data-1.zst is missing", id="no part"),
        pytest.param(lambda folder: os.truncate(folder / "rest.zst", 3), "part rest.zst has 3 bytes, not 20", id="cut"),
        pytest.param(
            lambda folder: os.truncate(folder / "manifest.json", 300), "was cut or altered", id="half a manifest"
        ),
        pytest.param(lambda folder: os.truncate(folder / "manifest.json", 0), "its manifest has 0 bytes", id="none"),
        pytest.param(
            lambda folder: (folder / "manifest.json").write_bytes(
                (folder / "manifest.json").read_bytes().replace(b'"rows":3', b'"rows":9', 1)
            ),
            "was cut or altered",
            id="an altered manifest",
        ),
    ],
)
def test_a_damaged_backup_is_none_and_is_left_alone(location, damage, fault):
    places = [location.back_up(days) for days in (4, 3, 2, 1)]
    damage(location.folder / places[1].prefix)
    catalogue = list_backups(location.open(), None)
    assert [one.key for one in catalogue.backups] == [place.manifest for place in (places[0], *places[2:])]
    ((key, state, said),) = [(one.key, one.state, one.fault) for one in catalogue.others]
    assert (key, state) == (places[1].manifest, "Damaged")
    assert fault in str(said)
    result = run(location)
    assert (result.pruned, result.damaged) == ([places[0].manifest], [places[1].manifest])


def test_what_looks_wrong_stops_pruning_and_is_said(location):
    for days in (4, 3, 2):
        location.back_up(days, sizes=(2 << 20,))
    location.back_up(1, sizes=(100,))
    result = run(location)
    assert (result.outcome, result.pruned) == ("Succeeded", [])
    assert "is far smaller than the one before" in result.stopped
    assert json.loads(result.termination_message())["stopped"] == result.stopped


def test_a_store_that_goes_away_ends_it_with_what_was_done(gateway, tmp_path):
    with Gateway.running(tmp_path / "server") as own:
        location = Location(own.url(), own.credentials, own.data)
        places = [location.back_up(days) for days in (4, 3, 2, 1)]
        counted: list[Step] = []

        def before(step: Step) -> None:
            counted.append(step)
            if len(counted) == 10:
                for file in own.credentials.iterdir():
                    file.write_text("wrong")

        result = prune(location.open(), KEEP_TWO, NOW, before)
    assert (result.outcome, result.reason) == ("Terminal", "StorageRefused")
    assert (result.pruned, result.kept) == ([places[0].manifest], 3)


# The commands


def command(location: Location, name: str, *arguments: str) -> Result:
    credentials = [f"--store-credentials={location.credentials}"] if location.credentials else []
    return CliRunner().invoke(main, [name, f"--store={location.url}", *credentials, *arguments])


def test_list_shows_backups_and_what_is_none(location):
    place, other = location.back_up(2), location.begin(1)
    found = command(location, "list")
    assert found.exit_code == 0
    assert all(word in found.stdout for word in ("1 backups", "orders", "150 B", place.manifest))
    assert f"Unfinished  {other.manifest}" in found.stdout
    (shown,) = json.loads(command(location, "list", "-o", "json").stdout)["backups"]
    assert shown == {
        "key": place.manifest,
        "manifestDigest": list_backups(location.open(), None).backups[0].manifest_digest,
        "database": "orders",
        "startedAt": "2026-11-21T22:53:00Z",
        "completedAt": "2026-11-19T22:53:00Z",
        "sizeBytes": 150,
        "rows": 3,
        "serverVersion": 180000,
    }


def test_a_pods_list_goes_on_page_by_page(location, tmp_path):
    places = [location.back_up(days, sizes=(1,)) for days in range(25, 0, -1)]
    log, after, pages = tmp_path / "log", None, []
    while True:
        arguments = [f"--termination-log={log}", *([f"--after={after}"] if after else [])]
        assert command(location, "list", *arguments).exit_code == 0
        assert log.stat().st_size <= 4096
        message = json.loads(log.read_text())
        pages.append([one["key"] for one in message["backups"]])
        after = message["next"]
        if after is None:
            break
    assert len(pages) > 2
    assert [key for page in pages for key in page] == [place.manifest for place in places]


class Counting(FolderStore):
    """A folder that counts the manifests that are read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read_keys: list[str] = []

    def read_range(self, key: str, start: int, length: int) -> bytes:
        self.read_keys.append(key)
        return super().read_range(key, start, length)


def test_a_page_reads_little_more_than_it_shows(volume: Path) -> None:
    location = Location(volume.as_uri(), None, volume)
    places = [location.back_up(days, sizes=(1,)) for days in range(60, 0, -1)]
    store = Counting(volume)
    page = list_backups(store, None, 10)
    assert [one.key for one in page.backups] == [place.manifest for place in places[:10]]
    assert page.next == places[9].manifest
    assert len(store.read_keys) <= 10 + 1 + AT_ONCE
    last = list_backups(store, places[49].manifest, 10)
    assert ([one.key for one in last.backups], last.next) == ([place.manifest for place in places[50:]], None)


def test_prune_says_what_went(location, tmp_path):
    places = [location.back_up(days) for days in (3, 2, 1)]
    log = tmp_path / "log"
    tried = command(location, "prune", "--keep-last=2", "--dry-run")
    assert "1 backups would go" in tried.stdout
    found = command(location, "prune", "--keep-last=2", f"--termination-log={log}")
    assert (found.exit_code, backups(location)) == (0, [place.manifest for place in places[1:]])
    assert places[0].manifest in found.stdout
    assert json.loads(log.read_text())["pruned"] == [places[0].manifest]


def test_prune_takes_what_a_schedule_says(location):
    places = [location.back_up(days) for days in (40, 30, 20, 10, 5, 1)]
    found = command(
        location,
        "prune",
        *(
            "--keep-within=86400",
            "--keep-daily=0",
            "--keep-weekly=1",
            "--keep-monthly=1",
            "--minimum=1",
            "--max-prunes=2",
        ),
        *(
            "--time-zone=Europe/Berlin",
            f"--verified={places[1].manifest}",
            f"--pinned={places[0].manifest}",
            "--live=x:1",
        ),
        *("-o", "json"),
    )
    said = json.loads(found.stdout)
    assert said["pruned"] == [places[2].manifest, places[3].manifest]
    assert (said["kept"], said["later"], said["stopped"]) == (4, 1, None)


def test_without_a_rule_all_backups_stay(location):
    for days in (3, 2, 1):
        location.back_up(days)
    assert json.loads(command(location, "prune", "-o", "json").stdout)["pruned"] == []


@pytest.mark.parametrize("name", ["list", "prune"])
def test_a_store_that_refuses_is_a_sentence_and_exit_code_1(name, gateway, tmp_path):
    location = Location(gateway.url(bucket="nowhere"), gateway.credentials, gateway.data)
    log = tmp_path / "log"
    found = command(location, name, f"--termination-log={log}")
    assert found.exit_code == 1
    assert found.stderr.startswith("servicedb: StorageRefused: s3://nowhere at http://localhost:")
    message = json.loads(log.read_text())
    assert (message["outcome"], message["reason"]) == ("Terminal", "StorageRefused")


def test_a_location_that_is_none_is_a_sentence(tmp_path):
    found = CliRunner().invoke(main, ["list", "--store=gs://backups"])
    assert (found.exit_code, found.stderr.startswith("servicedb: StorageRefused: gs://backups is no location")) == (
        1,
        True,
    )


def test_a_time_zone_that_is_none_is_a_wrong_command_line(tmp_path):
    found = CliRunner().invoke(main, ["prune", f"--store={tmp_path.as_uri()}", "--time-zone=Mars/Olympus"])
    assert (found.exit_code, "is no time zone" in found.stderr) == (2, True)
