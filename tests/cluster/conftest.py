"""What the tests on a cluster share."""

import secrets
from collections.abc import Iterator

import pytest

from tests.cluster.api_server import CRDS, ApiServer
from tests.cluster.harness.cluster import Cluster, ensure


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """A Kubernetes of one node, up and ready; it stays up for the next run."""
    return ensure("test")


@pytest.fixture(scope="session")
def api(cluster: Cluster) -> ApiServer:
    """The cluster's API server, which serves our kinds."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS))
    return ApiServer.at(cluster.kubeconfig)


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace for the tests of one file."""
    name = f"test-{secrets.token_hex(4)}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
