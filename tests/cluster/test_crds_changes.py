"""What may change in a stored object, and what the API server says to what may not."""

import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from servicedb.api.crd import definition
from servicedb.api.database_server import RESOURCE, DatabaseServer

from tests.api.examples import (
    FULL_BACKUP,
    FULL_DATABASE,
    FULL_SCHEDULE,
    FULL_SERVER,
    GONE,
    MINIMAL_DATABASE,
    MINIMAL_POLICY,
    MINIMAL_RESTORE,
    MINIMAL_RUN,
    MINIMAL_SCHEDULE,
    MINIMAL_SERVER,
    Manifest,
    changed,
)
from tests.cluster.api_server import ApiServer, Refused, placed
from tests.cluster.harness.cluster import Cluster

Store = Callable[[Manifest], Manifest]


@pytest.fixture
def store(api: ApiServer, namespace: str) -> Iterator[Store]:
    """Stores a manifest under a name of its own, and gives it back under that name."""
    stored: list[Manifest] = []

    def create(manifest: Manifest) -> Manifest:
        named = changed(placed(manifest, namespace), {"metadata.name": f"stored-{secrets.token_hex(6)}"})
        api.create(named)
        stored.append(named)
        return named

    yield create
    for manifest in stored:
        api.delete(manifest)


SERVER_REF = "spec.serverRef cannot be changed: make another ServiceDatabase on that server and move the data"
ENCODING = "spec.encoding cannot be changed, a database is made with it: make another ServiceDatabase"
LOCALE = "spec.locale cannot be changed, added or removed, a database is made with it"
PROVIDER = "spec.localeProvider cannot be changed, added or removed, a database is made with it"
NAMING = "spec.naming cannot be changed, since databases are named by it: make another DatabaseServer"
RESTORED_ONCE = "spec cannot be changed, a restore is made once: make another DatabaseRestore"
NAME_CHANGED = (
    "spec.databaseName cannot be changed or removed: put orders back, or delete this ServiceDatabase and make another"
)
NAME_ADDED = (
    "spec.databaseName may only be set to the name that the database has, status.databaseName: "
    "leave it out, or set it to that"
)


class Change(NamedTuple):
    base: Manifest
    before: dict[str, Any]
    after: dict[str, Any]
    sentence: str


IMMUTABLE: list[tuple[str, Manifest, dict[str, Any], dict[str, Any], str]] = [
    (
        "another database of a run",
        MINIMAL_RUN,
        {},
        {"spec.databaseRef.name": "other"},
        "spec.databaseRef cannot be changed: make another MigrationRun for that database",
    ),
    (
        "another set",
        MINIMAL_RUN,
        {},
        {"spec.set": "reports"},
        "spec.set cannot be changed, it names the history: make another MigrationRun for that set",
    ),
    (
        "another database of a policy",
        MINIMAL_POLICY,
        {},
        {"spec.databaseRef.name": "other"},
        "spec.databaseRef cannot be changed: make another RetentionPolicy for that database",
    ),
    *(
        (f"another {field} of a backup", FULL_BACKUP, {}, {path: value}, f"spec.{field} cannot be changed")
        for field, path, value in (
            ("key", "spec.key", "1-1/20260301T020000Z-0123abcd/manifest.json"),
            ("key", "spec.key", GONE),
            ("databaseRef", "spec.databaseRef.name", "other"),
            ("scheduleRef", "spec.scheduleRef", GONE),
            ("storage", "spec.storage.s3.bucket", "other"),
            ("encryption", "spec.encryption", GONE),
        )
    ),
    *(
        (f"another {path} of a restore", MINIMAL_RESTORE, {}, {path: value}, RESTORED_ONCE)
        for path, value in (
            ("spec.overwrite", "RenameOld"),
            ("spec.parallel", 3),
            ("spec.source.backupRef.name", "other"),
            ("spec.schemas", ["public"]),
        )
    ),
    ("another server", MINIMAL_DATABASE, {}, {"spec.serverRef.name": "other"}, SERVER_REF),
    ("another encoding", MINIMAL_DATABASE, {"spec.encoding": "LATIN1"}, {"spec.encoding": "UTF8"}, ENCODING),
    ("the default encoding to another", MINIMAL_DATABASE, {}, {"spec.encoding": "LATIN1"}, ENCODING),
    ("another encoding left out", MINIMAL_DATABASE, {"spec.encoding": "LATIN1"}, {"spec.encoding": GONE}, ENCODING),
    ("another locale", MINIMAL_DATABASE, {"spec.locale": "C"}, {"spec.locale": "de_DE"}, LOCALE),
    ("a locale set later", MINIMAL_DATABASE, {}, {"spec.locale": "C"}, LOCALE),
    ("a locale removed", MINIMAL_DATABASE, {"spec.locale": "C"}, {"spec.locale": GONE}, LOCALE),
    ("another provider", FULL_DATABASE, {}, {"spec.localeProvider": "ICU"}, PROVIDER),
    ("a provider set later", MINIMAL_DATABASE, {}, {"spec.localeProvider": "Libc"}, PROVIDER),
    ("a provider removed", FULL_DATABASE, {}, {"spec.localeProvider": GONE}, PROVIDER),
    ("another naming", MINIMAL_SERVER, {"spec.naming": "NamespaceName"}, {"spec.naming": "Name"}, NAMING),
    ("the default naming to another", MINIMAL_SERVER, {}, {"spec.naming": "NamespaceName"}, NAMING),
    ("another naming left out", MINIMAL_SERVER, {"spec.naming": "NamespaceName"}, {"spec.naming": GONE}, NAMING),
    (
        "another database name",
        MINIMAL_DATABASE,
        {"spec.databaseName": "orders"},
        {"spec.databaseName": "shop"},
        NAME_CHANGED,
    ),
    (
        "a database name removed",
        MINIMAL_DATABASE,
        {"spec.databaseName": "orders"},
        {"spec.databaseName": GONE},
        NAME_CHANGED,
    ),
    (
        "a database name set to null",
        MINIMAL_DATABASE,
        {"spec.databaseName": "orders"},
        {"spec.databaseName": None},
        NAME_CHANGED,
    ),
    ("a database name before there is one", MINIMAL_DATABASE, {}, {"spec.databaseName": "onboarding"}, NAME_ADDED),
]


@pytest.mark.parametrize(
    "change",
    [pytest.param(Change(base, before, after, sentence), id=name) for name, base, before, after, sentence in IMMUTABLE],
)
def test_what_is_immutable_stays(change: Change, api: ApiServer, store: Store) -> None:
    manifest = store(changed(change.base, change.before))
    assert api.verdict_on_change(manifest) == ""
    assert change.sentence in api.verdict_on_change(changed(manifest, change.after))


MUTABLE = [
    ("the server's address", FULL_SERVER, {"spec.host": "other.example.org", "spec.port": 5433}),
    ("the admin", FULL_SERVER, {"spec.adminSecretRef.name": "other"}),
    ("who is allowed", FULL_SERVER, {"spec.allowedNamespaces": GONE}),
    ("what may be adopted", FULL_SERVER, {"spec.adoptable": []}),
    ("limits", FULL_SERVER, {"spec.limits": GONE}),
    ("mode and suspend", FULL_DATABASE, {"spec.mode": "Plan", "spec.suspend": True}),
    ("a Secret's name", FULL_DATABASE, {"spec.roles.app.secretName": "other"}),
    ("a login's name", FULL_DATABASE, {"spec.roles.app.loginName": GONE}),
    ("a role's access", FULL_DATABASE, {"spec.roles.extra.0.access": "Owner"}),
    ("roles", FULL_DATABASE, {"spec.roles.extra": [], "spec.roles.migrator": GONE, "spec.roles.readOnly": GONE}),
    ("credentials", FULL_DATABASE, {"spec.credentials": GONE}),
    ("deletion", FULL_DATABASE, {"spec.deletion.policy": "Delete"}),
    ("all of a schedule", FULL_SCHEDULE, {"spec": MINIMAL_SCHEDULE["spec"]}),
    ("a pin", FULL_BACKUP, {"spec.pinned": False}),
    ("lists", FULL_DATABASE, {"spec.extensions": [], "spec.schemas": [], "spec.parameters": {}}),
]


@pytest.mark.parametrize(("base", "changes"), [pytest.param(*case, id=name) for name, *case in MUTABLE])
def test_all_else_may_change(base: Manifest, changes: dict[str, Any], api: ApiServer, store: Store) -> None:
    manifest = store(base)
    assert api.verdict_on_change(changed(manifest, changes)) == ""


def test_a_database_name_may_be_set_to_the_one_that_the_database_has(api: ApiServer, store: Store) -> None:
    manifest = store(MINIMAL_DATABASE)
    api.patch_status(manifest, {"databaseName": "onboarding"})
    assert NAME_ADDED in api.verdict_on_change(changed(manifest, {"spec.databaseName": "onboarding2"}))
    assert api.verdict_on_change(changed(manifest, {"spec.databaseName": "onboarding"})) == ""


def test_a_status_in_the_manifest_does_not_help_to_change_the_name(api: ApiServer, store: Store) -> None:
    manifest = store(MINIMAL_DATABASE)
    forged = changed(manifest, {"spec.databaseName": "stolen", "status": {"databaseName": "stolen"}})
    assert NAME_ADDED in api.verdict_on_change(forged)


def test_a_database_name_stays_when_the_status_says_another(api: ApiServer, store: Store) -> None:
    manifest = store(changed(MINIMAL_DATABASE, {"spec.databaseName": "orders"}))
    api.patch_status(manifest, {"databaseName": "shop"})
    assert NAME_CHANGED in api.verdict_on_change(changed(manifest, {"spec.databaseName": "shop"}))
    assert NAME_CHANGED in api.verdict_on_change(changed(manifest, {"spec.databaseName": GONE}))


@pytest.mark.parametrize("manifest", [MINIMAL_SERVER, MINIMAL_DATABASE], ids=lambda manifest: manifest["kind"])
def test_a_new_object_was_never_observed(manifest: Manifest, api: ApiServer, store: Store) -> None:
    assert api.get(store(manifest))["status"] == {"observedGeneration": -1}


STATUS = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "database, roles and Secrets are in place",
            "lastTransitionTime": "2025-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
    ],
    "databaseName": "onboarding",
    "databaseOid": "16384",
    "systemIdentifier": "7460912309412309412",
    "roles": [
        {
            "name": "app",
            "loginName": "onboarding__app_a",
            "secretName": "onboarding-app",
            "rotatedAt": "2025-01-01T00:00:00.123456Z",
        }
    ],
    "binding": {"name": "onboarding-app"},
    "drift": ["table public.a: grant of SELECT to PUBLIC"],
    "plan": ["GRANT onboarding__rw: missing"],
    "truncated": True,
    "handled": {"reconcileAt": "now", "rotateAt": "1"},
}


def test_a_whole_status_is_kept_as_it_was_written(api: ApiServer, store: Store) -> None:
    manifest = store(MINIMAL_DATABASE)
    api.patch_status(manifest, STATUS)
    assert api.get(manifest)["status"] == STATUS


@pytest.mark.parametrize(
    ("status", "told"),
    [
        pytest.param({"drift": ["x"] * 51}, "Too many", id="51 lines of drift"),
        pytest.param({"plan": ["x" * 1025]}, "Too long", id="a line of 1025 characters"),
        pytest.param({"databaseOid": 16384}, "must be of type string", id="an OID as a number"),
        pytest.param({"conditions": [{"type": "Ready"}]}, "Required value", id="half a condition"),
        pytest.param({"roles": [{"name": "app"}, {"name": "app"}]}, "Duplicate value", id="a role twice"),
    ],
)
def test_a_status_out_of_bounds_is_refused(status: dict[str, Any], told: str, api: ApiServer, store: Store) -> None:
    with pytest.raises(Refused, match=told):
        api.patch_status(store(MINIMAL_DATABASE), status)


def test_an_engine_stays_once_there_are_several(cluster: Cluster, namespace: str) -> None:
    """There is one engine so far, so the rule is tried on a kind of its own that has two."""
    crd = definition(RESOURCE, DatabaseServer)
    group = f"{namespace}.example.org"
    crd["metadata"]["name"] = f"{RESOURCE.plural}.{group}"
    crd["spec"]["group"] = group
    engine = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["engine"]
    engine["enum"].append("Other")
    cluster.kubectl("create", "-f", "-", text=json.dumps(crd))
    try:
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{crd['metadata']['name']}")
        others = ApiServer.at(cluster.kubeconfig, group=group)
        manifest = changed(MINIMAL_SERVER, {"apiVersion": f"{group}/v1alpha1"})
        others.create(manifest)
        assert "spec.engine cannot be changed: make another DatabaseServer" in others.verdict_on_change(
            changed(manifest, {"spec.engine": "Other"})
        )
    finally:
        cluster.kubectl("delete", "crd", crd["metadata"]["name"], "--wait=false")
