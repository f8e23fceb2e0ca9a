"""The systems in manifests/examples/: what they name is there, and what is there is named."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic import BaseModel
from servicedb.api.backup_schedule import BackupSchedule
from servicedb.api.database_server import DatabaseServer
from servicedb.api.migration_run import MigrationRun
from servicedb.api.service_database import ServiceDatabase
from servicedb.plan.migrations.sections import Format
from servicedb.plan.migrations.source import read_source

EXAMPLES: Final = Path(__file__).parents[2] / "manifests" / "examples"
SYSTEMS: Final = sorted(file.parent.name for file in EXAMPLES.glob("*/server.yaml"))
"""Without the folders that build on another's."""
BACKUPS: Final = sorted(file.parent.name for file in EXAMPLES.glob("*-backups/kustomization.yaml"))
"""Those that add backups to a system."""
MODELS: Final[dict[str, type[BaseModel]]] = {
    "DatabaseServer": DatabaseServer,
    "ServiceDatabase": ServiceDatabase,
    "MigrationRun": MigrationRun,
}


def kustomization(system: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((EXAMPLES / system / "kustomization.yaml").read_text())
    return found


def manifests(system: str) -> list[dict[str, Any]]:
    files = [EXAMPLES / system / name for name in kustomization(system)["resources"]]
    return [document for file in files for document in yaml.safe_load_all(file.read_text())]


def config_maps(system: str) -> dict[str, list[Path]]:
    return {
        generator["name"]: [EXAMPLES / system / file for file in generator["files"]]
        for generator in kustomization(system)["configMapGenerator"]
    }


def named(system: str, kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in manifests(system) if one["kind"] == kind}


@pytest.mark.parametrize("system", SYSTEMS)
def test_its_objects_are_what_the_kinds_take(system: str) -> None:
    for document in manifests(system):
        if document["kind"] in MODELS:
            MODELS[document["kind"]].model_validate({**document, "metadata": {**document["metadata"], "uid": "u"}})


@pytest.mark.parametrize("system", SYSTEMS)
def test_one_namespace_holds_all_of_it_but_the_server(system: str) -> None:
    (namespace,) = named(system, "Namespace")
    for one in manifests(system):
        if one["kind"] in MODELS:
            assert one["metadata"].get("namespace") == (None if one["kind"] == "DatabaseServer" else namespace)


@pytest.mark.parametrize("system", SYSTEMS)
def test_what_its_objects_refer_to_is_there(system: str) -> None:
    for one in manifests(system):
        match one["kind"]:
            case "ServiceDatabase":
                assert one["spec"]["serverRef"]["name"] in named(system, "DatabaseServer")
            case "MigrationRun":
                assert one["spec"]["databaseRef"]["name"] in named(system, "ServiceDatabase")
                sources = {source["name"] for source in one["spec"]["source"]["configMaps"]}
                assert sources <= config_maps(system).keys()


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_sql_file_stands_in_a_config_map(system: str) -> None:
    """One that does not would be forgotten in silence."""
    listed = {file for files in config_maps(system).values() for file in files}
    assert listed == {*(EXAMPLES / system).rglob("*.sql")}


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_files_of_its_runs_are_migrations_and_the_seeds_that_are_asked_for(system: str) -> None:
    for run in (one["spec"] for one in manifests(system) if one["kind"] == "MigrationRun"):
        files: dict[str, bytes] = {}
        for part in run["source"]["configMaps"]:
            folder = f"{part['path']}/" if "path" in part else ""
            files |= {f"{folder}{file.name}": file.read_bytes() for file in config_maps(system)[part["name"]]}
        source = read_source(files, format=Format(run.get("format", "Auto")))
        assert source.migrations
        assert {*source.seeds} == ({run["seeds"]["environment"]} if "seeds" in run else set())


def test_no_two_systems_share_a_server_object() -> None:
    """A DatabaseServer is of the whole cluster: the second system applied would change the first's."""
    servers = [server for system in SYSTEMS for server in named(system, "DatabaseServer")]
    assert len(servers) == len({*servers})


@pytest.mark.parametrize("folder", BACKUPS)
def test_the_backups_of_a_system_are_of_databases_that_it_has(folder: str) -> None:
    system = folder.removesuffix("-backups")
    assert kustomization(folder)["resources"] == [f"../{system}", "nightly.yaml"]
    document = yaml.safe_load((EXAMPLES / folder / "nightly.yaml").read_text())
    schedule = BackupSchedule.model_validate({**document, "metadata": {**document["metadata"], "uid": "u"}})
    assert {schedule.metadata.namespace} == named(system, "Namespace")
    assert {one.name for one in schedule.spec.database_refs} <= named(system, "ServiceDatabase")
    if schedule.spec.verify is not None:
        assert schedule.spec.verify.server_ref.name in named(system, "DatabaseServer")
