"""mode Plan, driftPolicy Report, overrides, and `servicedb plan`, as their users meet them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import condition, wait_for
from tests.cluster.operator_process import ROOT
from tests.cluster.tenant import Tenant, everything_about_roles, roles_of, shown


def status(tenant: Tenant, name: str) -> dict[str, Any]:
    return (tenant.get(name) or {}).get("status") or {}


def wait_status(tenant: Tenant, name: str, what: str, holds: Callable[[dict[str, Any]], bool]) -> None:
    wait_for(f"{name}: {what}", lambda: holds(status(tenant, name)), told=lambda: shown(tenant.get(name)))


def wait_condition(tenant: Tenant, name: str, kind: str, status: str, reason: str) -> dict[str, Any]:
    def so() -> bool:
        found = condition(tenant.get(name), kind)
        return found is not None and (found["status"], found["reason"]) == (status, reason)

    wait_for(f"{name} {kind} {status} {reason}", so, told=lambda: shown(tenant.get(name)))
    return condition(tenant.get(name), kind) or {}


def test_under_report_a_change_by_hand_is_listed_and_stays_until_the_policy_is_repair(tenant: Tenant) -> None:
    tenant.create("reported", {"spec.driftPolicy": "Report"})
    tenant.wait_ready("reported")
    with tenant.server.connect() as connection:
        connection.execute("GRANT CONNECT ON DATABASE reported TO PUBLIC")
    wait_status(tenant, "reported", "listed", lambda seen: seen.get("drift") == ["database: PUBLIC holds CONNECT"])
    wait_condition(tenant, "reported", "InSync", "False", "Drifted")
    assert (condition(tenant.get("reported")) or {})["status"] == "True"
    before = everything_about_roles(tenant.server)
    tenant.annotate("reported", "reconcile-at", "now")
    wait_status(tenant, "reported", "looked at", lambda seen: seen.get("handled", {}).get("reconcileAt") == "now")
    assert everything_about_roles(tenant.server) == before
    tenant.change("reported", {"spec": {"driftPolicy": "Repair"}})
    wait_condition(tenant, "reported", "InSync", "True", "InSync")
    wait_status(tenant, "reported", "nothing listed", lambda seen: not seen.get("drift"))
    assert everything_about_roles(tenant.server) != before


def test_a_plan_is_written_and_carried_out_only_when_the_mode_says_so(tenant: Tenant) -> None:
    before = everything_about_roles(tenant.server)
    tenant.create("planned", {"spec.mode": "Plan"})
    wait_condition(tenant, "planned", "Reconciling", "False", "Planned")
    plan = status(tenant, "planned")["plan"]
    assert f"-- Secret {tenant.name}/planned-app: a new password, pending" in plan
    assert any(line.startswith('CREATE DATABASE "planned"') for line in plan)
    assert any("<SCRAM verifier>" in line for line in plan)
    assert everything_about_roles(tenant.server) == before
    assert tenant.secret("planned-app") is None
    tenant.change("planned", {"spec": {"mode": "Apply"}})
    tenant.wait_ready("planned")
    wait_status(tenant, "planned", "no plan any more", lambda seen: not seen.get("plan"))
    tenant.change("planned", {"spec": {"mode": "Plan", "schemas": [{"name": "more"}]}})
    wait_status(tenant, "planned", "planned anew", lambda seen: seen["observedGeneration"] == 3 and "plan" in seen)
    wait_status(
        tenant,
        "planned",
        "a schema",
        lambda seen: any(line.startswith('CREATE SCHEMA "more"') for line in seen["plan"]),
    )
    ready = condition(tenant.get("planned")) or {}
    assert (ready["status"], ready["observedGeneration"]) == ("True", 2)


def test_overrides_hold_for_a_table_that_comes_later(tenant: Tenant) -> None:
    tenant.create(
        "overridden",
        {
            "spec.roles.app.overrides": [{"table": "public.audit", "privileges": ["SELECT"]}],
            "spec.roles.migrator": {"secretName": "overridden-migrator"},
        },
    )
    tenant.wait_ready("overridden")
    waiting = wait_condition(tenant, "overridden", "InSync", "True", "InSync")
    assert waiting["message"] == "waiting for tables that overrides name: public.audit"
    with tenant.log_in("overridden-migrator") as migrator:
        migrator.execute("CREATE TABLE public.audit (id int); CREATE TABLE public.goods (id int)")
    wait_status(
        tenant, "overridden", "applied", lambda _: not (condition(tenant.get("overridden"), "InSync") or {})["message"]
    )
    with tenant.log_in("overridden-app") as app:
        app.execute("SELECT FROM public.audit")
        app.execute("INSERT INTO public.goods VALUES (1)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("INSERT INTO public.audit VALUES (1)")


def plan(cluster: Cluster, folder: Path, *arguments: str, text: str) -> subprocess.CompletedProcess[str]:
    """`servicedb plan` on a file with `text`."""
    file = folder / "wanted.yaml"
    file.write_text(text)
    command = [sys.executable, "-m", "servicedb", "plan", "-f", str(file), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": str(cluster.kubeconfig)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=120)


def test_servicedb_plan_tells_what_a_file_would_need(tenant: Tenant, cluster: Cluster, tmp_path: Path) -> None:
    text = yaml.safe_dump(tenant.manifest("onfile"))
    before = everything_about_roles(tenant.server)
    table = plan(cluster, tmp_path, text=text)
    assert (table.returncode, table.stderr) == (1, ""), table.stderr
    assert "CREATE DATABASE" in table.stdout
    answer = plan(cluster, tmp_path, "-o", "json", text=text)
    planned = json.loads(answer.stdout)
    assert [(one["namespace"], one["name"], one["database"]) for one in planned] == [(tenant.name, "onfile", "onfile")]
    assert planned[0]["steps"][0]["step"] == "CreateRole"
    assert next(step for step in planned[0]["steps"] if step["step"] == "PrepareSecret") == {
        "step": "PrepareSecret",
        "reason": "no password yet, or its Secret was lost",
        "text": f"-- Secret {tenant.name}/onfile-app: a new password, pending",
    }
    assert everything_about_roles(tenant.server) == before
    assert roles_of(tenant.server, "onfile") == set()
    assert tenant.get("onfile") is None
    tenant.create("onfile")
    tenant.wait_ready("onfile")
    in_sync = plan(cluster, tmp_path, text=text)
    assert (in_sync.returncode, in_sync.stderr) == (0, "")
    assert "no steps" in in_sync.stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("a: [", "is not YAML", id="bad YAML"),
        pytest.param("kind: Pod", "holds no ServiceDatabase", id="no ServiceDatabase"),
        pytest.param("- 1", "something else than Kubernetes objects", id="no objects"),
        pytest.param(
            "{apiVersion: servicedb.io/v1alpha1, kind: ServiceDatabase, metadata: {name: x}, spec: {}}",
            "cannot be read: spec.serverRef",
            id="no serverRef",
        ),
        pytest.param(
            "{apiVersion: servicedb.io/v1alpha1, kind: ServiceDatabase, metadata: {name: x}, "
            "spec: {serverRef: {name: none}, roles: {app: {secretName: x}}}}",
            'there is no DatabaseServer "none"',
            id="no server",
        ),
    ],
)
def test_what_can_not_be_planned_is_said_in_one_sentence(
    tenant: Tenant, cluster: Cluster, tmp_path: Path, text: str, words: str
) -> None:
    refused = plan(cluster, tmp_path, text=text)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1
