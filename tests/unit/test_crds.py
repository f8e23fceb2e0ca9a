"""The CRDs as they are generated: what `crds/` holds, and what every schema keeps to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from servicedb.api.backup_schedule import BackupSchedule
from servicedb.api.common import Object, Unreadable
from servicedb.api.crd import KINDS, SCHEMA_HASH, crd_files, crds, schema_hash, schema_hashes
from servicedb.api.database_backup import DatabaseBackup
from servicedb.api.database_restore import DatabaseRestore
from servicedb.api.database_server import DatabaseServer
from servicedb.api.migration_run import MigrationRun
from servicedb.api.retention_policy import RetentionPolicy
from servicedb.api.schema import VALIDATIONS
from servicedb.api.service_database import ServiceDatabase

from tests.api.examples import (
    FULL_EXAMPLES,
    MINIMAL_EXAMPLES,
    Manifest,
)
from tests.api.generated import (
    backup_manifests,
    database_manifests,
    policy_manifests,
    restore_manifests,
    run_manifests,
    schedule_manifests,
    server_manifests,
)
from tests.api.violations import Violation, violations

CHECKED_IN = Path(__file__).parents[2] / "crds"
SCHEMAS = {crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in crds()}
MODELS: dict[str, type[Object]] = {resource.kind: model for resource, model in KINDS}

Field = tuple[str, dict[str, Any]]


def fields(schema: dict[str, Any], path: str) -> Iterator[Field]:
    """Each schema within `schema`, with its path; [] stands for a list's items, {} for a map's values."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from fields(part, f"{path}.{name}")
    if "items" in schema:
        yield from fields(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from fields(schema["additionalProperties"], path + "{}")


FIELDS = [field for kind, schema in SCHEMAS.items() for field in fields(schema, kind)]


def faults(condition: Any) -> list[str]:
    return [path for path, schema in FIELDS if condition(path, schema)]


def test_the_checked_in_files_are_current() -> None:
    assert {file.name: file.read_text() for file in CHECKED_IN.glob("*.yaml")} == crd_files()


def test_kustomize_is_given_every_file() -> None:
    assert yaml.safe_load((CHECKED_IN / "Kustomization").read_text())["resources"] == sorted(crd_files())


def test_the_files_hold_what_is_generated() -> None:
    assert [yaml.safe_load(text) for text in crd_files().values()] == crds()


def test_every_field_is_described() -> None:
    def undescribed(path: str, schema: dict[str, Any]) -> bool:
        return not path.endswith(("[]", "{}", ".metadata")) and len(schema.get("description", "")) < 10

    assert faults(undescribed) == []


def test_every_description_and_message_is_a_sentence_of_one_line() -> None:
    texts = [schema["description"] for _, schema in FIELDS if "description" in schema]
    messages = [rule["message"] for _, schema in FIELDS for rule in schema.get(VALIDATIONS, ())]
    assert [text for text in texts if not text.endswith(".") or "\n" in text or "  " in text] == []
    assert [message for message in messages if ":" not in message or message.endswith(".")] == []


def test_every_list_is_bounded_and_says_how_it_is_merged() -> None:
    lists = [(path, schema) for path, schema in FIELDS if schema["type"] == "array"]
    assert [path for path, schema in lists if "maxItems" not in schema] == []
    assert [path for path, schema in lists if "x-kubernetes-list-type" not in schema] == []
    objects = [(path, schema) for path, schema in lists if schema["items"]["type"] == "object"]
    assert objects
    for path, schema in objects:
        assert schema["x-kubernetes-list-type"] == "map", path
        assert set(schema["x-kubernetes-list-map-keys"]) <= set(schema["items"]["required"]), path


def test_every_map_is_bounded() -> None:
    assert faults(lambda _, schema: "additionalProperties" in schema and "maxProperties" not in schema) == []


def test_every_string_is_bounded() -> None:
    def unbounded(path: str, schema: dict[str, Any]) -> bool:
        bounded = schema.keys() & {"maxLength", "enum"} or schema.get("format") == "date-time"
        return schema["type"] == "string" and not bounded and not path.endswith((".apiVersion", ".kind"))

    assert faults(unbounded) == []


def test_every_number_is_bounded() -> None:
    assert faults(lambda _, schema: schema["type"] == "integer" and "minimum" not in schema) == []
    assert (
        faults(lambda path, schema: ".spec" in path and schema["type"] == "integer" and "maximum" not in schema) == []
    )


def test_no_default_stands_inside_of_a_list() -> None:
    assert faults(lambda path, schema: "[]" in path and "default" in schema) == []


def test_the_only_default_in_a_status_is_that_nothing_was_observed() -> None:
    defaults = {path: schema["default"] for path, schema in FIELDS if ".status" in path and "default" in schema}
    assert defaults == {f"{kind}.status": {"observedGeneration": -1} for kind in SCHEMAS}


def test_no_schema_holds_what_the_api_server_refuses() -> None:
    refused = {"$ref", "anyOf", "allOf", "oneOf", "title", "const", "$defs", "prefixItems", "propertyNames"}
    assert faults(lambda _, schema: bool(schema.keys() & refused)) == []


def test_rules_that_look_back_stand_on_the_spec_or_the_root_only() -> None:
    """On an optional field they would not be asked when it comes or goes."""
    looking_back = faults(lambda _, schema: any("oldSelf" in rule["rule"] for rule in schema.get(VALIDATIONS, ())))
    assert set(looking_back) == {
        "DatabaseServer.spec",
        "ServiceDatabase",
        "ServiceDatabase.spec",
        "MigrationRun.spec",
        "DatabaseBackup.spec",
        "DatabaseRestore.spec",
        "RetentionPolicy.spec",
    }


def test_each_crd_carries_the_hash_of_its_schema() -> None:
    for crd in crds():
        schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        assert schema_hashes()[crd["metadata"]["name"]] == schema_hash(schema)
        assert crd["metadata"]["annotations"][SCHEMA_HASH] == schema_hash(schema)


def test_the_hash_moves_with_the_fields_and_not_with_their_descriptions() -> None:
    schema = {"type": "object", "properties": {"description": {"type": "string", "description": "One."}}}
    described = {"type": "object", "properties": {"description": {"type": "string", "description": "Two."}}}
    retyped = {"type": "object", "properties": {"description": {"type": "integer", "description": "One."}}}
    assert schema_hash(schema) == schema_hash(described)
    assert schema_hash(schema) != schema_hash(retyped)


def test_the_kind_is_found_by_service_binding() -> None:
    labels = {crd["spec"]["names"]["kind"]: crd["metadata"].get("labels", {}) for crd in crds()}
    assert labels == {
        "DatabaseServer": {},
        "ServiceDatabase": {"servicebinding.io/provisioned-service": "true"},
        "MigrationRun": {},
        "BackupSchedule": {},
        "DatabaseBackup": {},
        "DatabaseRestore": {},
        "RetentionPolicy": {},
    }


ALTERNATIVES = {
    "DatabaseServer": {"spec.allowedNamespaces.names"},
    "MigrationRun": {"spec.source.configMaps", "spec.source.inline", "spec.tenants.list", "spec.tenants.query"},
    "BackupSchedule": {"spec.selector", "spec.storage.volume", "spec.copies[].volume"},
    "DatabaseBackup": {"spec.storage.volume"},
    "DatabaseRestore": {"spec.source.backupRef", "spec.source.storage.volume"},
    "RetentionPolicy": {
        "spec.archive.storage.volume",
        "spec.archive.copies[].volume",
        "spec.rules[].where",
        "spec.rules[].partition",
    },
}
"""What can't stand beside what the full example has instead."""


@pytest.mark.parametrize("example", FULL_EXAMPLES, ids=lambda example: example["kind"])
def test_the_full_example_sets_every_field(example: Manifest) -> None:
    """So that the tests that go through its fields go through all of them."""

    def unset(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
        for name, part in schema.get("properties", {}).items():
            if name not in value:
                yield f"{path}.{name}"
            else:
                yield from unset(value[name], part, f"{path}.{name}")
        if "items" in schema:
            for item in value:
                yield from unset(item, schema["items"], f"{path}[]")

    missing = set(unset(example["spec"], SCHEMAS[example["kind"]]["properties"]["spec"], "spec"))
    assert missing == ALTERNATIVES.get(example["kind"], set())


@pytest.mark.parametrize("example", FULL_EXAMPLES, ids=lambda example: example["kind"])
def test_the_models_lose_nothing_of_the_full_example(example: Manifest) -> None:
    read = MODELS[example["kind"]].parse(example).as_json()["spec"]
    assert _without_empty(read) == _without_empty(example["spec"])


@pytest.mark.parametrize("example", MINIMAL_EXAMPLES, ids=lambda example: example["kind"])
def test_the_models_fill_in_the_defaults_of_the_schema(example: Manifest) -> None:
    """An object may have been stored before a field and its default were there."""

    def filled(value: Any, schema: dict[str, Any]) -> Any:
        if "properties" not in schema:
            return value
        defaults = {name: part["default"] for name, part in schema["properties"].items() if "default" in part}
        return {name: filled(part, schema["properties"][name]) for name, part in (defaults | value).items()}

    spec = MODELS[example["kind"]].parse(example).as_json()["spec"]
    assert _without_empty(spec) == filled(example["spec"], SCHEMAS[example["kind"]]["properties"]["spec"])


CAUGHT_BY_THE_API_SERVER_ALONE = {"twice", "unknown", "null", "type"}


@pytest.mark.parametrize(
    "violation",
    [
        violation
        for example in FULL_EXAMPLES
        for violation in violations(example, SCHEMAS[example["kind"]])
        if violation.bound not in CAUGHT_BY_THE_API_SERVER_ALONE
    ],
    ids=str,
)
def test_the_models_know_the_bounds_of_the_schema(violation: Violation) -> None:
    with pytest.raises(Unreadable, match="cannot be read"):
        MODELS[violation.manifest["kind"]].parse(violation.manifest)


@given(server_manifests())
@settings(deadline=None)
def test_generated_servers_parse_to_what_they_say(manifest: Manifest) -> None:
    assert _says(DatabaseServer.parse(manifest).as_json()["spec"], manifest["spec"])


@given(database_manifests())
@settings(deadline=None)
def test_generated_databases_parse_to_what_they_say(manifest: Manifest) -> None:
    assert _says(ServiceDatabase.parse(manifest).as_json()["spec"], manifest["spec"])


@given(run_manifests())
@settings(deadline=None)
def test_generated_runs_parse_to_what_they_say(manifest: Manifest) -> None:
    assert _says(MigrationRun.parse(manifest).as_json()["spec"], manifest["spec"])


@given(schedule_manifests())
@settings(deadline=None)
def test_generated_schedules_parse_to_what_they_say(manifest: Manifest) -> None:
    assert _says(BackupSchedule.parse(manifest).as_json()["spec"], manifest["spec"])


@given(backup_manifests())
@settings(deadline=None)
def test_generated_backups_parse_to_what_they_say(manifest: Manifest) -> None:
    assert _says(DatabaseBackup.parse(manifest).as_json()["spec"], manifest["spec"])


@given(restore_manifests())
@settings(deadline=None)
def test_generated_restores_parse_to_what_they_say(manifest: Manifest) -> None:
    assert _says(DatabaseRestore.parse(manifest).as_json()["spec"], manifest["spec"])


@given(policy_manifests())
@settings(deadline=None)
def test_generated_policies_parse_to_what_they_say(manifest: Manifest) -> None:
    assert _says(RetentionPolicy.parse(manifest).as_json()["spec"], manifest["spec"])


def _says(read: Any, written: Any) -> bool:
    """Whether all that stands in `written` stands in `read`."""
    if isinstance(written, dict):
        return all(key in read and _says(read[key], part) for key, part in written.items())
    if isinstance(written, list):
        return len(read) == len(written) and all(map(_says, read, written))
    return bool(read == written)


def _without_empty(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_empty(part) for part in value]
    if not isinstance(value, dict):
        return value
    pruned = {key: _without_empty(part) for key, part in value.items()}
    return {key: part for key, part in pruned.items() if part not in ({}, [])}
