"""helm with the chart of helm/servicedb, against the cluster of the tests."""

from pathlib import Path
from typing import Final

from tests.cluster.harness import Cluster, binaries, paths
from tests.cluster.harness.run import callers_environment, run

CHART: Final = Path(__file__).parents[2] / "helm" / "servicedb"
RELEASE: Final = "servicedb"
IMAGE: Final = "--set=image.tag=dev"
"""What the harness builds and loads; manifests/ name the same."""


def helm(cluster: Cluster, *arguments: str) -> str:
    """helm's standard output; HarnessError when it fails. What it keeps of its own is in the cache of the harness."""
    kept = paths.cache() / "helm"
    own = {f"HELM_{name}_HOME": str(kept / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
    environment = callers_environment() | own | {"KUBECONFIG": str(cluster.kubeconfig)}
    return run(binaries.ensure(binaries.HELM), *arguments, environment=environment)
