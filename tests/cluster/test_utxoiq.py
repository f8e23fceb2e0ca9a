"""The example utxoiq as its users apply it: three years of data, a backup, and a run that archives and deletes.

The tests build on one another, in the order of the file.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import pyrage
import pytest
import yaml

from tests.cluster.api_server import ApiServer
from tests.cluster.harness import Cluster, store
from tests.cluster.installation import EXAMPLES, IN_TIME, client_pod, installed, psql, refusal

EXAMPLE: Final = "utxoiq"
PLACEHOLDER: Final = "age1-the-public-key-of-your-own"
RUNS_FOR: Final = "--timeout=240s"

PARTITIONS: Final = """
DO $$
DECLARE
    month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC') - interval '36 months';
BEGIN
    FOR n IN 1..36 LOOP
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF system_metrics FOR VALUES FROM (%L) TO (%L)',
            'system_metrics_p' || to_char(month, 'YYYYMMDD'),
            month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC'
        );
        month := month + interval '1 month';
    END LOOP;
END;
$$
"""
"""Those of three years: an application that has run for so long has them."""
ROWS: Final = (
    """
    INSERT INTO backfill_jobs (first_height, last_height, status, created_at, ended_at)
    SELECT n, n + 10, s.status, at, CASE WHEN s.status = 'done' THEN at END
    FROM generate_series(0, 1094) n, LATERAL (SELECT now() - n * interval '1 day' AS at) a,
         LATERAL (SELECT CASE WHEN n %% 100 = 7 THEN 'running' ELSE 'done' END AS status) s
    """.replace("%%", "%"),
    """
    INSERT INTO insight_feedback (user_id, insight_id, rating, created_at)
    SELECT gen_random_uuid(), gen_random_uuid(), 1 + n % 5, now() - n * interval '1 day'
    FROM generate_series(0, 1094) n
    """,
    """
    INSERT INTO system_metrics
    SELECT at, 'indexer', 'height', extract(epoch FROM at) / 600
    FROM generate_series(now() - interval '1094 days', now(), interval '3 hours') at
    """,
    "SELECT roll_up_system_metrics('-infinity')",
)


@pytest.fixture(scope="module")
def utxoiq(cluster: Cluster, api: ApiServer) -> Iterator[Cluster]:
    """With the operator, and the example with keys of its own, all Ready, and a pod that mounts the Secrets."""
    identity = pyrage.x25519.Identity.generate()
    manifests = cluster.kubectl("kustomize", str(EXAMPLES / EXAMPLE))
    assert manifests.count(PLACEHOLDER) == 2
    with installed(cluster):
        try:
            keys = {name: value.decode() for name, value in store.ensure(cluster).credentials.items()}
            cluster.kubectl("apply", "--filename", str(EXAMPLES / EXAMPLE / "namespace.yaml"))
            secrets = [secret("backups", keys), secret("age-identity", {"identity": str(identity)})]
            cluster.kubectl("apply", "--filename=-", text=yaml.safe_dump_all(secrets))
            cluster.kubectl("apply", "--filename=-", text=manifests.replace(PLACEHOLDER, str(identity.to_public())))
            for what in ("servicedatabase", "migrationrun"):
                ready = ["--for=condition=Ready", f"--namespace={EXAMPLE}", RUNS_FOR]
                cluster.kubectl("wait", *ready, f"{what}/utxoiq")
            client_pod(cluster, EXAMPLE)
            yield cluster
        finally:
            for wait in ("--wait=false", "--wait=true"):
                cluster.kubectl("delete", "-k", str(EXAMPLES / EXAMPLE), "--ignore-not-found", wait, IN_TIME)


def secret(name: str, values: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": EXAMPLE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


def ask(cluster: Cluster, statement: str, role: str = "app") -> str:
    return psql(cluster, f"utxoiq-{role}", statement, example=EXAMPLE)


def status(cluster: Cluster, kind: str) -> dict[str, Any]:
    words = ["get", kind, "daily", f"--namespace={EXAMPLE}", "--output=jsonpath={.status}"]
    found: dict[str, Any] = json.loads(cluster.kubectl(*words))
    return found


def run_now(cluster: Cluster, kind: str, condition: str) -> None:
    """Have it run out of turn, and wait until that went well."""
    named = [f"{kind}/daily", f"--namespace={EXAMPLE}"]
    cluster.kubectl("annotate", *named, "servicedb.io/run-at=now")
    cluster.kubectl("wait", f"--for=condition={condition}", *named, RUNS_FOR)


def test_three_years_are_backed_up_in_two_places(utxoiq: Cluster) -> None:
    ask(utxoiq, PARTITIONS, "migrator")
    psql(utxoiq, "utxoiq-app", *ROWS, example=EXAMPLE)
    run_now(utxoiq, "backupschedule", "LastBackupSucceeded")
    found = status(utxoiq, "backupschedule")
    assert found["backups"] >= 1  # the store may hold some of an earlier run
    assert "T01:00+00:00" in found["nextRun"]


def test_a_run_archives_and_deletes_what_is_old_and_keeps_the_aggregates(utxoiq: Cluster) -> None:
    days = ask(utxoiq, "SELECT count(*) FROM system_metrics_daily")
    old = int(ask(utxoiq, "SELECT count(*) FROM system_metrics WHERE ts < now() - interval '125 days'"))
    assert old > 0
    run_now(utxoiq, "retentionpolicy", "LastRunSucceeded")
    assert ask(utxoiq, "SELECT max(now() - created_at) < '181 days' FROM backfill_jobs WHERE status = 'done'") == "t"
    assert ask(utxoiq, "SELECT count(*) FROM backfill_jobs WHERE status = 'running'") == "11"
    assert ask(utxoiq, "SELECT count(*) BETWEEN 729 AND 731 FROM insight_feedback") == "t"
    oldest = "SELECT now() - min(ts) BETWEEN interval '89 days' AND interval '125 days' FROM system_metrics"
    assert ask(utxoiq, oldest) == "t"
    assert ask(utxoiq, "SELECT count(*) FROM system_metrics_daily") == days
    found = status(utxoiq, "retentionpolicy")
    rules = {one["table"]: one for one in found["lastRun"]["rules"]}
    assert {one["archivedRows"] - one["deletedRows"] for one in rules.values()} == {0}
    assert rules["public.system_metrics"]["deletedRows"] >= old
    assert rules["public.system_metrics"]["partitionsDropped"] >= 31
    assert {one["type"]: one["status"] for one in found["conditions"]} == dict.fromkeys(
        ("Ready", "LastRunSucceeded", "PartitionsAhead"), "True"
    )
    assert "T02:00+00:00" in found["nextRun"]


def test_partitions_are_there_for_the_months_to_come(utxoiq: Cluster) -> None:
    in_months = "now() + interval '80 days'"
    ask(utxoiq, f"INSERT INTO system_metrics VALUES ({in_months}, 'indexer', 'height', 1)")
    assert ask(utxoiq, "SELECT count(*) FROM system_metrics WHERE ts > now()") == "1"


def test_the_ledger_says_what_was_done_to_the_owner_alone(utxoiq: Cluster) -> None:
    tables = "SELECT count(*) > 0 FROM pg_tables WHERE schemaname = 'servicedb_retention'"
    assert ask(utxoiq, tables, "migrator") == "t"
    for role in ("app", "readonly"):
        said = refusal(utxoiq, f"utxoiq-{role}", "SELECT FROM servicedb_retention.runs", example=EXAMPLE)
        assert "permission denied for schema servicedb_retention" in said


def test_an_opinion_counts_once(utxoiq: Cluster) -> None:
    opinion = "INSERT INTO insight_feedback (user_id, insight_id, rating) SELECT user_id, insight_id, 1"
    said = refusal(utxoiq, "utxoiq-app", f"{opinion} FROM insight_feedback LIMIT 1", example=EXAMPLE)
    assert "duplicate key" in said
