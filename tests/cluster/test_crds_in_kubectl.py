"""Our kinds as kubectl shows them."""

import json
from collections.abc import Iterator

import pytest

from tests.api.examples import MINIMAL_DATABASE, MINIMAL_SERVER, Manifest, changed
from tests.cluster.api_server import CRDS, ApiServer, placed
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.errors import HarnessError

READY = {
    "type": "Ready",
    "status": "False",
    "reason": "ServerNotFound",
    "message": "there is no DatabaseServer main: make it, or correct spec.serverRef",
    "lastTransitionTime": "2025-01-01T00:00:00Z",
}


@pytest.fixture(scope="module")
def server(api: ApiServer, namespace: str) -> Iterator[Manifest]:
    manifest = placed(MINIMAL_SERVER, namespace)
    api.create(manifest)
    api.patch_status(manifest, {"conditions": [READY | {"status": "True", "reason": "Ready"}], "version": "17.5"})
    api.patch_status(manifest, {"databases": 3})
    yield manifest
    api.delete(manifest)


@pytest.fixture(scope="module")
def orders(api: ApiServer, namespace: str) -> Iterator[Manifest]:
    manifest = placed(changed(MINIMAL_DATABASE, {"metadata.name": "orders", "spec.serverRef.name": "main"}), namespace)
    api.create(manifest)
    status = {"conditions": [READY], "databaseName": "shop_orders", "binding": {"name": "orders-app"}}
    api.patch_status(manifest, status)
    yield manifest
    api.delete(manifest)


@pytest.fixture(scope="module")
def stock(api: ApiServer, namespace: str) -> Iterator[Manifest]:
    manifest = placed(changed(MINIMAL_DATABASE, {"metadata.name": "stock", "spec.serverRef.name": "other"}), namespace)
    api.create(manifest)
    yield manifest
    api.delete(manifest)


def test_a_database_is_one_line(cluster: Cluster, namespace: str, orders: Manifest) -> None:
    header, line = cluster.kubectl("get", "sdb", "orders", "-n", namespace).splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "SERVER", "DATABASE", "AGE"]
    assert line.split()[:5] == ["orders", "False", "ServerNotFound", "main", "shop_orders"]


def test_a_wide_line_of_a_database_says_what_to_do(cluster: Cluster, namespace: str, orders: Manifest) -> None:
    header, line = cluster.kubectl("get", "sdb", "orders", "-n", namespace, "-o", "wide").splitlines()
    assert header.split()[6:] == ["SECRET", "MODE", "SUSPENDED", "MESSAGE"]
    assert line.split()[6:9] == ["orders-app", "Apply", "false"]
    assert line.endswith(str(READY["message"]))


def test_a_server_is_one_line(cluster: Cluster, server: Manifest) -> None:
    header, line = cluster.kubectl("get", "dbserver", server["metadata"]["name"]).splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "VERSION", "DATABASES", "AGE"]
    assert line.split()[1:5] == ["True", "Ready", "17.5", "3"]


def test_a_wide_line_of_a_server_says_where_it_is(cluster: Cluster, server: Manifest) -> None:
    header, line = cluster.kubectl("get", "dbserver", server["metadata"]["name"], "-o", "wide").splitlines()
    assert header.split()[6:] == ["HOST", "PORT", "TLS", "MESSAGE"]
    assert line.split()[6:9] == ["postgres.databases.svc", "5432", "VerifyFull"]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("spec.serverRef.name=main", ["orders"]),
        ("spec.serverRef.name!=main", ["stock"]),
        ("status.databaseName=shop_orders", ["orders"]),
        ("spec.serverRef.name=main,status.databaseName=none", []),
    ],
)
@pytest.mark.usefixtures("orders", "stock")
def test_databases_are_found_by_field(selector: str, names: list[str], cluster: Cluster, namespace: str) -> None:
    found = cluster.kubectl("get", "servicedatabases", "-n", namespace, "--field-selector", selector, "-o", "name")
    assert [line.partition("/")[2] for line in found.splitlines()] == names


def test_the_category_shows_all_our_kinds(cluster: Cluster, namespace: str, server: Manifest, orders: Manifest) -> None:
    found = cluster.kubectl("get", "servicedb", "-n", namespace, "-o", "name").splitlines()
    assert f"databaseserver.servicedb.io/{server['metadata']['name']}" in found
    assert "servicedatabase.servicedb.io/orders" in found


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("servicedatabase", "A database on a DatabaseServer"),
        ("servicedatabase.spec.databaseName", "Left out: this object's name"),
        ("sdb.spec.roles.app.secretName", "never overwritten"),
        ("sdb.spec.roles.extra.overrides.privileges", "an empty list takes everything away"),
        ("sdb.spec.credentials.overlap", "such as 1h"),
        ("sdb.status.databaseOid", "nothing is made in its place"),
        ("dbserver.spec.tls.mode", "VerifyFull: a certificate of the CA for this host name"),
        ("dbserver.spec.allowedNamespaces", "Left out: none"),
        ("dbserver.spec.deletionGuard.maxReleases", "in percent"),
    ],
)
def test_a_field_explains_itself(path: str, told: str, cluster: Cluster, api: ApiServer) -> None:
    assert told in " ".join(cluster.kubectl("explain", path).split())


def test_kubectl_apply_itself_says_the_sentence(cluster: Cluster, namespace: str, orders: Manifest) -> None:
    moved = changed(orders, {"spec.serverRef.name": "other"})
    with pytest.raises(HarnessError) as refused:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=json.dumps(moved))
    assert "spec.serverRef cannot be changed: make another ServiceDatabase on that server" in str(refused.value)


def test_applying_the_crds_again_changes_nothing(cluster: Cluster, api: ApiServer) -> None:
    assert cluster.kubectl("diff", "--server-side", "--force-conflicts", "-k", str(CRDS)) == ""
