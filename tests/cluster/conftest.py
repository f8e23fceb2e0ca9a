"""What the tests on a cluster share."""

import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from servicedb.api.common import GROUP
from servicedb.api.crd import KINDS

from tests.cluster.api_server import CRDS, ApiServer
from tests.cluster.harness.cluster import Cluster, ensure
from tests.cluster.objects import Objects
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.shop import Shop, open_shop
from tests.cluster.tenant import Tenant
from tests.postgres.server import Server, session_directory


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """A Kubernetes of one node, up and ready; it stays up for the next run.

    SERVICEDB_TEST_CLUSTER names another one, for a run beside others.
    """
    return ensure(os.environ.get("SERVICEDB_TEST_CLUSTER", "test"))


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> ApiServer:
    """The cluster's API server, which serves our kinds."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(CRDS))
    names = [f"crd/{resource.plural}.{GROUP}" for resource, _ in KINDS]
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *names)
    return ApiServer.at(cluster.kubeconfig)


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace for the tests of one file."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def objects(cluster: Cluster, api: ApiServer) -> Objects:
    """Any object at that API server."""
    return Objects.at(cluster.kubeconfig)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Callable[[int], Server]]:
    """Gives a file's own server of a version: what stands on it is known to no DatabaseServer of another file."""
    with ExitStack() as stack:
        started: dict[int, Server] = {}

        def of(version: int) -> Server:
            if version not in started:
                folder = Path(tempfile.mkdtemp(prefix=f"cluster-{version}-", dir=session_directory()))
                started[version] = stack.enter_context(Server.start_new(version, folder))
            return started[version]

        yield of


@pytest.fixture(scope="module")
def operator(cluster: Cluster, objects: Objects, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """An operator for the tests of one file; afterwards its log may hold no fault."""
    with OperatorProcess.running(cluster.kubeconfig, tmp_path_factory.mktemp("operator")) as running:
        yield running


@pytest.fixture(scope="module")
def shop(cluster: Cluster, objects: Objects, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A tenant whose databases pods can reach, with an operator at work."""
    with open_shop(cluster, objects, tmp_path_factory.mktemp("operator")) as shop:
        yield shop


@pytest.fixture(scope="module")
def server(postgres: Callable[[int], Server]) -> Server:
    """The server of the file's tenant; a file that needs another version has a fixture of this name."""
    return postgres(18)


@pytest.fixture(scope="module")
def tenant(objects: Objects, server: Server, operator: OperatorProcess) -> Iterator[Tenant]:
    """A namespace and a DatabaseServer for the tests of one file, with an operator at work."""
    with Tenant.on(objects, server) as tenant:
        tenant.wait_server_ready()
        yield tenant
