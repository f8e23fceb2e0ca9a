"""Deleting with policy Delete: sessions end, a grace in which it can be undone, and then nothing is left."""

from tests.cluster.deletable import (
    SOON,
    WEEK,
    deletable,
    deleted_at,
    events_about,
    has_ended,
    is_there,
    keep_a_row,
    kept,
    make,
    secrets_of,
    wait_deleted,
    wait_dropped,
)
from tests.cluster.objects import Objects, wait_for
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.tenant import Tenant, everything_about_roles, logins_of, marker_of
from tests.postgres.fixtures import StartServer
from tests.postgres.server import Server


def test_a_deleted_object_ends_its_sessions_and_made_again_in_time_gets_its_data_back(
    tenant: Tenant, server: Server
) -> None:
    make(tenant, "undone", WEEK)
    keep_a_row(tenant, "undone")
    before = tenant.secrets()
    oid = getattr(marker_of(server, "undone"), "oid", None)
    sessions = [tenant.log_in("undone-app"), tenant.log_in("undone-migrator")]
    tenant.delete("undone")
    wait_deleted(tenant, "undone")
    assert logins_of(server, "undone") == set()
    for session in sessions:
        wait_for("the end of a session", lambda session=session: has_ended(session))  # type: ignore[misc]
    told = tenant.wait_server_reason("Ready", status="True", says="undone (not before 2")
    assert "to be dropped, unless their ServiceDatabase is made again" in told["message"]
    wait_for("the event for the team", lambda: bool(events_about(tenant, tenant.name, "DropScheduled")))
    assert "make the object again until then" in events_about(tenant, tenant.name, "DropScheduled")[0]
    make(tenant, "undone", WEEK)
    assert (getattr(marker_of(server, "undone"), "oid", None), deleted_at(server, "undone")) == (oid, None)
    assert kept(tenant, "undone") == [("still here",)]
    after = tenant.secrets()
    assert {name: after[name]["password"] != one["password"] for name, one in before.items() if "undone" in name} == {
        "undone-app": True,
        "undone-migrator": True,
    }


def test_when_its_grace_is_over_nothing_is_left_and_the_neighbours_are_as_before(
    tenant: Tenant, server: Server
) -> None:
    make(tenant, "neighbour", WEEK)
    before = everything_about_roles(server)
    make(tenant, "dropped", SOON)
    keep_a_row(tenant, "dropped")
    tenant.delete("dropped")
    wait_dropped(tenant, "dropped")
    assert everything_about_roles(server) == before
    wait_for("the event for the admins", lambda: bool(events_about(tenant, "default", "Dropped")))
    with tenant.log_in("neighbour-app") as session:
        assert session.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_is_away_keeps_no_object_and_no_namespace_from_going(
    objects: Objects, operator: OperatorProcess, private_server: StartServer
) -> None:
    server = private_server(15)
    with Tenant.on(objects, server) as tenant:
        make(tenant, "orders", SOON)
        make(tenant, "invoices", WEEK)
        server.stop()
        tenant.wait_server_reason("ServerUnreachable", status="Unknown")
        tenant.delete("orders")
        assert tenant.get("orders") is None
        tenant.drop_namespace()
        server.start()
        wait_dropped(tenant, "orders")
        wait_for("the mark", lambda: deleted_at(server, "invoices") is not None)
        assert (is_there(server, "invoices"), logins_of(server, "invoices")) == (True, set())


def test_a_namespace_made_again_gets_what_it_left_only_when_an_admin_says_so(
    objects: Objects, operator: OperatorProcess, private_server: StartServer
) -> None:
    server = private_server(16)
    with Tenant.on(objects, server) as tenant:
        make(tenant, "orders", WEEK)
        keep_a_row(tenant, "orders")
        tenant.drop_namespace()
        wait_for("the mark", lambda: deleted_at(server, "orders") is not None)
        tenant.make_namespace()
        tenant.create("orders", deletable("orders", WEEK))
        entry = {"databaseName": "orders", "namespace": tenant.name, "name": "orders"}
        words = f"{{databaseName: orders, namespace: {tenant.name}, name: orders}} to spec.adoptable"
        tenant.wait_reason("orders", "ReleasedByOther", says=words)
        tenant.change_server({"spec": {"adoptable": [entry]}})
        tenant.wait_ready("orders")
        assert kept(tenant, "orders") == [("still here",)]
        assert deleted_at(server, "orders") is None


def test_a_secret_goes_also_when_its_databaseserver_has_another_name_by_then(
    objects: Objects, operator: OperatorProcess, private_server: StartServer
) -> None:
    with Tenant.on(objects, private_server(18)) as tenant:
        tenant.create("orders")
        tenant.wait_ready("orders")
        objects.delete("DatabaseServer", tenant.name)
        wait_for("the end of its first name", lambda: tenant.get_server() is None)
        tenant.add_server(f"{tenant.name}-anew")
        tenant.wait_server_ready(f"{tenant.name}-anew")
        tenant.delete("orders")
        wait_for("the end of the Secret", lambda: not secrets_of(tenant, "orders"))
