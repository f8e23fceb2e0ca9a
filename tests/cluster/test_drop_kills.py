"""The operator killed at every step of a deletion, and of its undoing: it goes on by itself, and loses nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import psycopg
import pytest
from servicedb.kube.resources import DATABASE_SERVERS, SERVICE_DATABASES
from servicedb.plan.steps import DELETION, UNDO, CloseDatabase, DropDatabase

from tests.cluster.deletable import (
    SOON,
    WEEK,
    deletable,
    deleted_at,
    has_ended,
    keep_a_row,
    kept,
    make,
    wait_deleted,
    wait_dropped,
)
from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import Objects, wait_for
from tests.cluster.operator_process import OperatorProcess, Point, steps_done
from tests.cluster.tenant import Tenant, everything_about_roles, marker_of
from tests.postgres.server import Server

ELSEWHERE: Final = "SELECT lo_from_bytea(0, 'a large object')"


@dataclass(frozen=True, slots=True)
class Kills:
    """A tenant of its own, and an operator that can be armed while it runs."""

    tenant: Tenant
    operator: OperatorProcess

    def start_anew(self) -> None:
        """Steps are counted from an operator's start on."""
        if self.operator.is_running:
            self.operator.kill()
        self.operator.start()
        self.tenant.wait_server_ready()


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
