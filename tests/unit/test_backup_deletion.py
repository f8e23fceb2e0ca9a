"""Which deletion of a DatabaseBackup is the wish that its backup go, too."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from servicedb.api.backup_schedule import BackupSchedule
from servicedb.api.database_backup import DatabaseBackup
from servicedb.plan.backups.deletion import granted, wish_of

from tests.api.examples import changed

AT = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
KEY = "7300000000000000001-16384/20261121T020000Z-00c0ffee/manifest.json"
STORAGE = {"s3": {"bucket": "backups", "prefix": "shop"}}
MISSING = {"type": "Ready", "status": "False", "reason": "Missing", "message": "it is not shown"}
BACKUP: dict[str, Any] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "DatabaseBackup",
    "metadata": {"name": "one", "namespace": "shop", "uid": "u"},
    "spec": {"key": KEY, "scheduleRef": {"name": "nightly"}, "storage": STORAGE},
    "status": {"key": KEY},
}
SCHEDULE: dict[str, Any] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "BackupSchedule",
    "metadata": {"name": "nightly", "namespace": "shop", "uid": "s", "creationTimestamp": "2026-11-01T00:00:00Z"},
    "spec": {
        "databaseRefs": [{"name": "orders"}],
        "schedule": "@daily",
        "storage": STORAGE,
        "deletion": {"policy": "Delete"},
    },
}
ORDER = {"spec.key": None, "spec.databaseRef": {"name": "orders"}}


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        pytest.param({}, KEY, id="an entry"),
        pytest.param(ORDER, KEY, id="an order that was carried out"),
        pytest.param(ORDER | {"status": {}}, None, id="one that was not"),
        pytest.param({"status.gone": True}, None, id="its backup is gone: that is the operator's own deletion"),
        pytest.param({"status.conditions": [MISSING]}, None, id="a list does not show it"),
        pytest.param({"spec.scheduleRef": None}, None, id="it is of no schedule"),
    ],
)
def test_a_deletion_asks_for_its_backup(changes: dict[str, Any], key: str | None) -> None:
    wish = wish_of(changed(BACKUP, changes), AT)
    assert (wish.key if wish is not None else None) == key


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        pytest.param({}, True, id="it deletes"),
        pytest.param({"spec.deletion": {"policy": "Retain"}}, False, id="it retains"),
        pytest.param({"spec.storage": {"s3": {"bucket": "other"}}}, False, id="it has another storage by now"),
        pytest.param({"metadata.creationTimestamp": "2026-11-22T03:00:01Z"}, False, id="it was made afterwards"),
    ],
)
def test_a_schedule_grants_it(changes: dict[str, Any], counts: bool) -> None:
    wish = wish_of(BACKUP, AT)
    assert wish is not None
    schedule = BackupSchedule.parse(changed(SCHEDULE, changes))
    assert granted([wish], schedule, []) == ([wish] if counts else [])


def test_an_object_that_was_made_again_takes_the_wish_back() -> None:
    wish = wish_of(BACKUP, AT + timedelta(hours=1))
    assert wish is not None
    again = DatabaseBackup.parse(changed(BACKUP, {"metadata.name": "another"}))
    assert granted([wish], BackupSchedule.parse(SCHEDULE), [again]) == []
