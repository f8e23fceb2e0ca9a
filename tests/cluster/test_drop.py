"""Deleting with policy Delete: sessions end, a grace in which it can be undone, and then nothing is left."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from servicedb.kube.resources import DATABASE_SERVERS, SERVICE_DATABASES
from servicedb.plan.steps import DELETION, UNDO, CloseDatabase, DropDatabase

from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import Objects, condition, wait_for
from tests.cluster.operator_process import ROOT, OperatorProcess, Point, steps_done
from tests.cluster.tenant import Tenant, everything_about_roles, logins_of, marker_of, roles_of
from tests.postgres.fixtures import StartServer
from tests.postgres.server import Server

SOON: Final = "2s"
WEEK: Final = "7d"
ELSEWHERE: Final = "SELECT lo_from_bytea(0, 'a large object')"


@pytest.fixture(scope="module")
def server(postgres: Callable[[int], Server]) -> Server:
    return postgres(18)


@pytest.fixture(scope="module")
def tenant(objects: Objects, server: Server, operator: OperatorProcess) -> Iterator[Tenant]:
    with Tenant.on(objects, server) as tenant:
        tenant.wait_server_ready()
        yield tenant


def deletable(name: str, grace: str) -> dict[str, Any]:
    return {
        "spec.roles.migrator": {"secretName": f"{name}-migrator"},
        "spec.deletion": {"policy": "Delete", "gracePeriod": grace},
    }


def make(tenant: Tenant, name: str, grace: str) -> None:
    tenant.create(name, deletable(name, grace))
    tenant.wait_ready(name)


def keep_a_row(tenant: Tenant, name: str) -> None:
    with tenant.log_in(f"{name}-migrator") as session:
        session.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 'still here' AS word")


def kept(tenant: Tenant, name: str) -> list[tuple[Any, ...]]:
    with tenant.log_in(f"{name}-app") as session:
        return session.execute("SELECT word FROM kept").fetchall()


def deleted_at(server: Server, name: str) -> str | None:
    return getattr(marker_of(server, name), "deleted_at", None)


def is_there(server: Server, name: str) -> bool:
    with server.connect() as connection:
        return connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None


def secrets_of(tenant: Tenant, name: str) -> list[str]:
    return [one for one in tenant.secrets() if one.startswith(f"{name}-")]


def wait_deleted(tenant: Tenant, name: str) -> None:
    """Wait until all is done that is done before the grace is over."""
    wait_for(f"the mark on {name}", lambda: deleted_at(tenant.server, name) is not None)
    wait_for(f"the end of the Secrets of {name}", lambda: not secrets_of(tenant, name))


def wait_dropped(tenant: Tenant, name: str) -> None:
    """Wait until nothing is left."""
    wait_for(
        f"the drop of {name}", lambda: not is_there(tenant.server, name), told=lambda: json.dumps(tenant.get_server())
    )
    wait_for(f"the drop of the roles of {name}", lambda: roles_of(tenant.server, name) == set())
    assert not secrets_of(tenant, name)


def has_ended(session: psycopg.Connection[Any]) -> bool:
    try:
        session.execute("SELECT 1")
    except psycopg.OperationalError:
        return True
    return False


def events_about(tenant: Tenant, namespace: str, reason: str) -> list[str]:
    return [one["message"] for one in tenant.objects.listed("Event", namespace) if one["reason"] == reason]


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


# Kills


@dataclass(frozen=True, slots=True)
class Kills:
    """A tenant of its own, and an operator that can be armed while it runs."""

    tenant: Tenant
    operator: OperatorProcess

    def start_anew(self) -> None:
        """Steps are counted from an operator's start on."""
        if self.operator.is_running:
            self.operator.stop()
        self.operator.start()


@pytest.fixture(scope="module")
def kills(
    objects: Objects, cluster: Cluster, postgres: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Kills]:
    nowhere = Point("servicedatabases/none/none", "")
    folder = tmp_path_factory.mktemp("kills")
    with (
        Tenant.on(objects, postgres(16)) as tenant,
        OperatorProcess.running(cluster.kubeconfig, folder, points=[nowhere]) as operator,
    ):
        yield Kills(tenant, operator)


def of_server(tenant: Tenant, step: str, **arguments: Any) -> Point:
    return Point(f"{DATABASE_SERVERS}/{tenant.name}", step, **arguments)


def make_with_everything(tenant: Tenant, name: str, grace: str) -> psycopg.Connection[Any]:
    """A database whose deletion takes every step; gives a session that it has to end."""
    make(tenant, name, grace)
    keep_a_row(tenant, name)
    with tenant.log_in(f"{name}-app") as session:
        database = session.info.dbname
        values = tenant.secret(f"{name}-app") or {}
    with tenant.server.connect(values["user"], values["password"]) as session:
        assert session.info.dbname != database
        session.execute(ELSEWHERE)
    return tenant.log_in(f"{name}-app")


@pytest.mark.parametrize("step", DELETION, ids=lambda step: step.__name__)
def test_killed_while_it_deletes_it_goes_on_by_itself(kills: Kills, step: type) -> None:
    tenant, operator = kills.tenant, kills.operator
    kills.start_anew()
    name = f"killed{step.__name__.lower()}"
    before = everything_about_roles(tenant.server)
    with make_with_everything(tenant, name, SOON) as session:
        point = operator.arm(of_server(tenant, step.__name__))
        tenant.delete(name)
        operator.wait_killed()
        assert operator.was_hit(point)
        operator.start()
        wait_dropped(tenant, name)
        wait_for("the end of a session", lambda: has_ended(session))
    assert everything_about_roles(tenant.server) == before


@pytest.mark.parametrize("step", DELETION[: DELETION.index(CloseDatabase) + 2], ids=lambda step: step.__name__)
def test_killed_before_the_data_is_gone_its_deletion_is_undone(kills: Kills, step: type) -> None:
    """Also where the grace was over already: made again while nobody was looking, the object gets its data."""
    tenant, operator = kills.tenant, kills.operator
    kills.start_anew()
    name = f"back{step.__name__.lower()}"
    with make_with_everything(tenant, name, SOON):
        oid = getattr(marker_of(tenant.server, name), "oid", None)
        operator.arm(of_server(tenant, step.__name__))
        tenant.delete(name)
        operator.wait_killed()
        tenant.create(name, deletable(name, SOON))
        operator.start()
        tenant.wait_ready(name)
    assert kept(tenant, name) == [("still here",)]
    assert (getattr(marker_of(tenant.server, name), "oid", None), deleted_at(tenant.server, name)) == (oid, None)
    tenant.delete(name)
    wait_dropped(tenant, name)


@pytest.mark.parametrize("step", UNDO, ids=lambda step: step.__name__)
def test_killed_while_it_undoes_a_deletion_it_goes_on_by_itself(kills: Kills, step: type) -> None:
    tenant, operator = kills.tenant, kills.operator
    kills.start_anew()
    name = f"undo{step.__name__.lower()}"
    make(tenant, name, WEEK)
    keep_a_row(tenant, name)
    tenant.delete(name)
    wait_deleted(tenant, name)
    kills.start_anew()
    point = operator.arm(Point(f"{SERVICE_DATABASES}/{tenant.name}/{name}", step.__name__))
    tenant.create(name, deletable(name, WEEK))
    operator.wait_killed()
    assert operator.was_hit(point)
    operator.start()
    tenant.wait_ready(name)
    assert kept(tenant, name) == [("still here",)]
    assert deleted_at(tenant.server, name) is None


def test_a_deletion_takes_every_step_at_which_it_was_killed(kills: Kills) -> None:
    kills.start_anew()
    tenant, operator = kills.tenant, kills.operator
    begun = len(operator.entries())
    with make_with_everything(tenant, "whole", SOON):
        tenant.delete("whole")
        wait_dropped(tenant, "whole")
    taken = steps_done(operator.entries()[begun:], f"{DATABASE_SERVERS}/{tenant.name}")
    assert taken == {step.__name__ for step in DELETION}


def test_an_object_made_again_during_the_drop_waits_and_gets_a_new_empty_one(kills: Kills) -> None:
    kills.start_anew()
    tenant, operator = kills.tenant, kills.operator
    make(tenant, "meanwhile", SOON)
    keep_a_row(tenant, "meanwhile")
    oid = getattr(marker_of(tenant.server, "meanwhile"), "oid", None)
    point = operator.arm(of_server(tenant, DropDatabase.__name__, signal="SIGSTOP"))
    tenant.delete("meanwhile")
    operator.wait_hit(point)
    tenant.create("meanwhile", deletable("meanwhile", WEEK))
    operator.resume()
    tenant.wait_ready("meanwhile")
    marker = marker_of(tenant.server, "meanwhile")
    assert marker is not None
    assert (marker.oid != oid, marker.let_go) == (True, False)
    with pytest.raises(psycopg.errors.UndefinedTable):
        kept(tenant, "meanwhile")


# Another cluster's


def adopt(cluster: Cluster, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "SERVICEDB_"))}
    return subprocess.run(
        [sys.executable, "-m", "servicedb", "adopt", "--kubeconfig", str(cluster.kubeconfig), *arguments],
        env={**environment, "PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_databases_of_a_cluster_that_was_rebuilt_are_adopted(
    objects: Objects, cluster: Cluster, private_server: StartServer, tmp_path: Path
) -> None:
    before, nowhere = "00000000-0000-0000-0000-00000000dead", Point("servicedatabases/none/none", "")
    with Tenant.on(objects, private_server(18)) as tenant:
        with OperatorProcess.running(
            cluster.kubeconfig,
            tmp_path / "old",
            environment={"SERVICEDB_TEST_CLUSTER_UID": before},
            points=[nowhere],
        ):
            for name in ("orders", "invoices", "left"):
                make(tenant, name, WEEK)
                keep_a_row(tenant, name)
        tenant.delete("left")
        with OperatorProcess.running(cluster.kubeconfig, tmp_path / "new"):
            tenant.wait_reason("orders", "Conflict", says="servicedb adopt --from-cluster")
            shown = adopt(cluster, "--from-cluster", before, "--server", tenant.name, "-o", "json")
            assert shown.returncode == 0, shown.stderr
            rows = {row["database"]: row for row in json.loads(shown.stdout)}
            assert {name: row["result"] for name, row in rows.items()} == {
                "orders": "can be adopted",
                "invoices": "can be adopted",
                "left": f"left alone: there is no ServiceDatabase {tenant.name}/left here",
            }
            assert "nothing was changed; with --yes 2 of 3 are adopted" in shown.stderr
            assert getattr(marker_of(tenant.server, "orders"), "cluster", None) == before
            done = adopt(cluster, "--from-cluster", before, "--server", tenant.name, "--yes")
            assert done.returncode == 0, done.stderr
            assert done.stdout.splitlines()[0].split() == [
                "SERVER", "DATABASE", "NAMESPACE", "NAME", "STATE", "RESULT",
            ]  # fmt: skip
            assert "2 of 3 were adopted" in done.stderr
            tenant.wait_ready("orders", "invoices")
            assert kept(tenant, "orders") == [("still here",)]
            assert getattr(marker_of(tenant.server, "left"), "cluster", None) == before
            assert condition(tenant.get("orders"), "Stalled") is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--from-cluster", "none"], "no database carries the mark of cluster none", id="none"),
        pytest.param(
            ["--from-cluster", "none", "--server", "nowhere"], "there is no DatabaseServer nowhere", id="no such server"
        ),
        pytest.param([], "Missing option '--from-cluster'", id="no cluster"),
    ],
)
def test_adopt_says_what_is_wrong_in_a_sentence(
    cluster: Cluster, objects: Objects, arguments: list[str], words: str
) -> None:
    ended = adopt(cluster, *arguments)
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""
