"""Which DatabaseBackup objects there are to be for what a store holds, and what follows from the Jobs."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from servicedb.api.backup_schedule import BackupSchedule, Failure, ScheduledDatabaseStatus
from servicedb.api.database_backup import DatabaseBackup
from servicedb.api.service_database import ServiceDatabase
from servicedb.plan.backups.entries import (
    Entry,
    absent,
    database_of,
    entry_manifest,
    entry_name,
    facts_of,
    missing_entries,
    newest,
    seconds_of,
    shown_bytes,
    shown_seconds,
)
from servicedb.plan.backups.pod import DATABASE, KEY, WORK
from servicedb.plan.backups.progress import database_status, ended, live_runs, lost, newly_made
from servicedb.plan.backups.quantity import in_bytes
from servicedb.reconcile.required_backup import latest_of

from tests.api.examples import FULL_SCHEDULE, MINIMAL_BACKUP, MINIMAL_DATABASE, MINIMAL_SCHEDULE, Manifest, changed

GROUP = "7460912309412309412-16384"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SCHEDULE = BackupSchedule.parse(FULL_SCHEDULE)


def key(day: int, group: str = GROUP) -> str:
    return f"{group}/202603{day:02}T020000Z-0123abcd/manifest.json"


def backup(of: str, *, ordered: bool = False, **status: Any) -> DatabaseBackup:
    spec = {"databaseRef": {"name": "onboarding"}, "scheduleRef": {"name": "nightly"}}
    manifest = changed(MINIMAL_BACKUP, {"metadata.name": f"b-{of[-30:-14]}", "spec": spec})
    return DatabaseBackup.parse(
        changed(manifest, {"status": {"key": of, **status}} if ordered else {"spec.key": of, "status": status})
    )


def test_an_entry_stands_for_itself_when_its_schedule_is_gone() -> None:
    manifest = entry_manifest(SCHEDULE, Entry(key(1), "onboarding", {}))
    read = DatabaseBackup.parse(manifest)
    assert read.spec.storage == SCHEDULE.spec.storage
    assert read.spec.encryption == SCHEDULE.spec.encryption
    assert "ownerReferences" not in manifest["metadata"]


def test_names_begin_with_the_database_and_the_time_and_differ_by_schedule() -> None:
    name = entry_name(SCHEDULE, Entry(key(1), "onboarding", {}))
    assert name.startswith("onboarding-20260301t020000z-")
    assert name == entry_name(SCHEDULE, Entry(key(1), "onboarding", {"rows": 1}))
    other = BackupSchedule.parse(changed(MINIMAL_SCHEDULE, {"metadata.name": "weekly"}))
    assert name != entry_name(other, Entry(key(1), "onboarding", {}))
    assert name != entry_name(SCHEDULE, Entry(key(1, "1-1"), "onboarding", {}))


def test_what_an_object_stands_for_already_gets_no_second_one() -> None:
    entries = [Entry(key(day), "onboarding", {}) for day in (1, 2, 3, 3)]
    seen = [backup(key(1)), backup(key(2), ordered=True)]
    assert [entry.key for entry in missing_entries(entries, seen)] == [key(3)]


@pytest.mark.parametrize(
    ("listed", "after", "up_to", "gone"),
    [
        pytest.param([1, 2, 3], None, None, [], id="all there"),
        pytest.param([2, 3], None, None, [1], id="one gone"),
        pytest.param([3], 2, None, [], id="a page says nothing of what is before it"),
        pytest.param([1], None, 1, [], id="nor of what comes after"),
        pytest.param([], None, None, [1, 2, 3], id="an empty store"),
    ],
)
def test_absent_is_what_the_list_had_to_show(
    listed: list[int], after: int | None, up_to: int | None, gone: list[int]
) -> None:
    seen = [backup(key(day)) for day in (1, 2, 3)]
    found = absent(
        seen,
        [key(day) for day in listed],
        after=key(after) if after else None,
        up_to=key(up_to) if up_to else None,
    )
    assert found == [backup(key(day)).metadata.name for day in gone]


def test_pages_go_by_time_whatever_the_database() -> None:
    early_of_other = backup(key(1, "9-9"))
    assert absent([early_of_other], [key(2)], after=key(1, "9-9"), up_to=key(2)) == []
    assert absent([early_of_other], [key(2)], after=None, up_to=key(2)) == [early_of_other.metadata.name]


def test_a_backup_is_known_by_the_server_and_the_oid_and_not_by_a_name() -> None:
    status = {"systemIdentifier": "7460912309412309412", "databaseOid": "16384"}
    database = ServiceDatabase.parse(changed(MINIMAL_DATABASE, {"status": status}))
    assert database_of(key(1), [database]) == "onboarding"
    assert database_of(key(1, "7460912309412309412-16385"), [database]) is None


def test_a_migration_is_guarded_by_a_backup_of_that_very_database_alone() -> None:
    status = {"systemIdentifier": "7460912309412309412", "databaseOid": "16384"}
    database = ServiceDatabase.parse(changed(MINIMAL_DATABASE, {"status": status}))
    own = backup(key(1), ordered=True, completedAt="2026-03-01T02:00:00Z")
    set_aside = backup(key(2, "7460912309412309412-16380"), ordered=True, completedAt="2026-03-02T02:00:00Z")
    assert latest_of([own, set_aside], database) == own.status.completed_at
    assert latest_of([set_aside], database) is None


def test_the_newest_is_the_latest_moment_shown_and_none_that_is_gone_or_damaged() -> None:
    ready = {"type": "Ready", "status": "False", "reason": "Damaged", "lastTransitionTime": "2026-03-01T00:00:00Z"}
    good = backup(key(1), startedAt="2026-03-01T02:00:00Z")
    gone = backup(key(2), startedAt="2026-03-02T02:00:00Z", gone=True)
    damaged = backup(key(3), startedAt="2026-03-03T02:00:00Z", conditions=[ready])
    assert newest([good, gone, damaged, backup(key(4))]) is good


def job(
    name: str, work: str, *, at: datetime = NOW, note: dict[str, str] | None = None, state: str = "Complete"
) -> Manifest:
    conditions = [{"type": state, "status": "True", "lastTransitionTime": at.isoformat()}] if state else []
    labels, notes = {WORK: work}, {DATABASE: "onboarding"} | (note or {})
    metadata = {"name": name, "uid": name, "labels": labels, "annotations": notes}
    metadata |= {"creationTimestamp": at.isoformat()}
    return {"metadata": metadata, "status": {"conditions": conditions}}


def pod(of: str, told: dict[str, Any] | None) -> Manifest:
    labels = {"batch.kubernetes.io/controller-uid": of}
    terminated = {"exitCode": 0, "message": json.dumps(told) if told is not None else ""}
    status = {"containerStatuses": [{"state": {"terminated": terminated}}]}
    return {"metadata": {"name": f"{of}-x", "labels": labels}, "status": status}


TOLD = {"outcome": "Succeeded", "reason": "BackedUp", "message": "", "key": key(1), "rows": 3, "sizeBytes": 1536}
FAILED = TOLD | {"outcome": "Terminal", "reason": "StorageRefused", "message": "the store refuses"}


def status(*jobs: Manifest, told: dict[str, Any], before: ScheduledDatabaseStatus | None = None) -> Any:
    pods = [pod(one["metadata"]["uid"], told) for one in jobs]
    return database_status("onboarding", before, [backup(key(1))], ended(jobs, pods), now=NOW)


def test_the_latest_job_says_whether_the_last_backup_failed() -> None:
    failed = status(job("a", "backup"), told=FAILED)
    assert (failed.failure.reason, failed.failure.terminal) == ("StorageRefused", True)
    assert status(job("b", "backup"), told=TOLD, before=failed).failure is None


def test_a_failure_stands_when_its_job_is_gone_until_a_backup_is_made() -> None:
    before = ScheduledDatabaseStatus(
        name="onboarding", failure=Failure(reason="JobFailed", message="x", at=NOW, terminal=False)
    )
    assert database_status("onboarding", before, [], [], now=NOW).failure == before.failure
    later = backup(key(2), startedAt=(NOW + timedelta(hours=1)).isoformat())
    assert database_status("onboarding", before, [later], [], now=NOW).failure is None


def test_a_result_that_was_lost_is_neither_success_nor_failure_but_has_the_store_listed() -> None:
    one = job("a", "backup")
    done = ended([one], [pod("a", None)])
    assert lost(done)
    assert database_status("onboarding", None, [], done, now=NOW).failure is None


def test_what_a_job_made_is_counted_once_and_not_again_when_it_is_pruned() -> None:
    done = ended([job("a", "backup")], [pod("a", TOLD | {"startedAt": "2026-03-01T02:00:00Z"})])
    assert [one.key for one in newly_made(done, [], None)] == [key(1)]
    counted = ScheduledDatabaseStatus(name="onboarding", last_success=datetime(2026, 3, 1, 2, tzinfo=UTC))
    assert newly_made(done, [counted], None) == []


def test_the_jobs_of_other_databases_do_not_count() -> None:
    other = job("a", "backup", note={DATABASE: "keycloak", KEY: ""})
    assert status(other, told=FAILED).failure is None


def test_runs_at_work_are_named_as_they_call_themselves() -> None:
    jobs = [job("a", "backup", state=""), job("b", "backup"), job("c", "prune", state="")]
    assert live_runs(jobs, [pod(name, None) for name in "abc"]) == ["a-x:1"]


def test_facts_are_those_that_were_told_and_no_others() -> None:
    facts = facts_of({**TOLD, "serverVersion": 170005, "seconds": 3.4, "notIncluded": ["subscription a"]})
    assert facts == {
        "key": key(1),
        "size": "1.5 KiB",
        "sizeBytes": 1536,
        "rows": 3,
        "duration": "3s",
        "serverVersion": "17.5",
        "notIncluded": ["subscription a"],
    }


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (150 * 2**20, "150 MiB"), (2**41, "2.0 TiB")]
)
def test_sizes_for_people(size: int, shown: str) -> None:
    assert shown_bytes(size) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0.2, "0s"), (59, "59s"), (61, "1m01s"), (3720, "1h02m")])
def test_durations_for_people(seconds: float, shown: str) -> None:
    assert shown_seconds(seconds) == shown


@pytest.mark.parametrize(("text", "amount"), [("50Gi", 50 * 2**30), ("1.5k", 1500), ("10", 10), ("500m", 0)])
def test_quantities_are_those_of_kubernetes(text: str, amount: int) -> None:
    assert in_bytes(text) == amount


@pytest.mark.parametrize("seconds", [0, 3, 125, 3720, 36_000])
def test_a_duration_that_was_shown_is_read_again(seconds: int) -> None:
    assert seconds_of(shown_seconds(seconds)) == seconds
