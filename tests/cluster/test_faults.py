"""What an operator must not be led to by an absence: of the API server, of CRDs, of objects, of rights, of itself."""

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import psutil
import psycopg
import pytest
import yaml
from servicedb.api.common import GROUP
from servicedb.api.crd import KINDS
from servicedb.kube.resources import MIGRATION_RUNS

from tests.api.examples import FULL_RUN, changed
from tests.cluster.api_server import CRDS
from tests.cluster.continuous_logins import logging_in
from tests.cluster.harness.cluster import Cluster, of
from tests.cluster.harness.deadline import wait_until
from tests.cluster.objects import Objects, condition, wait_for
from tests.cluster.operator_process import OperatorProcess, Point
from tests.cluster.tenant import (
    OPERATOR_NAMESPACE,
    Tenant,
    everything_about_roles,
    expected_roles,
    logins_of,
    marker_of,
    roles_of,
    shown,
)
from tests.postgres.fixtures import StartServer

API_SERVER: Final = "kube-apiserver"
CRD_NAMES: Final = [f"{resource.plural}.{GROUP}" for resource, _ in KINDS]

StartOperator = Callable[..., OperatorProcess]


@pytest.fixture
def tenant(objects: Objects, private_server: StartServer) -> Iterator[Tenant]:
    with Tenant.on(objects, private_server()) as made:
        yield made


@pytest.fixture
def start_operator(
    cluster: Cluster, objects: Objects, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[StartOperator]:
    """Starts operators for one test alone; those that still run at its end are stopped, and no log may hold a fault."""
    with contextlib.ExitStack() as stack:

        def start(*, kubeconfig: Path = cluster.kubeconfig, **arguments: Any) -> OperatorProcess:
            folder = tmp_path_factory.mktemp("operator")
            return stack.enter_context(OperatorProcess.running(kubeconfig, folder, **arguments))

        yield start


@pytest.fixture
def api_server(cluster: Cluster) -> Iterator[None]:
    """The API server may be stopped: it runs again afterwards."""
    yield
    cluster.start(API_SERVER)


@pytest.fixture
def crds(cluster: Cluster) -> Iterator[Callable[[], None]]:
    """Applies the CRDs again; they may be deleted, and are there again afterwards."""

    def apply() -> None:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(CRDS))
        names = [f"crd/{name}" for name in CRD_NAMES]
        cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)

    yield apply
    apply()


def uri(tenant: Tenant, secret: str) -> str:
    values = tenant.secret(secret)
    assert values is not None
    return values["uri"]


def wait_scans(operator: OperatorProcess, *, count: int) -> None:
    """Wait until the operator has finished `count` more rounds of work on the DatabaseServer."""
    before = operator.scans()
    wait_for(f"{count} scans", lambda: operator.scans() >= before + count, told=operator.last_lines)


def wait_released(tenant: Tenant, database: str) -> None:
    def released() -> bool:
        marker = marker_of(tenant.server, database)
        return marker is not None and marker.released is not None and not logins_of(tenant.server, database)

    wait_for(
        f"{database} released",
        released,
        told=lambda: (
            f"{marker_of(tenant.server, database)} {logins_of(tenant.server, database)} {shown(tenant.get_server())}"
        ),
    )


# PostgreSQL


def test_the_operator_ends_in_good_order_in_the_middle_of_a_creation(
    tenant: Tenant, start_operator: StartOperator
) -> None:
    point = Point(f"servicedatabases/{tenant.name}/orders", "CreateDatabase", signal="SIGSTOP")
    operator = start_operator(points=[point])
    tenant.create("orders")
    operator.wait_hit(point)
    operator.stop()  # it goes on from the point, with SIGTERM waiting
    operator.start()
    operator.wait_serving()
    tenant.wait_ready("orders")
    assert roles_of(tenant.server, "orders") == expected_roles("orders", "app")


def test_work_that_is_going_on_ends_before_the_operator_does_however_often_it_is_told(
    tenant: Tenant, start_operator: StartOperator
) -> None:
    """For longer than the five seconds after which kopf cancels whatever runs in its loop."""
    nowhere = Point("servicedatabases/none/none", "")
    operator = start_operator(points=[nowhere])
    tenant.wait_server_ready()
    point = operator.arm(Point(f"servicedatabases/{tenant.name}/orders", "ProveLogin", signal="SIGSTOP"))
    tenant.create("orders")
    operator.wait_hit(point)
    postmaster = psutil.Process(tenant.server.pid)
    postmaster.suspend()  # it takes the login's connection, and does not answer
    try:
        operator.terminate()
        operator.resume()
        wait_for("the operator's word", lambda: operator.said("stopping"), told=operator.last_lines)
        operator.terminate()
        assert not wait_until(lambda: not operator.is_running, timedelta(seconds=7))
        operator.terminate()
    finally:
        postmaster.resume()
    operator.wait_stopped()
    assert (condition(tenant.get("orders")) or {})["reason"] == "Ready"
    assert tenant.works_as("orders-app") == "orders__rw"


# The API server


def test_an_api_server_that_answers_nothing_for_a_while(
    tenant: Tenant, start_operator: StartOperator, cluster: Cluster, api_server: None
) -> None:
    operator = start_operator()
    tenant.create("orders")
    tenant.wait_ready("orders")
    cluster.pause(API_SERVER)
    try:
        assert not wait_until(lambda: not operator.is_running, timedelta(seconds=8))
    finally:
        cluster.resume(API_SERVER)
    tenant.create("later")
    tenant.wait_ready("orders", "later")


# Our kinds


def test_crds_deleted_and_applied_again(
    tenant: Tenant,
    start_operator: StartOperator,
    cluster: Cluster,
    objects: Objects,
    crds: Callable[[], None],
) -> None:
    """With them go all objects: the logins stay, and the objects find their databases when they are applied again."""
    operator = start_operator()
    names = ("orders", "shop")
    for name in names:
        tenant.create(name)
    tenant.wait_ready(*names)
    before = {name: tenant.secret(f"{name}-app") for name in names}
    markers = {name: marker_of(tenant.server, name) for name in names}
    server = tenant.get_server()
    assert server is not None
    with logging_in({name: uri(tenant, f"{name}-app") for name in names}):
        cluster.kubectl("delete", "crd", *CRD_NAMES)
        wait_for("word of the missing CRD", lambda: operator.said("is not installed"), told=operator.last_lines)
        crds()
        tenant.objects.create(
            {key: server[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": tenant.name}}
        )
        # Its objects are not there yet. That says nothing: they were not deleted by anybody.
        says = "2 ServiceDatabases were there before the CRD was made anew"
        tenant.wait_server_reason("ReleasesHeld", status="True", says=says)
        wait_scans(operator, count=3)
        assert {name: marker_of(tenant.server, name) for name in names} == markers
        for name in names:
            tenant.create(name)
        tenant.wait_ready(*names)
        tenant.wait_server_ready()
    assert {name: tenant.secret(f"{name}-app") for name in names} == before
    crd = objects.get("CustomResourceDefinition", f"servicedatabases.{GROUP}")
    assert crd is not None
    for name in names:
        marker, made = marker_of(tenant.server, name), tenant.get(name)
        assert marker is not None
        assert made is not None
        assert (marker.crd, marker.uid) == (crd["metadata"]["uid"], made["metadata"]["uid"])
        assert marker.crd != markers[name].crd  # type: ignore[union-attr]


def test_an_operator_that_comes_before_the_crds_waits_for_them(
    objects: Objects,
    private_server: StartServer,
    start_operator: StartOperator,
    cluster: Cluster,
    crds: Callable[[], None],
) -> None:
    cluster.kubectl("delete", "crd", *CRD_NAMES)
    operator = start_operator(
        resync=3600
    )  # what comes is noticed by the watch, and by asking again for what is missing
    wait_for("word of the missing CRD", lambda: operator.said("is not installed"), told=operator.last_lines)
    assert operator.answer("/healthz")[0] == 200
    assert operator.answer("/readyz")[0] == 503
    crds()
    operator.wait_serving()
    with Tenant.on(objects, private_server()) as tenant:
        tenant.create("orders")
        tenant.wait_ready("orders")


def test_crds_of_a_release_without_migration_runs_hold_nothing_up(
    cluster: Cluster,
    crds: Callable[[], None],
    objects: Objects,
    start_operator: StartOperator,
    private_server: StartServer,
) -> None:
    cluster.kubectl("delete", "crd", f"{MIGRATION_RUNS}.{GROUP}")
    operator = start_operator(resync=3600)
    with Tenant.on(objects, private_server()) as tenant:
        tenant.create("orders")
        tenant.wait_ready("orders")
        assert operator.said(f"the CRD {MIGRATION_RUNS}.{GROUP} is not installed")
        crds()
        run = changed(FULL_RUN, {"metadata": {"name": "orders", "namespace": tenant.name}})
        objects.create(run)

        def looked_at() -> bool:
            return condition(objects.get("MigrationRun", "orders", tenant.name)) is not None

        wait_for("a look at the MigrationRun", looked_at, told=operator.last_lines)


# Several operators


def test_two_clusters_on_one_server_respect_each_other(
    tenant: Tenant, start_operator: StartOperator, cluster: Cluster, tmp_path: Path
) -> None:
    start_operator()
    tenant.create("orders")
    tenant.wait_ready("orders")
    second = of(f"{cluster.name}-2", tmp_path / "second.kubeconfig")
    second.up()
    try:
        second.kubectl("apply", "--server-side", "-k", str(CRDS))
        with Tenant.on(Objects.at(second.kubeconfig), tenant.server) as other:
            operator = start_operator(kubeconfig=second.kubeconfig)
            other.wait_server_ready()
            before = everything_about_roles(tenant.server)
            other.create("orders")
            other.wait_reason("orders", "Conflict", says=f"belongs to ServiceDatabase {tenant.name}/orders")
            wait_scans(operator, count=3)  # by which the first one's would be gone, were it taken for its own
            assert everything_about_roles(tenant.server) == before
            assert other.secrets() == {}
            other.create("shop")
            other.wait_ready("shop")
            tenant.wait_ready("orders")
            assert (tenant.works_as("orders-app"), other.works_as("shop-app")) == ("orders__rw", "shop__rw")
            assert tenant.get_server()["status"]["databases"] == 1  # type: ignore[index]
            operator.stop()
    finally:
        second.down()


# Objects deleted


def test_of_many_deleted_at_once_those_that_come_back_keep_all(tenant: Tenant, start_operator: StartOperator) -> None:
    operator = start_operator()
    names = [f"orders{number}" for number in range(8)]
    for name in names:
        tenant.create(name)
    tenant.wait_ready(*names)
    tenant.wait_server_ready()
    before = tenant.secrets()
    with logging_in({name: uri(tenant, f"{name}-app") for name in names}):
        for name in names:
            tenant.delete(name)
        eight = "8 ServiceDatabases are gone at once"
        tenant.wait_server_reason("ReleasesHeld", status="True", beside=None, says=eight)
        wait_scans(operator, count=2)
        assert tenant.secrets() == before
        for name in names[:4]:
            tenant.create(name)
        tenant.wait_ready(*names[:4])
        four = "4 ServiceDatabases are gone at once"
        held = tenant.wait_server_reason("ReleasesHeld", status="True", beside=None, says=four)
    assert tenant.secrets() == before
    tenant.annotate_server("acknowledge", held["message"].rpartition('="')[2].rstrip('"'))
    for name in names[4:]:
        wait_released(tenant, name)
    assert all(logins_of(tenant.server, name) for name in names[:4])
    kept = {secret: values for secret, values in before.items() if secret.removesuffix("-app") in names[:4]}
    wait_for("the end of their Secrets", lambda: tenant.secrets() == kept)
    tenant.wait_server_ready()


def test_a_namespace_made_again_gets_nothing_of_the_earlier_one(tenant: Tenant, start_operator: StartOperator) -> None:
    """Not even where the operator saw neither its end nor its beginning."""
    operator = start_operator()
    tenant.create("orders")
    tenant.wait_ready("orders")
    old = uri(tenant, "orders-app")
    operator.stop()
    tenant.drop_namespace()
    tenant.make_namespace()
    tenant.create("orders")
    operator.start()
    wait_released(tenant, "orders")
    says = f"an object of this name in an earlier namespace {tenant.name}"
    tenant.wait_reason("orders", "ReleasedByOther", beside="Stalled", says=says)
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        psycopg.connect(old).close()
    assert tenant.secrets() == {}


# Rights


def test_an_operator_that_may_not_look_takes_nothing_for_gone(
    tenant: Tenant, start_operator: StartOperator, cluster: Cluster, tmp_path: Path
) -> None:
    name = f"{tenant.name}-operator"
    kubeconfig = restricted_kubeconfig(cluster, name, tmp_path / "kubeconfig")
    try:
        grant(cluster, name, ["get", "list", "watch"])
        operator = start_operator(kubeconfig=kubeconfig)
        tenant.create("orders")
        tenant.wait_ready("orders")
        before = marker_of(tenant.server, "orders")
        with logging_in({"orders": uri(tenant, "orders-app")}):
            grant(cluster, name, ["list", "watch"])
            tenant.delete("orders")
            wait_for(
                "a 403",
                lambda: operator.said("cannot get resource"),
                told=operator.last_lines,
            )
            wait_scans(operator, count=2)
            assert marker_of(tenant.server, "orders") == before
        grant(cluster, name, ["get", "list", "watch"])
        wait_released(tenant, "orders")
        operator.stop()
    finally:
        cluster.kubectl("delete", "clusterrole,clusterrolebinding", name, "--ignore-not-found")
        cluster.kubectl("delete", "serviceaccount", name, "-n", OPERATOR_NAMESPACE, "--ignore-not-found")


def restricted_kubeconfig(cluster: Cluster, name: str, file: Path) -> Path:
    """A kubeconfig of a ServiceAccount `name` that the ClusterRole of the same name is bound to."""
    cluster.kubectl("create", "serviceaccount", name, "-n", OPERATOR_NAMESPACE)
    cluster.kubectl(
        "create", "clusterrolebinding", name, f"--clusterrole={name}", f"--serviceaccount={OPERATOR_NAMESPACE}:{name}"
    )
    known = yaml.safe_load(cluster.kubeconfig.read_text())
    token = cluster.kubectl("create", "token", name, "-n", OPERATOR_NAMESPACE).strip()
    known["users"][0]["user"] = {"token": token}
    file.write_text(yaml.safe_dump(known))
    return file


def grant(cluster: Cluster, name: str, verbs: list[str]) -> None:
    """Let the ClusterRole `name` do what the operator does, but only `verbs` with ServiceDatabases."""
    rules = [
        {"apiGroups": [GROUP], "resources": ["servicedatabases"], "verbs": verbs},
        {"apiGroups": [GROUP], "resources": ["databaseservers"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [GROUP], "resources": ["databaseservers/status", "servicedatabases/status"], "verbs": ["patch"]},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list", "watch"]},
        {
            "apiGroups": ["apiextensions.k8s.io"],
            "resources": ["customresourcedefinitions"],
            "verbs": ["get", "list", "watch"],
        },
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "create", "patch", "delete"]},
    ]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    }
    cluster.kubectl("apply", "-f", "-", text=json.dumps(role))
