"""Backups that were due and did not come."""

from datetime import UTC, datetime
from typing import Any

import pytest
from servicedb.api.backup_schedule import ScheduledDatabaseStatus
from servicedb.plan.backups.missed import missed
from servicedb.plan.backups.pod import CHANGED_AT, DATABASE, WORK

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)  # due at 2:00 today and yesterday


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-{text}:00:00Z")


def made(text: str) -> dict[str, Any]:
    noted = {DATABASE: "onboarding", CHANGED_AT: at(text).isoformat()}
    return {"metadata": {"annotations": noted, "labels": {WORK: "backup"}, "creationTimestamp": at(text).isoformat()}}


@pytest.mark.parametrize(
    ("stands", "job", "success", "late"),
    [
        pytest.param("01T00", None, "08T02", True, id="none for two days"),
        pytest.param("01T00", None, None, True, id="never one"),
        pytest.param("01T00", None, "09T02", False, id="one yesterday"),
        pytest.param("01T00", "10T02", "08T02", False, id="one is at work"),
        pytest.param("01T00", "08T02", None, True, id="a job of before"),
        pytest.param("09T03", None, "08T02", False, id="changed since"),
        pytest.param(None, None, "08T02", False, id="no cron job, which is said elsewhere"),
    ],
)
def test_two_times_without_a_backup_are_said(
    stands: str | None, job: str | None, success: str | None, late: bool
) -> None:
    database = ScheduledDatabaseStatus(name="onboarding", last_success=at(success) if success else None)
    cron_jobs, jobs = ([made(one)] if one else [] for one in (stands, job))
    found = missed([database], cron_jobs, jobs, schedule="0 2 * * *", time_zone="Etc/UTC", now=NOW)
    assert found == (["onboarding"] if late else [])
