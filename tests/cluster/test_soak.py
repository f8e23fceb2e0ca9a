"""A soak in short; `make soak` runs the long one."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import Objects
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.soak.driver import Soak, seed
from tests.cluster.soak.look import make_bystander
from tests.cluster.tenant import Tenant
from tests.postgres.server import Server

SECONDS = float(os.environ.get("SERVICEDB_SOAK_SECONDS", "60"))
OBJECTS = int(os.environ.get("SERVICEDB_SOAK_OBJECTS", "12"))
_CHANGES = {"spec.deletionGuard": {"maxReleases": "100%"}}


@pytest.fixture
def server(postgres: Callable[[int], Server]) -> Server:
    server = postgres(18)
    make_bystander(server)
    return server


@pytest.fixture
def tenant(objects: Objects, server: Server) -> Iterator[Tenant]:
    with Tenant.on(objects, server, _CHANGES) as tenant:
        yield tenant


# urllib3 leaves the socket of a request that an API server was killed in to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_lost_leaked_or_left_while_everything_is_killed_at_random(
    cluster: Cluster, tenant: Tenant, server: Server, tmp_path: Path
) -> None:
    number = seed()
    print(f"SERVICEDB_SOAK_SEED={number}")
    operator = OperatorProcess(cluster.kubeconfig, tmp_path / "operator")
    operator.start()
    try:
        tenant.wait_server_ready()
        soak = Soak(tenant, server, operator, cluster, random.Random(number), OBJECTS)
        soak.run(SECONDS)
        left = soak.come_to_rest()
    finally:
        operator.end()
    print("\n".join(soak.told), f"{soak.logins.worked} logins worked", sep="\n")
    assert list(soak.violations) == []
    assert soak.logins.refused == []
    assert left == []
    assert soak.logins.worked
    assert "\n".join(operator.faults()) == ""
