"""The Job of a MigrationRun: what its pod gets, and above all what it does not."""

import json
from typing import Any

import pytest
from hypothesis import given
from servicedb.api.migration_run import MigrationRun
from servicedb.jobs.outcome import EXIT_CODES
from servicedb.migrate_command import migrate
from servicedb.plan.job_pod import EXIT_DECISION, EXIT_TERMINAL, Endpoint
from servicedb.plan.migration_command import arguments
from servicedb.plan.migration_job import RUN_UID, job
from servicedb.plan.migration_order import Order

from tests.api.examples import FULL_RUN, MINIMAL_RUN, Manifest, changed
from tests.api.generated import run_manifests

ENDPOINT = Endpoint("pg.example.org", 5432, "onboarding", "verify-full", "-----BEGIN CERTIFICATE-----\n")
INLINE = changed(
    MINIMAL_RUN, {"spec.source": {"inline": [{"name": "seeds/dev/1.sql", "content": "SELECT 1"}]}, "metadata.uid": "u"}
)


IMAGE = changed(MINIMAL_RUN, {"spec.source": {"image": {"reference": "ghcr.io/acme/migrations:1", "path": "/sql"}}})


def order(manifest: Manifest = MINIMAL_RUN) -> Order:
    run = MigrationRun.parse(changed(manifest, {"metadata.uid": "run-1"}))
    digest = "sha256:1" if run.spec.source.image is None else None
    keys = {one.name: ("1.sql", "2.sql") for one in run.spec.source.config_maps if one.path is not None}
    return Order(run, "onboarding-0123456789", digest, "onboarding-migrator", ENDPOINT, "servicedb:1", keys)


def pod_of(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["template"]["spec"]
    return found


@given(run_manifests())
def test_every_pod_is_as_pod_security_restricted_wants_it_and_has_no_token(manifest: Manifest) -> None:
    pod = pod_of(job(order(manifest)))
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in (*pod["containers"], *pod.get("initContainers", ())):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    sources = [source for volume in pod["volumes"] for source in volume.get("projected", {}).get("sources", ())]
    assert not any("serviceAccountToken" in source for source in sources)


def test_of_all_secrets_it_gets_the_migrators_name_and_password() -> None:
    volumes = json.dumps(pod_of(job(order()))["volumes"])
    assert volumes.count('"secret"') == 1
    secret = pod_of(job(order()))["volumes"][0]["projected"]["sources"][0]["secret"]
    assert secret["name"] == "onboarding-migrator"
    assert [item["key"] for item in secret["items"]] == ["user", "password"]


def test_where_the_password_goes_is_the_servers_to_say() -> None:
    manifest = job(order())
    sources = pod_of(manifest)["volumes"][0]["projected"]["sources"]
    annotations = manifest["spec"]["template"]["metadata"]["annotations"]
    files = {
        item["path"]: annotations[item["fieldRef"]["fieldPath"].split("'")[1]]
        for item in sources[1]["downwardAPI"]["items"]
    }
    assert files == {
        "host": "pg.example.org",
        "port": "5432",
        "dbname": "onboarding",
        "sslmode": "verify-full",
        "ca.crt": "-----BEGIN CERTIFICATE-----\n",
    }


def test_inline_files_come_as_annotations() -> None:
    manifest = job(order(INLINE))
    (source,) = pod_of(manifest)["volumes"][1]["projected"]["sources"]
    (item,) = source["downwardAPI"]["items"]
    name = item["fieldRef"]["fieldPath"].split("'")[1]
    assert (item["path"], manifest["spec"]["template"]["metadata"]["annotations"][name]) == (
        "seeds/dev/1.sql",
        "SELECT 1",
    )


def test_files_of_a_config_map_with_a_path_stand_in_that_folder() -> None:
    sources = [{"name": "migrations"}, {"name": "seeds", "path": "seeds/dev"}]
    volume = pod_of(job(order(changed(MINIMAL_RUN, {"spec.source.configMaps": sources}))))["volumes"][1]
    items = [{"key": key, "path": f"seeds/dev/{key}"} for key in ("1.sql", "2.sql")]
    assert volume["projected"]["sources"] == [
        {"configMap": {"name": "migrations"}},
        {"configMap": {"name": "seeds", "items": items}},
    ]


def test_the_image_with_the_files_sees_an_empty_folder_and_nothing_else() -> None:
    pod = pod_of(job(order(IMAGE)))
    (container,) = pod["initContainers"]
    assert container["image"] == "ghcr.io/acme/migrations:1"
    assert container["command"] == ["cp", "-RP", "/sql/.", "/run/servicedb/migrations"]
    assert "args" not in container
    assert "env" not in container
    (mount,) = container["volumeMounts"]
    (volume,) = [one for one in pod["volumes"] if one["name"] == mount["name"]]
    assert set(volume) == {"name", "emptyDir"}
    (own,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == mount["name"]]
    assert (own["mountPath"], own["readOnly"]) == ("/run/servicedb/migrations", True)


def test_of_an_image_nobody_has_seen_the_files_and_none_of_them_is_a_link() -> None:
    line = list(arguments(order(IMAGE)))
    assert "--no-links" in line
    assert not any(word.startswith(("--source-digest", "--archives")) for word in line)


@pytest.mark.parametrize("action", ["Down", "ClearSeeds"])
def test_what_stands_in_the_history_needs_no_image(action: str) -> None:
    changes = {"spec.action": action, "spec.target": "1", "spec.seeds": {"environment": "dev"}}
    assert "initContainers" not in pod_of(job(order(changed(IMAGE, changes))))


def test_a_copy_that_failed_ends_the_job_and_one_that_was_killed_does_not() -> None:
    *_, rule = job(order(IMAGE))["spec"]["podFailurePolicy"]["rules"]
    codes = {"containerName": "files", "operator": "NotIn", "values": [137, 143]}
    assert rule == {"action": "FailJob", "onExitCodes": codes}


def test_what_a_person_has_to_see_to_ends_the_job_and_a_drained_node_does_not() -> None:
    ignored, failed = job(order())["spec"]["podFailurePolicy"]["rules"]
    assert (ignored["action"], ignored["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")
    assert failed["action"] == "FailJob"
    ends = {EXIT_CODES["Terminal"], EXIT_CODES["NeedsDecision"]}
    assert ends == {EXIT_TERMINAL, EXIT_DECISION} <= set(failed["onExitCodes"]["values"])
    assert not set(failed["onExitCodes"]["values"]) & {EXIT_CODES["Retryable"], 137}


def test_it_goes_with_its_run_and_is_found_by_it() -> None:
    metadata = job(order())["metadata"]
    assert metadata["ownerReferences"][0]["uid"] == metadata["labels"][RUN_UID] == "run-1"


def test_what_the_spec_says_of_the_pod_is_done() -> None:
    manifest = job(order(FULL_RUN))
    pod = pod_of(manifest)
    assert manifest["spec"]["activeDeadlineSeconds"] == 3600
    assert pod["serviceAccountName"] == "migrations"
    assert pod["nodeSelector"] == {"example.org/pool": "jobs"}
    assert pod["tolerations"] == FULL_RUN["spec"]["job"]["tolerations"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    assert pod["containers"][0]["resources"] == FULL_RUN["spec"]["job"]["resources"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        pytest.param({}, ["up", "--target=Latest", "--source-digest=sha256:1", "--format=Auto"], id="up"),
        pytest.param({"spec.outOfOrder": "Allow"}, ["--out-of-order"], id="out of order"),
        pytest.param({"spec.lockTimeout": "1m"}, ["--lock-timeout=60000ms"], id="a duration"),
        pytest.param(
            {"spec.hooks": {"before": ["a.sql"], "after": ["-b.sql"]}}, ["--before=a.sql", "--after=-b.sql"], id="hooks"
        ),
        pytest.param(
            {"spec.decisions": [{"version": "7", "digest": "sha256:" + "0" * 64, "choice": "Done"}]},
            ["--decision=7:Done:sha256:" + "0" * 64],
            id="a decision",
        ),
        pytest.param({"spec.seeds": {"environment": "dev"}}, ["up", "--environment=dev"], id="seeds"),
        pytest.param({"spec.adoptHistory": {"format": "Goose"}}, ["--adopt=Goose"], id="a history"),
        pytest.param(
            {"spec.adoptHistory": {"format": "Table", "table": "a.b", "versionColumn": "v"}},
            ["--adopt=Table", "--adopt-table=a.b", "--adopt-version-column=v"],
            id="a table",
        ),
        pytest.param({}, ["--archives"], id="archives"),
        pytest.param(
            {"spec.tenants": {"list": ["a", "b"], "parallel": 2}},
            ["--tenant=a", "--tenant=b", "--parallel=2", "--canary=1", "--max-failures=0"],
            id="tenants",
        ),
        pytest.param(
            {"spec.tenants": {"query": "SELECT $$a$$", "create": True}},
            ["--tenants-query=SELECT $$a$$", "--create-tenants"],
            id="tenants that a query names",
        ),
        pytest.param({"spec.action": "Down", "spec.target": "1"}, ["down", "--target=1"], id="down"),
    ],
)
def test_the_command_line_says_what_the_spec_says(changes: dict[str, Any], told: list[str]) -> None:
    line = list(arguments(order(changed(MINIMAL_RUN, changes))))
    assert line[0] == "migrate"
    assert [word for word in told if word not in line] == []


def test_kubernetes_replaces_nothing_in_it() -> None:
    """Source: Kubernetes documentation, "Define a Command and Arguments for a Container"."""
    asked = {"spec.tenants": {"query": "SELECT $$a$$ || '$(HOSTNAME)'"}}
    (container,) = pod_of(job(order(changed(MINIMAL_RUN, asked))))["containers"]
    assert "--tenants-query=SELECT $$$$a$$$$ || '$$(HOSTNAME)'" in container["args"]


@pytest.mark.parametrize("action", ["Up", "Down", "Verify", "Plan", "Seed", "ClearSeeds"])
def test_the_command_understands_every_line(action: str) -> None:
    changes = {"spec.action": action, "spec.target": "7", "spec.outOfOrder": "Allow"}
    line = list(arguments(order(changed(FULL_RUN, changes))))
    assert line[0] == "migrate"
    context = migrate.commands[line[1]].make_context(line[1], line[2:])
    assert not context.args


def test_only_what_can_t_be_done_twice_says_who_asks() -> None:
    down = changed(MINIMAL_RUN, {"spec.action": "Down", "spec.target": "1"})
    assert any(word.startswith("--identity=kyc/onboarding/") for word in arguments(order(down)))
    assert not any(word.startswith("--identity=") for word in arguments(order()))
