"""`servicedb adopt` on a real cluster: the databases of one that is no more."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.deletable import WEEK, keep_a_row, kept, make
from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import Objects, condition
from tests.cluster.operator_process import ROOT, OperatorProcess, Point
from tests.cluster.tenant import Tenant, marker_of
from tests.postgres.fixtures import StartServer


def adopt(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "SERVICEDB_"))}
    return subprocess.run(
        [sys.executable, "-m", "servicedb", "adopt", "--kubeconfig", str(cluster.kubeconfig), *arguments],
        env={**environment, "PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_databases_of_a_cluster_that_was_rebuilt_are_adopted(
    objects: Objects, cluster: Cluster, private_server: StartServer, tmp_path: Path
) -> None:
    before, nowhere = "00000000-0000-0000-0000-00000000dead", Point("servicedatabases/none/none", "")
    with Tenant.on(objects, private_server(18)) as tenant:
        with OperatorProcess.running(
            cluster.kubeconfig,
            tmp_path / "old",
            environment={"SERVICEDB_TEST_CLUSTER_UID": before},
            points=[nowhere],
        ):
            for name in ("orders", "invoices", "left"):
                make(tenant, name, WEEK)
                keep_a_row(tenant, name)
        tenant.delete("left")
        with OperatorProcess.running(cluster.kubeconfig, tmp_path / "new"):
            tenant.wait_reason("orders", "Conflict", says="servicedb adopt --from-cluster")
            shown = adopt(cluster, "--from-cluster", before, "--server", tenant.name, "-o", "json")
            assert shown.returncode == 0, shown.stderr
            rows = {row["database"]: row for row in json.loads(shown.stdout)}
            assert {name: row["result"] for name, row in rows.items()} == {
                "orders": "can be adopted",
                "invoices": "can be adopted",
                "left": f"left alone: there is no ServiceDatabase {tenant.name}/left here",
            }
            assert "nothing was changed; with --yes 2 of 3 are adopted" in shown.stderr
            assert getattr(marker_of(tenant.server, "orders"), "cluster", None) == before
            done = adopt(cluster, "--from-cluster", before, "--server", tenant.name, "--yes")
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[0].split() == [
                "SERVER", "DATABASE", "NAMESPACE", "NAME", "STATE", "RESULT",
            ]  # fmt: skip
            assert "2 of 3 were adopted" in done.stderr
            tenant.wait_ready("orders", "invoices")
            assert kept(tenant, "orders") == [("still here",)]
            assert getattr(marker_of(tenant.server, "left"), "cluster", None) == before
            assert condition(tenant.get("orders"), "Stalled") is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--from-cluster", "none"], "no database carries the mark of cluster none", id="none"),
        pytest.param(
            ["--from-cluster", "none", "--server", "nowhere"], "there is no DatabaseServer nowhere", id="no such server"
        ),
        pytest.param([], "Missing option '--from-cluster'", id="no cluster"),
    ],
)
def test_adopt_says_what_is_wrong_in_a_sentence(
    cluster: Cluster, objects: Objects, arguments: list[str], words: str
) -> None:
    ended = adopt(cluster, *arguments)
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
