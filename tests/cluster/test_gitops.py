"""What GitOps sees: kstatus (Flux, kubectl) as its own library computes it, and Argo CD's health check."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from lupa.lua51 import LuaRuntime
from servicedb.api.common import API_VERSION, NEVER_OBSERVED
from servicedb.api.crd import KINDS
from servicedb.errors import Busy, NeedsDecision, Retryable, Terminal
from servicedb.plan.conditions import READY, RECONCILING, Finding, merged, of_problem

from tests.cluster.harness import Cluster, binaries
from tests.cluster.harness.run import run

ARGO: Final = Path(__file__).parents[2] / "manifests" / "gitops" / "argocd"
HEALTH: Final = (ARGO / "health.lua").read_text()
READY_NOW: Final = [Finding(READY, "True", "Ready", "")]
WORKING: Final = Finding(RECONCILING, "True", "Working", "the spec is being carried out")

# What an object tells, what kstatus and Argo CD make of it.
STATES: Final[dict[str, tuple[list[Finding], str, str]]] = {
    "ready": (READY_NOW, "Current", "Healthy"),
    "at the first visit": ([Finding(READY, "Unknown", "Working", ""), WORKING], "InProgress", "Progressing"),
    "ready, and being changed": ([*READY_NOW, WORKING], "InProgress", "Progressing"),
    "trying again": (of_problem(Retryable("Unreachable", "the server is away")), "InProgress", "Progressing"),
    "held by another": ([*READY_NOW, *of_problem(Busy("Locked", "locked"))], "InProgress", "Progressing"),
    "bad spec": (of_problem(Terminal("InvalidName", "no such name")), "Failed", "Degraded"),
    "waiting for a choice": (of_problem(NeedsDecision("Lost", "choose")), "Failed", "Degraded"),
    "suspended": ([*READY_NOW, Finding(RECONCILING, "False", "Suspended", "")], "Current", "Suspended"),
    "planned": ([*READY_NOW, Finding(RECONCILING, "False", "Planned", "")], "Current", "Suspended"),
    "objective missed": ([Finding(READY, "False", "BackupMissed", "late")], "InProgress", "Degraded"),
}
KIND_NAMES: Final = [resource.kind for resource, _ in KINDS]


def object_with(kind: str, findings: list[Finding], *, generation: int = 2, observed: int = 2) -> dict[str, Any]:
    conditions = merged((), findings, generation=observed, now=datetime(2026, 1, 1, tzinfo=UTC))
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": "one", "namespace": "shop", "generation": generation},
        "status": {"observedGeneration": observed, "conditions": [one.as_json() for one in conditions]},
    }


def kstatus(objects: list[dict[str, Any]]) -> list[str]:
    found: list[str] = json.loads(run(binaries.ensure(binaries.KSTATUS), text=json.dumps(objects)))
    return found


def argo(one: dict[str, Any]) -> dict[str, str]:
    """The result of the check, as Argo CD runs it: Lua 5.1, the object as `obj`."""
    lua = LuaRuntime()
    lua.globals().obj = lua.table_from(one, recursive=True)
    return dict(lua.execute(HEALTH))


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_every_state_of_every_kind_reads_as_it_is(kind: str) -> None:
    objects = {name: object_with(kind, findings) for name, (findings, _, _) in STATES.items()}
    computed = dict(zip(objects, kstatus(list(objects.values())), strict=True))
    assert computed == {name: wanted for name, (_, wanted, _) in STATES.items()}
    assert {name: argo(one)["status"] for name, one in objects.items()} == {
        name: wanted for name, (_, _, wanted) in STATES.items()
    }


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_an_object_that_was_not_looked_at_yet_is_not_ready(kind: str) -> None:
    new = object_with(kind, [], generation=1, observed=NEVER_OBSERVED)
    changed = object_with(kind, READY_NOW, generation=3)
    assert kstatus([new, changed]) == ["InProgress", "InProgress"]
    assert [argo(one)["status"] for one in (new, changed)] == ["Progressing", "Progressing"]


def test_argo_cd_shows_the_reason_and_what_to_do() -> None:
    one = object_with("ServiceDatabase", of_problem(Terminal("InvalidName", "correct spec.databaseName")))
    assert argo(one)["message"] == "InvalidName: correct spec.databaseName"


def test_argo_cd_is_given_the_check_for_every_kind(cluster: Cluster, tmp_path: Path) -> None:
    shutil.copytree(ARGO, tmp_path / "component")
    own = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "namespace": "argocd"}}
    (tmp_path / "argocd-cm.yaml").write_text(yaml.safe_dump(own | {"data": {"url": "https://argo.example.org"}}))
    (tmp_path / "kustomization.yaml").write_text("resources: [argocd-cm.yaml]\ncomponents: [component]\n")
    found = yaml.safe_load(cluster.kubectl("kustomize", str(tmp_path)))
    wanted = {f"resource.customizations.health.servicedb.io_{kind}": HEALTH for kind in KIND_NAMES}
    assert found["data"] == {"url": "https://argo.example.org"} | wanted
