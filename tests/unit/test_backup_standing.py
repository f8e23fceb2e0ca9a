"""How a schedule stands: from what its Jobs told to the conditions that people wait for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from servicedb.api.backup_schedule import BackupSchedule, Failure, ScheduledDatabaseStatus
from servicedb.errors import Problem, Retryable, Terminal
from servicedb.plan.backups.progress import database_status
from servicedb.plan.backups.standing import findings, foreign, recovery_point_ends, with_problems
from servicedb.plan.conditions import Finding

from tests.api.examples import FULL_SCHEDULE, MINIMAL_SCHEDULE, Manifest, changed

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
RECENT, OLD = NOW - timedelta(hours=2), NOW - timedelta(days=3)


def schedule(manifest: Manifest = FULL_SCHEDULE, changes: dict[str, Any] | None = None) -> BackupSchedule:
    made = {"metadata.uid": "1", "metadata.creationTimestamp": "2026-02-01T00:00:00Z"}
    return BackupSchedule.parse(changed(manifest, {**made, **(changes or {})}))


def failure(reason: str, *, terminal: bool = False) -> Failure:
    return Failure(reason=reason, message="the store refuses", at=NOW, terminal=terminal)


def database(name: str = "onboarding", **changes: Any) -> ScheduledDatabaseStatus:
    fields: dict[str, Any] = {
        "name": name,
        "last_success": RECENT,
        "last_key": "k",
        "last_verified": RECENT,
        "backups": 1,
    }
    return ScheduledDatabaseStatus(**(fields | changes))


def found(
    *databases: ScheduledDatabaseStatus, of: BackupSchedule | None = None, measured: str | None = "12m05s"
) -> dict[str, Finding]:
    told = findings(of or schedule(), databases, now=NOW, next_run="the next backup: soon", measured=measured)
    return {one.type: one for one in told}


def test_all_is_well_when_every_database_has_a_recent_and_a_verified_backup() -> None:
    conditions = found(database(), database("keycloak"))
    assert {kind: one.status for kind, one in conditions.items()} == dict.fromkeys(
        (
            "Ready",
            "LastBackupSucceeded",
            "LastVerifySucceeded",
            "RecoveryPointMet",
            "RecoveryTimeMet",
            "KeyUsable",
            "StorageReachable",
        ),
        "True",
    )


@pytest.mark.parametrize(
    ("one", "false", "reason"),
    [
        pytest.param(
            database(failure=failure("StorageRefused", terminal=True)),
            {"Ready", "LastBackupSucceeded", "StorageReachable"},
            "StorageRefused",
            id="a store that refuses",
        ),
        pytest.param(
            database(failure=failure("JobFailed")), {"Ready", "LastBackupSucceeded"}, "JobFailed", id="a failed backup"
        ),
        pytest.param(
            database(verify_failure=failure("Mismatch", terminal=True)),
            {"Ready", "LastVerifySucceeded"},
            "Mismatch",
            id="a backup that is not whole",
        ),
        pytest.param(
            database(verify_failure=failure("WrongKey", terminal=True)),
            {"Ready", "LastVerifySucceeded", "KeyUsable"},
            "WrongKey",
            id="another key",
        ),
        pytest.param(
            database(last_success=OLD), {"Ready", "RecoveryPointMet"}, "RecoveryPointMissed", id="an old backup"
        ),
        pytest.param(
            database(last_success=None), {"Ready", "RecoveryPointMet"}, "RecoveryPointMissed", id="none for too long"
        ),
    ],
)
def test_ready_is_false_with_whatever_is_wrong(one: ScheduledDatabaseStatus, false: set[str], reason: str) -> None:
    conditions = found(database("keycloak"), one)
    assert {kind for kind, each in conditions.items() if each.status == "False"} == false
    assert {conditions[kind].reason for kind in false} == {reason}
    assert "onboarding" in conditions["Ready"].message


@pytest.mark.parametrize(("terminal", "kind"), [(True, "Stalled"), (False, "Reconciling")])
def test_who_has_to_go_on_is_said(terminal: bool, kind: str) -> None:
    conditions = found(database(failure=failure("JobFailed", terminal=terminal)))
    assert [one for one in ("Stalled", "Reconciling") if one in conditions] == [kind]


def test_before_the_first_backup_nothing_is_claimed() -> None:
    young = schedule(MINIMAL_SCHEDULE, {"spec.objectives": {"recoveryPoint": "26h"}})
    young = young.model_copy(
        update={"metadata": young.metadata.model_copy(update={"creation_timestamp": NOW - timedelta(hours=1)})}
    )
    conditions = found(database(last_success=None, last_verified=None, backups=0), of=young)
    for kind in ("LastBackupSucceeded", "RecoveryPointMet", "StorageReachable"):
        assert conditions[kind].status == "Unknown", kind
    assert conditions["Ready"].status == "True"


def test_what_is_not_asked_for_is_not_said() -> None:
    conditions = found(database(), of=schedule(MINIMAL_SCHEDULE))
    assert not {"LastVerifySucceeded", "RecoveryPointMet", "KeyUsable", "LastPruneSucceeded"} & conditions.keys()


def test_what_is_no_longer_asked_for_is_taken_back() -> None:
    before = {
        "status": {
            "conditions": [
                {
                    "type": "RecoveryPointMet",
                    "status": "False",
                    "reason": "RecoveryPointMissed",
                    "message": "",
                    "lastTransitionTime": "2026-02-01T00:00:00Z",
                }
            ]
        }
    }
    conditions = found(database(), of=schedule(MINIMAL_SCHEDULE, before))
    assert (conditions["RecoveryPointMet"].status, conditions["Ready"].status) == ("Unknown", "True")


def test_pruning_that_stopped_stays_said_until_it_goes_on() -> None:
    stopped = Finding("LastPruneSucceeded", "False", "PruneStopped", "nothing was pruned: the newest is far smaller")
    told = findings(schedule(), [database()], now=NOW, next_run="", told=[stopped])
    assert Finding("Ready", "False", stopped.reason, stopped.message) in told
    condition = {
        "type": stopped.type,
        "status": stopped.status,
        "reason": stopped.reason,
        "message": stopped.message,
        "lastTransitionTime": "2026-02-01T00:00:00Z",
    }
    later = schedule(changes={"status": {"conditions": [condition]}})
    assert found(database(), of=later)["Ready"].reason == "PruneStopped"


@pytest.mark.parametrize(
    ("measured", "status", "ready"),
    [("1h00m", "True", "True"), ("1h01m", "False", "False"), (None, "Unknown", "True"), ("long", "Unknown", "True")],
)
def test_a_restore_that_took_too_long_is_said(measured: str | None, status: str, ready: str) -> None:
    conditions = found(database(), measured=measured)
    assert (conditions["RecoveryTimeMet"].status, conditions["Ready"].status) == (status, ready)


def test_a_database_that_comes_to_an_old_schedule_has_its_time_from_then_on() -> None:
    added = NOW - timedelta(hours=1)
    young = database(last_success=None, added_at=added)
    assert recovery_point_ends(schedule(), [young]) == [added + timedelta(hours=26)]
    assert found(database("keycloak"), young)["RecoveryPointMet"].status == "Unknown"


def test_when_a_schedule_has_had_a_database_first_is_kept() -> None:
    first = database_status("onboarding", None, [], [], now=NOW)
    assert first.added_at == NOW
    assert database_status("onboarding", first, [], [], now=NOW + timedelta(days=1)).added_at == NOW


AWAY = Retryable("ServerUnreachable", "the server is away", condition="DatabaseReady", ready="Unknown")
STRANGE = Terminal("NotSupported", "spec.deletion.policy Delete can't be done")


@pytest.mark.parametrize(
    ("of", "problems", "ready", "goes_on"),
    [
        pytest.param(database(), [AWAY], ("Unknown", "ServerUnreachable"), "Reconciling", id="not known"),
        pytest.param(
            database(failure=failure("JobFailed")), [AWAY], ("False", "JobFailed"), "Reconciling", id="wrong before"
        ),
        pytest.param(database(), [AWAY, STRANGE], ("False", "NotSupported"), "Stalled", id="wrong besides"),
    ],
)
def test_what_is_wrong_goes_before_what_is_not_known_and_all_is_told(
    of: ScheduledDatabaseStatus, problems: list[Problem], ready: tuple[str, str], goes_on: str
) -> None:
    told = {one.type: one for one in with_problems(list(found(of).values()), problems)}
    assert (told["Ready"].status, told["Ready"].reason) == ready
    assert [kind for kind in ("Stalled", "Reconciling") if kind in told] == [goes_on]
    for problem in problems:
        assert problem.message in told["Ready"].message
    assert "DatabaseReady" not in told


def test_a_condition_of_another_kind_of_object_is_taken_back() -> None:
    strange = {
        "type": "DatabaseReady",
        "status": "Unknown",
        "reason": "ServerUnreachable",
        "message": "",
        "lastTransitionTime": "2026-02-01T00:00:00Z",
    }
    own = {**strange, "type": "RecoveryPointMet"}
    assert foreign(schedule(changes={"status": {"conditions": [strange, own]}})) == {"DatabaseReady"}


def test_the_recovery_point_ends_by_itself_at_the_oldest_backup() -> None:
    ends = recovery_point_ends(schedule(), [database(), database("keycloak", last_success=OLD)])
    assert ends == [OLD + timedelta(hours=26), RECENT + timedelta(hours=26)]


def test_messages_hold_no_ages_which_would_be_others_at_each_look() -> None:
    def message(now: datetime) -> list[str]:
        told = findings(schedule(), [database(last_success=OLD)], now=now, next_run="")
        return [one.message for one in told]

    assert message(NOW) == message(NOW + timedelta(minutes=5))
