"""Faults in the operator that the soak's checker has to see. SERVICEDB_SOAK_FAULTS=all tries each of them."""

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import Objects
from tests.cluster.operator_process import OperatorProcess, Point
from tests.cluster.soak.driver import LONG_GRACE, SHORT_GRACE, Soak
from tests.cluster.soak.faults import FAULTS, Fault, Series
from tests.cluster.soak.look import make_bystander
from tests.cluster.soak.model import APP, MIGRATOR, READ_ONLY, Policy, secret_name
from tests.cluster.tenant import Tenant
from tests.postgres.fixtures import StartServer
from tests.postgres.server import Server

ALL = os.environ.get("SERVICEDB_SOAK_FAULTS") == "all"
CHOSEN = ["none", *sorted(FAULTS)] if ALL else ["release-leaves-logins-open"]
SCANS_AT_REST = 6
"""How often the operator has looked at the server since the last operation before it has to be done with it."""
EVERY_ROLE = frozenset({APP, MIGRATOR, READ_ONLY})
_NOWHERE = Point("servicedatabases/none/none", "")


@pytest.fixture
def server(private_server: StartServer) -> Server:
    server = private_server(18)
    make_bystander(server)
    return server


@contextlib.contextmanager
def soak_with(
    objects: Objects, server: Server, cluster: Cluster, folder: Path, *, count: int, fault: Fault | None
) -> Iterator[Soak]:
    """A soak without kills, by an operator with `fault`."""
    environment = {"SERVICEDB_TEST_FAULT": fault.name} if fault is not None else {}
    operator = OperatorProcess(cluster.kubeconfig, folder, environment=environment, points=[_NOWHERE])
    with Tenant.on(objects, server, {"spec.deletionGuard": {"maxReleases": "100%"}}) as tenant:
        operator.start()
        try:
            operator.wait_serving()
            yield Soak(tenant, server, operator, cluster, random.Random(0), count)
        finally:
            operator.end()


def go_through(soak: Soak, series: Series, number: int, stack: contextlib.ExitStack) -> None:
    """The operations of `series`, on the object of that number; what it opens is closed with `stack`."""
    asked = [*soak.model.asked.values()][number]
    policy: Policy = "Delete" if series in ("deleted", "dropped") else "Retain"
    soak.create(asked, EVERY_ROLE, policy, SHORT_GRACE if series == "dropped" else LONG_GRACE)
    if series == "created":
        return
    soak.tenant.wait_ready(asked.name)
    soak.look_around()
    assert asked.known
    soak.write(asked)
    match series:
        case "changed":
            soak.change(asked)
        case "deleted":
            stack.enter_context(contextlib.suppress(Exception))
            stack.enter_context(soak.tenant.log_in(secret_name(asked.name, APP)))
            soak.delete(asked)
        case _:
            soak.delete(asked)


def operations(fault: Fault | None) -> list[tuple[int, Series]]:
    """Numbers of objects, with what is done to each: where one is dropped it has a neighbour; without a fault all."""
    if fault is None:
        return [*enumerate(get_args(Series))]
    return [(1, "changed"), (0, "dropped")] if fault.series == "dropped" else [(0, fault.series)]


@pytest.mark.parametrize("name", CHOSEN)
def test_a_fault_in_the_operator_is_seen_and_nothing_where_there_is_none(
    name: str, objects: Objects, server: Server, cluster: Cluster, tmp_path: Path
) -> None:
    fault = FAULTS.get(name)
    done = operations(fault)
    with (
        soak_with(objects, server, cluster, tmp_path / "operator", count=len(done), fault=fault) as soak,
        contextlib.ExitStack() as stack,
    ):
        for number, series in done:
            go_through(soak, series, number, stack)
        said = soak.stand_after(SCANS_AT_REST)
        told = "\n".join([*said, soak.operator.last_lines()])
        assert said == [] if fault is None else fault.is_seen(said), told
