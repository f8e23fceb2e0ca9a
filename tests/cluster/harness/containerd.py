"""Images of a running containerd."""

from pathlib import Path

from tests.cluster.harness.paths import State
from tests.cluster.harness.run import run

KUBERNETES_NAMESPACE = "k8s.io"


def import_image(state: State, archive: Path) -> None:
    """Load a docker-archive under the names that it carries."""
    run(
        "ctr",
        f"--address={state.containerd_socket}",
        f"--namespace={KUBERNETES_NAMESPACE}",
        "images",
        "import",
        archive,
    )
