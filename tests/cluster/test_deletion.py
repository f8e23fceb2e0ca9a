"""Deleting: what counts as gone, what is let go, and that nothing is ever lost or handed to somebody else."""

from tests.cluster.api_server import CRDS
from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import Objects, condition, wait_for
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.tenant import Tenant, logins_of, marker_of
from tests.postgres.fixtures import StartServer
from tests.postgres.server import Server

KIND = "customresourcedefinition/servicedatabases.servicedb.io"


def released(server: Server, database: str) -> bool:
    return getattr(marker_of(server, database), "released", None) is not None


def keep_a_row(tenant: Tenant, name: str) -> None:
    with tenant.log_in(f"{name}-migrator") as session:
        session.execute("CREATE TABLE kept (word text)")
        session.execute("INSERT INTO kept VALUES ('still here')")


def with_migrator(tenant: Tenant, name: str) -> None:
    tenant.create(name, {"spec.roles.migrator": {"secretName": f"{name}-migrator"}})
    tenant.wait_ready(name)


def kept(tenant: Tenant, name: str) -> list[tuple[str, ...]]:
    with tenant.log_in(f"{name}-app") as session:
        return session.execute("SELECT word FROM kept").fetchall()


def test_a_deleted_object_closes_its_logins_and_keeps_its_data(tenant: Tenant, server: Server) -> None:
    with_migrator(tenant, "closed")
    keep_a_row(tenant, "closed")
    tenant.delete("closed")
    wait_for("the release", lambda: released(server, "closed"))
    assert logins_of(server, "closed") == set()
    wait_for("the end of its Secrets", lambda: not [one for one in tenant.secrets() if one.startswith("closed-")])
    with_migrator(tenant, "closed")
    assert not released(server, "closed")
    assert kept(tenant, "closed") == [("still here",)]


def test_an_object_made_again_at_once_keeps_its_passwords(tenant: Tenant) -> None:
    with_migrator(tenant, "replaced")
    keep_a_row(tenant, "replaced")
    before = tenant.secrets()
    tenant.delete("replaced")
    with_migrator(tenant, "replaced")
    after = tenant.secrets()
    assert {name: after[name]["password"] for name in before} == {name: one["password"] for name, one in before.items()}
    assert kept(tenant, "replaced") == [("still here",)]


def test_a_deletion_that_no_operator_saw_is_found(tenant: Tenant, server: Server, operator: OperatorProcess) -> None:
    with_migrator(tenant, "unseen")
    operator.kill()
    tenant.delete("unseen")
    assert logins_of(server, "unseen")
    operator.start()
    wait_for("the release", lambda: released(server, "unseen"))
    assert logins_of(server, "unseen") == set()


def test_a_namespace_deleted_while_the_server_is_down(
    objects: Objects, operator: OperatorProcess, private_server: StartServer
) -> None:
    server = private_server(18)
    with Tenant.on(objects, server) as tenant:
        with_migrator(tenant, "orders")
        server.stop()
        tenant.wait_server_reason("ServerUnreachable", status="Unknown")
        tenant.drop_namespace()  # nothing hangs: there is no finalizer
        server.start()
        wait_for("the release", lambda: released(server, "orders"))
        assert logins_of(server, "orders") == set()
        tenant.make_namespace()  # somebody else's, for all that is known: another UID
        tenant.create("orders")
        assert "earlier namespace" in tenant.wait_reason("orders", "ReleasedByOther")["message"]
        assert logins_of(server, "orders") == set()
        assert tenant.secrets().keys().isdisjoint({"orders-app"})


def test_many_at_once_are_held_until_somebody_says_so(
    objects: Objects, operator: OperatorProcess, private_server: StartServer
) -> None:
    names = [f"fleet{number}" for number in range(6)]
    with Tenant.on(objects, private_server(18)) as tenant:
        for name in names:
            tenant.create(name)
        tenant.wait_ready(*names)
        logins = {name: logins_of(tenant.server, name) for name in names}
        for name in names:
            tenant.delete(name)
        held = tenant.wait_server_reason("ReleasesHeld", status="True")
        assert "6 ServiceDatabases are gone at once" in held["message"]
        assert {name: logins_of(tenant.server, name) for name in names} == logins
        token = held["message"].split('servicedb.io/acknowledge="')[1].split('"')[0]
        tenant.annotate_server("acknowledge", token)
        for name in names:
            wait_for(f"the release of {name}", lambda name=name: released(tenant.server, name))  # type: ignore[misc]
        tenant.wait_server_ready()


def test_crds_removed_and_applied_again_lock_nobody_out(
    cluster: Cluster, tenant: Tenant, server: Server, operator: OperatorProcess
) -> None:
    with_migrator(tenant, "reinstalled")
    keep_a_row(tenant, "reinstalled")
    before = tenant.secrets()
    earlier = marker_of(server, "reinstalled")
    assert earlier is not None
    spec = {"spec.roles.migrator": {"secretName": "reinstalled-migrator"}}
    server_manifest = tenant.get_server()
    assert server_manifest is not None
    cluster.kubectl("delete", "-k", str(CRDS), "--timeout=60s")
    scanned = len(operator.entries())
    wait_for("an operator that has listed without the kinds", lambda: operator.said("is not installed"))
    assert logins_of(server, "reinstalled") == {"reinstalled__app_a", "reinstalled__migrator_a"}
    assert kept(tenant, "reinstalled") == [("still here",)]
    cluster.kubectl("apply", "--server-side", "-k", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", KIND, "crd/databaseservers.servicedb.io")
    manifest = {"metadata": {"name": tenant.name}, "kind": "DatabaseServer", "spec": server_manifest["spec"]}
    tenant.objects.create({"apiVersion": "servicedb.io/v1alpha1", **manifest})
    tenant.create("reinstalled", spec)
    tenant.wait_ready("reinstalled")
    after = tenant.secrets()
    assert {name: after[name]["uri"] for name in before} == {name: one["uri"] for name, one in before.items()}
    assert kept(tenant, "reinstalled") == [("still here",)]
    now = marker_of(server, "reinstalled")
    assert now is not None
    assert (now.crd != earlier.crd, now.uid != earlier.uid, now.oid) == (True, True, earlier.oid)
    assert len(operator.entries()) > scanned
    assert condition(tenant.get("reinstalled"), "Stalled") is None
