"""The example utxoiq as its users apply it, with keys of their own, and three years of data for it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pyrage
import yaml

from tests.cluster.harness import Cluster, store
from tests.cluster.installation import EXAMPLES, IN_TIME, client_pod, psql

EXAMPLE: Final = "utxoiq"
_PLACEHOLDER: Final = "age1-the-public-key-of-your-own"
_RUNS_FOR: Final = "--timeout=240s"

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


@contextmanager
def applied(cluster: Cluster) -> Iterator[None]:
    """With the example, where the operator is: all Ready, and a pod that mounts its Secrets."""
    identity = pyrage.x25519.Identity.generate()
    manifests = cluster.kubectl("kustomize", str(EXAMPLES / EXAMPLE))
    assert manifests.count(_PLACEHOLDER) == 2
    try:
        keys = {name: value.decode() for name, value in store.ensure(cluster).credentials.items()}
        cluster.kubectl("apply", "--filename", str(EXAMPLES / EXAMPLE / "namespace.yaml"))
        secrets = [_secret("backups", keys), _secret("age-identity", {"identity": str(identity)})]
        cluster.kubectl("apply", "--filename=-", text=yaml.safe_dump_all(secrets))
        cluster.kubectl("apply", "--filename=-", text=manifests.replace(_PLACEHOLDER, str(identity.to_public())))
        for what in ("servicedatabase", "migrationrun"):
            ready = ["--for=condition=Ready", f"--namespace={EXAMPLE}", _RUNS_FOR]
            cluster.kubectl("wait", *ready, f"{what}/utxoiq")
        client_pod(cluster, EXAMPLE)
        yield
    finally:
        for wait in ("--wait=false", "--wait=true"):
            cluster.kubectl("delete", "-k", str(EXAMPLES / EXAMPLE), "--ignore-not-found", wait, IN_TIME)


def _secret(name: str, values: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": EXAMPLE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values}


def fill(cluster: Cluster) -> None:
    """Three years of data."""
    ask(cluster, PARTITIONS, "migrator")
    psql(cluster, "utxoiq-app", *ROWS, example=EXAMPLE)


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
    cluster.kubectl("wait", f"--for=condition={condition}", *named, _RUNS_FOR)
