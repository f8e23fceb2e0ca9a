"""A RetentionPolicy: which run is due, what has to be so before it, what its pod is given, and how it stands after."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from servicedb.api.database_backup import DatabaseBackup
from servicedb.api.retention_policy import RequireRecentBackup, RetentionPolicy
from servicedb.api.retention_status import RetentionRun
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Problem, Retryable, Terminal
from servicedb.plan.backups.pod import job
from servicedb.plan.backups.progress import ended
from servicedb.plan.conditions import Finding
from servicedb.plan.job_pod import Endpoint
from servicedb.plan.retention_due import due, is_too_late
from servicedb.plan.retention_gate import Proof, check_alone, proof, tables_of
from servicedb.plan.retention_job import Logins, task
from servicedb.plan.retention_standing import ended as found_by
from servicedb.plan.retention_standing import failed_for_good, last_run, over, plan, standing

from tests.api.examples import FULL_POLICY, MINIMAL_DATABASE, MINIMAL_POLICY, Manifest, changed

NOW = datetime(2026, 3, 2, 3, tzinfo=UTC)
AT_TWO = datetime(2026, 3, 2, 2, tzinfo=UTC)
MADE = {"metadata.uid": "uid-1", "metadata.generation": 4, "metadata.creationTimestamp": "2026-02-01T00:00:00Z"}
RUN_AT = {"metadata.annotations": {"servicedb.io/run-at": "now"}}
PLAN = {"spec.mode": "Plan"}


def policy(changes: dict[str, Any] | None = None, manifest: Manifest = MINIMAL_POLICY) -> RetentionPolicy:
    return RetentionPolicy.parse(changed(manifest, {**MADE, **(changes or {})}))


def handled(**values: Any) -> dict[str, Any]:
    return {"status": {"handled": values}}


# Which run is due


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        pytest.param({}, {"ranFor": "2026-03-02T02:00:00Z"}, id="by its schedule"),
        pytest.param(handled(ranFor="2026-03-01T02:00:00Z"), {"ranFor": "2026-03-02T02:00:00Z"}, id="the next day"),
        pytest.param(handled(ranFor="2026-03-02T02:00:00Z"), None, id="once"),
        pytest.param({"metadata.creationTimestamp": "2026-03-02T02:30:00Z"}, None, id="not for a time before it was"),
        pytest.param(RUN_AT, {"runAt": "now"}, id="by the annotation"),
        pytest.param(RUN_AT | handled(runAt="now"), {"ranFor": "2026-03-02T02:00:00Z"}, id="each value once"),
        pytest.param(PLAN, {"plannedGeneration": 4}, id="a plan of a new spec at once"),
        pytest.param(PLAN | handled(plannedGeneration=4), {"ranFor": "2026-03-02T02:00:00Z"}, id="then by schedule"),
        pytest.param(handled(plannedGeneration=4, ranFor="2026-03-02T02:00:00Z"), None, id="no plan of what runs"),
    ],
)
def test_which_run_is_due(changes: dict[str, Any], said: dict[str, Any] | None) -> None:
    run = due(policy(changes), NOW)
    assert (run.handled if run is not None else None) == said


def test_each_run_has_a_job_of_its_own_name() -> None:
    every = [due(policy(changes), NOW) for changes in ({}, RUN_AT, PLAN, PLAN | RUN_AT)]
    tomorrow = due(policy(), NOW + timedelta(days=1))
    assert len({run.name for run in (*every, tomorrow) if run is not None}) == 5
    assert due(policy(), NOW) == due(policy(), NOW + timedelta(hours=1))


@pytest.mark.parametrize(("hours", "late"), [(1, False), (6, False), (7, True)])
def test_a_run_that_could_not_begin_is_left_out_in_the_end(hours: int, late: bool) -> None:
    run = due(policy(), AT_TWO + timedelta(hours=hours))
    assert run is not None
    assert is_too_late(policy(), run, AT_TWO + timedelta(hours=hours)) is late


def test_a_run_that_a_person_asked_for_is_never_too_late() -> None:
    run = due(policy(RUN_AT), NOW)
    assert run is not None
    assert not is_too_late(policy(), run, NOW + timedelta(days=30))


# What has to be so before it


def rule(table: str) -> dict[str, Any]:
    return {"table": table, "column": "at", "deleteAfter": "1d", "archive": False}


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        pytest.param(["sessions"], "write it with its schema", id="no schema"),
        pytest.param(["public.a b"], "write it with its schema", id="no name"),
        pytest.param(["public.sessions", 'PUBLIC."sessions"'], "two rules for one table", id="twice"),
    ],
)
def test_a_rule_names_one_table(tables: list[str], said: str) -> None:
    with pytest.raises(Terminal, match=said) as refused:
        tables_of(policy({"spec.rules": [rule(table) for table in tables]}))
    assert refused.value.reason == "InvalidTable"


def other(changes: dict[str, Any]) -> Manifest:
    before = {"metadata.name": "first", "metadata.uid": "uid-0", "metadata.creationTimestamp": "2026-01-01T00:00:00Z"}
    return changed(MINIMAL_POLICY, before | changes)


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        pytest.param({}, True, id="an older one"),
        pytest.param({"spec.rules": [rule('"public".SESSIONS')]}, True, id="the same table written another way"),
        pytest.param({"metadata.creationTimestamp": "2026-02-01T00:00:00Z"}, True, id="of the same second"),
        pytest.param(
            {"metadata.creationTimestamp": "2026-02-01T00:00:00Z", "metadata.uid": "uid-2"}, False, id="the other way"
        ),
        pytest.param({"metadata.creationTimestamp": "2026-02-02T00:00:00Z"}, False, id="a younger one"),
        pytest.param({"spec.rules": [rule("public.others")]}, False, id="another table"),
        pytest.param({"spec.databaseRef.name": "others"}, False, id="another database"),
        pytest.param({"metadata.deletionTimestamp": "2026-03-01T00:00:00Z"}, False, id="one that goes"),
    ],
)
def test_the_later_of_two_policies_on_a_table_is_refused(changes: dict[str, Any], refused: bool) -> None:
    if not refused:
        check_alone(policy(), [other(changes)])
        return
    with pytest.raises(Terminal, match=r'RetentionPolicy "first" has a rule for table public\.sessions') as problem:
        check_alone(policy(), [other(changes)])
    assert problem.value.reason == "Duplicate"


KEY = "7460912309412309412-16384/20260301T020000Z-0123abcd/manifest.json"
DATABASE = ServiceDatabase.parse(
    changed(MINIMAL_DATABASE, {"status.databaseOid": "16384", "status.systemIdentifier": "7460912309412309412"})
)


def backup(hours: float, **status: Any) -> DatabaseBackup:
    conditions = [{"type": "Ready", "status": "True", "reason": "Stored", "lastTransitionTime": "2026-03-01T02:00:00Z"}]
    fields = {
        "key": KEY,
        "manifestDigest": f"sha256:{hours}",
        "startedAt": (NOW - timedelta(hours=hours)).isoformat(),
        "conditions": conditions,
    }
    return DatabaseBackup.parse(
        {
            "metadata": {"name": "one", "namespace": "kyc"},
            "spec": {"key": status.get("key", KEY), "databaseRef": {"name": DATABASE.metadata.name}},
            "status": fields | status,
        }
    )


VERIFIED = {"verifiedAt": "2026-03-02T02:30:00Z"}


@pytest.mark.parametrize(
    ("verified", "backups", "digest"),
    [
        pytest.param(False, [backup(1)], "sha256:1", id="young"),
        pytest.param(False, [backup(30), backup(2), backup(20)], "sha256:2", id="the newest"),
        pytest.param(True, [backup(2), backup(20, **VERIFIED)], "sha256:20", id="the newest that was tried"),
        pytest.param(False, [], None, id="none"),
        pytest.param(False, [backup(27)], None, id="too old"),
        pytest.param(True, [backup(2), backup(27, **VERIFIED)], None, id="the one that was tried is too old"),
        pytest.param(False, [backup(1, manifestDigest=None)], None, id="nothing is known of it"),
        pytest.param(
            False, [backup(1, key=KEY.replace("16384", "16385"))], None, id="of a database that had the name before"
        ),
    ],
)
def test_nothing_is_deleted_without_a_young_backup(
    verified: bool, backups: list[DatabaseBackup], digest: str | None
) -> None:
    required = RequireRecentBackup.model_validate({"scheduleRef": {"name": "nightly"}, "verified": verified})
    if digest is not None:
        assert proof(required, backups, DATABASE, NOW).digest == digest
        return
    with pytest.raises(Retryable, match="nothing is deleted") as refused:
        proof(required, backups, DATABASE, NOW)
    assert refused.value.reason == "BackupTooOld"


# What its pod is given

ENDPOINT = Endpoint("pg.example.org", 5432, "metrics", "verify-full", "a certificate")
PROOF = Proof("sha256:1", AT_TWO)


def pod(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    made = task(policy(changes, FULL_POLICY), "daily-1", Logins("m-retain", "m-partition"), ENDPOINT, "image", PROOF)
    found: dict[str, Any] = job(made, "daily-1")["spec"]["template"]
    return found


def test_a_run_is_given_the_proof_and_both_logins_and_nothing_to_read_archives_with() -> None:
    found = pod()
    (container,) = found["spec"]["containers"]
    arguments = container["args"]
    assert arguments[:2] == ["retain", "run"]
    assert {"--backup-digest=sha256:1", "--run=daily-1", "--owner-secret=/run/servicedb/owner"} <= {*arguments}
    secrets = {
        source["secret"]["name"]
        for volume in found["spec"]["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
        if "secret" in source
    }
    assert secrets == {"m-retain", "m-partition", "backups-write"}
    assert '"batchRows": 5000' in found["metadata"]["annotations"]["servicedb.io/policy"]


def test_a_plan_is_given_no_store() -> None:
    found = pod({"spec.mode": "Plan"})
    (container,) = found["spec"]["containers"]
    assert container["args"][:2] == ["retain", "plan"]
    assert not any("store" in argument or "backup" in argument for argument in container["args"])
    assert {volume["name"] for volume in found["spec"]["volumes"]} == {"tmp", "credentials", "owner", "policy"}


# How it stands after


def run(outcome: str = "Succeeded", reason: str = "Retained", failed_by: str | None = None, **told: Any) -> Any:
    message = {"outcome": outcome, "reason": reason, "message": "said", **told}
    ending = {"terminated": {"exitCode": 0, "message": json.dumps(message)}}
    kind = {"type": "Failed" if outcome != "Succeeded" else "Complete", "status": "True", "reason": failed_by}
    one = {
        "metadata": {"name": "daily-1", "uid": "job-1", "creationTimestamp": "2026-03-02T02:00:00Z"},
        "status": {"conditions": [{**kind, "lastTransitionTime": "2026-03-02T02:10:00Z"}]},
    }
    labels = {"batch.kubernetes.io/controller-uid": "job-1"}
    pod = {"metadata": {"name": "p", "labels": labels}, "status": {"containerStatuses": [{"state": ending}]}}
    return ended([one], [pod])[0]


RULES = [
    {"table": "public.a", "archivedRows": 3, "deletedRows": 2, "oldest": None, "nullTimes": 0, "surprise": 1},
    {"table": "public.b", "archivedRows": 4, "deletedRows": 4, "oldest": "2026-01-01 00:00:00+00"},
    {"archivedRows": "many"},
]


def conditions(of: RetentionPolicy, found: list[Finding]) -> dict[str, tuple[str, str]]:
    return {one.type: (one.status, one.reason) for one in standing(of, found, "tomorrow")}


def test_what_was_done_is_summed_and_what_is_no_rule_is_left_out() -> None:
    status = last_run(run(rules=RULES))
    assert (status["archivedRows"], status["deletedRows"]) == (7, 6)
    assert [one["table"] for one in status["rules"]] == ["public.a", "public.b"]
    more = last_run(run(rules=RULES, totals={"archivedRows": 70, "deletedRows": 60}, warnings=["no lag is seen"]))
    assert (more["archivedRows"], more["deletedRows"]) == (70, 60)  # of more rules than are listed
    assert more["warnings"] == ["no lag is seen"]
    assert (status["started"], status["completed"]) == ("2026-03-02T02:00:00Z", "2026-03-02T02:10:00Z")
    would = {"table": "public.a", "rows": 9, "index": False, "partitionsToDrop": [f"a_{n}" for n in range(99)]}
    (shown,) = plan(run(rules=[would]))["rules"]
    assert (shown["rows"], shown["index"], len(shown["partitionsToDrop"])) == (9, False, 20)


def test_nothing_of_the_run_before_is_left_in_the_status() -> None:
    failed = last_run(run("Terminal", "NoLedger"))
    assert failed.keys() == last_run(run(rules=RULES, warnings=["one"])).keys()
    assert RetentionRun.model_validate(failed).as_json() == failed


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        pytest.param(None, {"Ready": ("True", "Ready"), "LastRunSucceeded": ("Unknown", "NotRunYet")}, id="none yet"),
        pytest.param(
            run(partitionsAhead=True),
            {
                "Ready": ("True", "Ready"),
                "LastRunSucceeded": ("True", "Retained"),
                "PartitionsAhead": ("True", "Made"),
            },
            id="well",
        ),
        pytest.param(
            run(partitionsAhead=False, rules=[{"table": "public.a", "problem": "rows in the default"}]),
            {
                "Ready": ("False", "NotMade"),
                "LastRunSucceeded": ("True", "Retained"),
                "PartitionsAhead": ("False", "NotMade"),
            },
            id="not all partitions",
        ),
        pytest.param(
            run("Terminal", "RuleRefused"),
            {"Ready": ("False", "RuleRefused"), "LastRunSucceeded": ("False", "RuleRefused")},
            id="failed",
        ),
    ],
)
def test_how_a_policy_stands_after_a_run(one: Any, expected: dict[str, tuple[str, str]]) -> None:
    found = found_by(one) if one is not None else []
    assert conditions(policy(manifest=FULL_POLICY), found) == expected


def test_what_failed_stays_said_until_a_run_went_well() -> None:
    stood = {
        "type": "LastRunSucceeded",
        "status": "False",
        "reason": "RuleRefused",
        "lastTransitionTime": "2026-03-01T02:00:00Z",
    }
    failed = policy({"status": {"conditions": [stood]}})
    assert conditions(failed, [])["Ready"] == ("False", "RuleRefused")
    assert conditions(failed, found_by(run()))["Ready"] == ("True", "Ready")


def test_partitions_are_spoken_of_only_where_a_rule_has_some() -> None:
    assert over(policy()) == ("PartitionsAhead",)
    assert over(policy(manifest=FULL_POLICY)) == ()
    assert "PartitionsAhead" not in conditions(policy(), found_by(run(partitionsAhead=True)))


def test_what_no_run_has_looked_at_is_not_said_of_partitions() -> None:
    stopped = found_by(run("Retryable", "BackupRequired", partitionsAhead=None))
    assert {one.type for one in stopped} == {"LastRunSucceeded"}


@pytest.mark.parametrize(
    ("one", "stalled", "said"),
    [
        pytest.param(run("Terminal", "RuleRefused"), True, "said", id="a person has to"),
        pytest.param(run("Retryable", "StorageUnreachable"), False, "said", id="tried again"),
        pytest.param(run("Retryable", "Busy", "DeadlineExceeded"), True, "spec.limits.maxDuration", id="out of time"),
    ],
)
def test_who_can_go_on(one: Any, stalled: bool, said: str) -> None:
    found = failed_for_good(one)
    assert (found is not None) is stalled
    assert found is None or said in found.message
    assert isinstance(one.told.problem, Problem)
