"""The world outside fails: PostgreSQL, the API server, the watch, a second operator. All ends well by itself."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import Objects, condition, wait_for
from tests.cluster.operator_process import OperatorProcess, Point
from tests.cluster.proxy import Proxy
from tests.cluster.tenant import (
    Tenant,
    everything_about_roles,
    expected_roles,
    logins_of,
    open_unmarked_databases,
    roles_of,
)
from tests.postgres.fixtures import StartServer
from tests.postgres.server import Server

OUTAGE_SECONDS = 30.0
ROLES = ("app", "migrator", "readonly")
LOGINS = {"spec.roles.migrator": {"secretName": "{}-m"}, "spec.roles.readOnly": {"secretName": "{}-r"}}


@contextmanager
def without(operator: OperatorProcess) -> Iterator[None]:
    """While another one is at work."""
    operator.wait_serving()  # while it starts, SIGTERM ends it at once
    operator.stop()
    try:
        yield
    finally:
        operator.start()
        operator.wait_serving()


def create(tenant: Tenant, name: str) -> None:
    """A ServiceDatabase with the logins of ROLES."""
    changes = {path: {"secretName": value["secretName"].format(name)} for path, value in LOGINS.items()}
    tenant.create(name, changes)


def assert_whole(tenant: Tenant, server: Server, name: str) -> None:
    """Ready, exactly its roles, and every Secret logs in."""
    tenant.wait_ready(name)
    assert roles_of(server, name) == expected_roles(name, *ROLES)
    assert open_unmarked_databases(server) == set()
    worked = {secret: tenant.works_as(secret) for secret in (f"{name}-app", f"{name}-m", f"{name}-r")}
    assert worked == {f"{name}-app": f"{name}__rw", f"{name}-m": f"{name}__owner", f"{name}-r": f"{name}__ro"}
    assert not [key for one in worked for key in tenant.secret(one) or {} if key.startswith("pending")]


def test_a_server_that_is_killed_and_comes_back(
    objects: Objects, operator: OperatorProcess, private_server: StartServer
) -> None:
    server = private_server(18)
    with Tenant.on(objects, server) as tenant:
        create(tenant, "orders")
        tenant.wait_ready("orders")
        before = tenant.secrets()
        server.kill()
        tenant.wait_server_reason("ServerUnreachable", status="Unknown")
        message = tenant.wait_reason("orders", "ServerUnreachable", status="Unknown")["message"]
        assert f"{server.host}:{server.port}" in message
        server.start()
        tenant.wait_server_ready()
        assert_whole(tenant, server, "orders")
        assert tenant.secrets() == before


def is_only_asked(server: Server) -> bool:
    """Whether the last that the server heard is several times whether it is there: an empty statement."""
    last = server.log().splitlines()[-4:]
    return all(line.rstrip().endswith("statement:") for line in last)


def test_an_outage_is_noticed_long_before_the_next_resync_and_so_is_its_end(
    objects: Objects, cluster: Cluster, private_server: StartServer, tmp_path: Path, operator: OperatorProcess
) -> None:
    server = private_server(18)
    # What is noticed is noticed by asking: of what happens on a server nobody tells.
    often = {"SERVICEDB_PROBE": "1"}
    with (
        without(operator),
        Tenant.on(objects, server) as tenant,
        OperatorProcess.running(cluster.kubeconfig, tmp_path, resync=3600, environment=often) as asking,
    ):
        create(tenant, "orders")
        tenant.wait_ready("orders")
        tenant.wait_server_ready()
        for _ in range(2):
            wait_for("nothing but questions", lambda: is_only_asked(server), told=asking.last_lines)
            server.kill()
            tenant.wait_server_reason("ServerUnreachable", status="Unknown")
            reachable = condition(tenant.get_server(), "Reachable") or {}
            assert (reachable["status"], reachable["reason"]) == ("Unknown", "ServerUnreachable")
            tenant.wait_reason("orders", "ServerUnreachable", status="Unknown")
            server.start()
            tenant.wait_server_ready()
            assert (condition(tenant.get_server(), "Reachable") or {})["status"] == "True"
            tenant.wait_ready("orders")
        assert asking.is_running


@pytest.mark.parametrize("step", ["CreateDatabase", "OpenDatabase", "GrantByDefault", "ActivateSecret"])
def test_a_server_that_is_killed_while_a_database_is_made(
    step: str,
    objects: Objects,
    cluster: Cluster,
    private_server: StartServer,
    tmp_path: Path,
    operator: OperatorProcess,
) -> None:
    server = private_server(18)
    nowhere = Point("servicedatabases/none/none", "")
    with (
        without(operator),
        Tenant.on(objects, server) as tenant,
        OperatorProcess.running(cluster.kubeconfig, tmp_path, points=[nowhere]) as armed,
    ):
        tenant.wait_server_ready()
        point = armed.arm(Point(f"servicedatabases/{tenant.name}/orders", step, signal="SIGSTOP"))
        create(tenant, "orders")
        armed.wait_hit(point)
        server.kill()
        armed.resume()
        wait_for("word of it", lambda: (condition(tenant.get("orders")) or {}).get("status") != "True")
        server.start()
        assert_whole(tenant, server, "orders")


def test_the_api_server_gone_for_half_a_minute(tenant: Tenant, server: Server, cluster: Cluster) -> None:
    create(tenant, "before")
    tenant.wait_ready("before")
    secrets = tenant.secrets()
    cluster.stop("kube-apiserver")
    gone = time.monotonic()
    try:
        with server.connect() as connection:  # drift that comes meanwhile is taken back afterwards
            connection.execute("GRANT CONNECT ON DATABASE before TO PUBLIC")
        while time.monotonic() - gone < OUTAGE_SECONDS:
            assert logins_of(server, "before") == {f"before__{role}_a" for role in ROLES}
            time.sleep(1)
    finally:
        cluster.start("kube-apiserver")
    wait_for("an API server", cluster.healthy, within=120)
    create(tenant, "after")
    assert_whole(tenant, server, "after")
    assert_whole(tenant, server, "before")
    assert {name: tenant.secrets()[name] for name in secrets} == secrets
    wait_for("the drift taken back", lambda: not _public_connects(server, "before"))


def _public_connects(server: Server, database: str) -> bool:
    query = "SELECT EXISTS (SELECT FROM pg_database, aclexplode(datacl) a WHERE datname = %s AND a.grantee = 0)"
    with server.connect() as connection:
        row = connection.execute(query, (database,)).fetchone()
    assert row is not None
    return bool(row[0])


def test_a_watch_that_is_cut_goes_on(
    tenant: Tenant, server: Server, cluster: Cluster, tmp_path: Path, operator: OperatorProcess
) -> None:
    kubeconfig = yaml.safe_load(cluster.kubeconfig.read_text())
    with without(operator), Proxy.to(kubeconfig["clusters"][0]["cluster"]["server"]) as proxy:
        kubeconfig["clusters"][0]["cluster"]["server"] = proxy.url
        through_proxy = tmp_path / "kubeconfig"
        through_proxy.write_text(yaml.safe_dump(kubeconfig))
        # A resync of an hour: what is noticed is noticed by the watch.
        with OperatorProcess.running(through_proxy, tmp_path, resync=3600) as watching:
            watching.wait_serving()
            for number in range(3):
                assert proxy.cut() > 0
                create(tenant, f"cut{number}")
                assert_whole(tenant, server, f"cut{number}")


def test_two_operators_of_one_cluster_do_no_harm(
    tenant: Tenant, server: Server, cluster: Cluster, tmp_path: Path
) -> None:
    with OperatorProcess.running(cluster.kubeconfig, tmp_path) as second:
        second.wait_serving()
        names = [f"shared{number}" for number in range(4)]
        for name in names:
            create(tenant, name)
        for name in names:
            assert_whole(tenant, server, name)
        assert second.is_running


def test_the_operator_of_another_cluster_is_told_whose_it_is(
    tenant: Tenant, server: Server, cluster: Cluster, tmp_path: Path, operator: OperatorProcess
) -> None:
    create(tenant, "ours")
    tenant.wait_ready("ours")
    before, secrets = everything_about_roles(server), tenant.secrets()
    nowhere = Point("servicedatabases/none/none", "")
    other = {"SERVICEDB_TEST_CLUSTER_UID": "00000000-another-cluster"}
    with (
        without(operator),
        OperatorProcess.running(cluster.kubeconfig, tmp_path, points=[nowhere], environment=other),
    ):
        message = tenant.wait_reason("ours", "Conflict")["message"]
    assert f"belongs to ServiceDatabase {tenant.name}/ours" in message
    assert everything_about_roles(server) == before
    assert tenant.secrets() == secrets
    tenant.annotate("ours", "reconcile-at", "again")
    assert_whole(tenant, server, "ours")
