"""What stays whatever a retention says, and what a list that does not show a backup is held to mean."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from servicedb.api.backup_schedule import BackupSchedule
from servicedb.api.database_backup import DatabaseBackup
from servicedb.api.database_restore import DatabaseRestore
from servicedb.plan.backups.absence import MISSING, absence, is_missing, storage_finding
from servicedb.plan.backups.command import MOST_PRUNED, prune
from servicedb.plan.backups.entries import Entry, entry_name
from servicedb.plan.backups.held import keys_in_use, may_be_forgotten, pinned_keys, prunes_meanwhile, verified_keys
from servicedb.plan.backups.location import locations
from servicedb.plan.backups.pod import PLACE
from servicedb.plan.backups.progress import database_status, ended, handled_now, is_at, newly_made, pruned_keys
from servicedb.plan.backups.result import Told
from servicedb.plan.backups.standing import BACKUPS_MISSING, findings

from tests.api.examples import FULL_SCHEDULE, MINIMAL_BACKUP, MINIMAL_RESTORE, changed
from tests.unit.test_backup_entries import NOW, TOLD, backup, job, key, pod

LISTED_AT = datetime(2026, 3, 20, tzinfo=UTC)
VERIFIED_AT = "2026-03-10T00:00:00Z"


def condition(kind: str, status: str, reason: str) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": "2026-03-01T00:00:00Z"}


def known(day: int, *, pinned: bool = False, verified: bool = False, found: str = "", **status: Any) -> DatabaseBackup:
    if verified:
        outcome = condition("Verified", "False" if found else "True", found or "Verified")
        status |= {"verifiedAt": VERIFIED_AT, "conditions": [outcome]}
    body = backup(key(day), **status).as_json()
    created = {"metadata.creationTimestamp": "2026-03-01T00:00:00Z", "spec.pinned": pinned}
    return DatabaseBackup.parse(changed(body, created))


def test_a_pin_and_a_verification_count_when_the_first_store_has_lost_the_backup() -> None:
    lost = [known(1, pinned=True, gone=True), known(2, verified=True, gone=True)]
    assert pinned_keys(lost) == {key(1)}
    assert verified_keys(lost) == {key(2)}


def test_an_entry_made_by_hand_is_held_without_any_schedule() -> None:
    storage = {"s3": {"bucket": "elsewhere"}}
    made = changed(MINIMAL_BACKUP, {"spec": {"key": key(1), "storage": storage, "pinned": True}})
    assert pinned_keys([DatabaseBackup.parse(made)]) == {key(1)}


@pytest.mark.parametrize(
    ("found", "counts"),
    [("", True), ("WrongKey", True), ("StorageRefused", True), ("NoSuchObject", True), ("Mismatch", False)],
)
def test_only_what_speaks_against_a_backup_takes_its_verification_back(found: str, counts: bool) -> None:
    assert verified_keys([known(1, verified=True, found=found)]) == ({key(1)} if counts else set())


def test_what_is_read_just_now_is_held() -> None:
    verifying = job("a", "verify", note={"servicedb.io/backup-key": key(1)}, state="")
    verified = job("b", "verify", note={"servicedb.io/backup-key": key(2)})
    done = {"conditions": [condition("Succeeded", "True", "Restored")], "key": key(4)}
    failed = {"conditions": [condition("Succeeded", "False", "Mismatch")], "key": key(5)}
    restores = [
        DatabaseRestore.parse(changed(MINIMAL_RESTORE, {"status": status}))
        for status in ({"key": key(3)}, done, failed)
    ]
    assert keys_in_use([verifying, verified], restores) == {key(1), key(3), key(5)}


@pytest.mark.parametrize(
    ("work", "ended", "arguments", "waits"),
    [
        pytest.param("prune", False, [], True, id="it may be deleted"),
        pytest.param("delete", False, ["--only=another"], True, id="by a person's wish"),
        pytest.param("prune", False, [f"--pinned={key(1)}"], False, id="it is spared"),
        pytest.param("prune", True, [], False, id="it has ended"),
        pytest.param("backup", False, [], False, id="it deletes nothing"),
    ],
)
def test_a_restore_waits_for_what_may_delete_its_backup(
    work: str, ended: bool, arguments: list[str], waits: bool
) -> None:
    conditions = [{"type": "Complete", "status": "True"}] if ended else []
    one = {
        "metadata": {"name": "nightly-prune", "labels": {"servicedb.io/work": work}},
        "spec": {"template": {"spec": {"containers": [{"args": arguments}]}}},
        "status": {"conditions": conditions},
    }
    assert prunes_meanwhile([one], key(1)) == ("nightly-prune" if waits else None)


@pytest.mark.parametrize(
    ("one", "others", "may"),
    [
        pytest.param(known(1), [], False, id="in the store"),
        pytest.param(known(1, gone=True), [], True, id="gone"),
        pytest.param(known(1, gone=True, pinned=True), [known(2)], False, id="pinned"),
        pytest.param(known(1, gone=True, verified=True), [known(2)], False, id="the newest verified"),
        pytest.param(known(1, gone=True, verified=True), [known(2, verified=True)], True, id="another verified since"),
        pytest.param(
            known(1, gone=True, verified=True), [known(2, verified=True, gone=True)], False, id="which is gone, too"
        ),
        pytest.param(known(3, gone=True, verified=True), [known(2, verified=True)], False, id="an older one"),
        pytest.param(backup(key(1), ordered=True, gone=True), [], False, id="an order"),
    ],
)
def test_objects_go_only_when_nothing_stands_in_them_alone(
    one: DatabaseBackup, others: list[DatabaseBackup], may: bool
) -> None:
    assert may_be_forgotten(one, [one, *others]) is may


@pytest.mark.parametrize(
    ("days", "shown", "gone", "doubtful"),
    [
        pytest.param([1, 2, 3], [1, 2, 3], 0, False, id="all there"),
        pytest.param([1, 2, 3], [2, 3], 1, False, id="one gone"),
        pytest.param([1, 2], [2], 1, False, id="one of two"),
        pytest.param([1, 2, 3], [], 3, True, id="an empty mount point"),
        pytest.param([1], [], 1, True, id="the only one"),
        pytest.param([1, 2, 3, 4], [4, 5], 3, True, id="an empty mount point, and a backup since"),
        pytest.param([], [1], 0, False, id="nothing known"),
    ],
)
def test_a_list_without_most_of_what_was_known_is_doubted(
    days: list[int], shown: list[int], gone: int, doubtful: bool
) -> None:
    found = absence([known(day) for day in days], Told(), map(key, shown), after=None, made_at=LISTED_AT)
    assert (len(found.names), found.is_doubtful) == (gone, doubtful)


def test_a_page_counts_only_what_it_should_have_shown() -> None:
    told = Told(values={"next": key(4)})
    found = absence([known(day) for day in range(1, 9)], told, [key(4)], after=key(1), made_at=LISTED_AT)
    assert (len(found.names), found.is_doubtful) == (2, True)


def test_more_damaged_backups_than_a_message_names_are_none_that_are_gone() -> None:
    told = Told(values={"damaged": [key(day) for day in range(1, 6)], "damagedCount": 6})
    seen = [known(day) for day in range(1, 20)]
    shown = [key(day) for day in range(7, 20)]
    assert absence(seen, told, shown, after=None, made_at=LISTED_AT).names == ()
    all_named = Told(values={"damaged": [key(day) for day in range(1, 6)], "damagedCount": 5})
    assert len(absence(seen, all_named, shown, after=None, made_at=LISTED_AT).names) == 1


def test_what_was_made_after_the_list_was_begun_is_not_looked_for() -> None:
    found = absence([known(1)], Told(), [], after=None, made_at=datetime(2026, 2, 1, tzinfo=UTC))
    assert (len(found.names), found.is_doubtful) == (0, False)


def test_while_backups_are_missing_the_schedule_says_so_before_anything_else() -> None:
    missing = known(1, conditions=[condition(MISSING.type, MISSING.status, MISSING.reason)])
    assert is_missing(missing)
    assert not is_missing(known(1, gone=True, conditions=[condition("Ready", "False", MISSING.reason)]))
    assert storage_finding([known(2)]) == []
    told = findings(
        BackupSchedule.parse(FULL_SCHEDULE),
        [database_status("onboarding", None, [known(2, startedAt="2026-03-20T02:00:00Z")], [], now=LISTED_AT)],
        now=LISTED_AT,
        next_run="soon",
        told=storage_finding([missing, known(2)]),
    )
    by_type = {one.type: one for one in told}
    assert by_type["StorageReachable"].reason == by_type["Ready"].reason == BACKUPS_MISSING
    assert by_type["StorageReachable"].status == "False"


def test_the_same_key_in_another_store_is_another_object() -> None:
    schedule = BackupSchedule.parse(FULL_SCHEDULE)
    moved = BackupSchedule.parse(changed(FULL_SCHEDULE, {"spec.storage": {"s3": {"bucket": "elsewhere"}}}))
    keys = {"s3": changed(FULL_SCHEDULE["spec"]["storage"]["s3"], {"writeSecretRef": {"name": "other"}})}
    same = BackupSchedule.parse(changed(FULL_SCHEDULE, {"spec.storage": keys}))
    entry = Entry(key(1), "onboarding", {})
    assert entry_name(schedule, entry) != entry_name(moved, entry)
    assert entry_name(schedule, entry) == entry_name(same, entry)


def test_no_more_are_pruned_than_a_message_names() -> None:
    schedule = BackupSchedule.parse(changed(FULL_SCHEDULE, {"spec.retention": {"keepLast": 1, "maxPrunesPerRun": 900}}))
    assert schedule.spec.retention is not None
    place = locations(schedule.spec, "Prune")[0]
    line = prune(place, schedule.spec.retention, time_zone="Etc/UTC", verified=(), pinned=(), live=())
    assert f"--max-prunes={MOST_PRUNED}" in line


def test_a_field_that_was_handled_and_is_over_is_taken_out_of_the_status() -> None:
    before = {"listedAt": "a", "listedUpTo": key(3)}
    assert handled_now(before, {"listedAt": "b", "listedUpTo": None}) == {"listedAt": "b", "listedUpTo": None}
    assert handled_now({"listedAt": "a"}, {"listedAt": "b", "listedUpTo": None}) == {"listedAt": "b"}


def test_a_list_knows_better_than_the_jobs_that_ended_before_it() -> None:
    done = ended([job("a", "backup")], [pod("a", TOLD | {"startedAt": "2026-03-01T02:00:00Z"})])
    assert newly_made(done, [], NOW + timedelta(seconds=1)) == []
    assert [one.key for one in newly_made(done, [], NOW)] == [key(1)]


def test_what_any_job_has_pruned_in_the_first_place_is_known_and_nothing_of_the_copies() -> None:
    jobs = [job(name, "prune", note={PLACE: place}) for name, place in (("a", "0"), ("b", "1"), ("c", "0"))]
    pods = [pod(name, TOLD | {"pruned": [key(day)]}) for name, day in (("a", 1), ("b", 2), ("c", 3))]
    assert pruned_keys(ended(jobs, pods)) == {key(1), key(3)}


def test_lists_and_prunes_wait_for_each_other_only_while_they_work() -> None:
    jobs = [job("a", "prune", state=""), job("b", "list")]
    assert is_at(jobs, "prune")
    assert not is_at(jobs, "list")
