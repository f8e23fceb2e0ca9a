"""Images of a running containerd."""

import json
import tarfile
from hashlib import sha256
from pathlib import Path

from tests.cluster.harness.paths import State
from tests.cluster.harness.run import run

KUBERNETES_NAMESPACE = "k8s.io"


def has(state: State, archive: Path) -> bool:
    """Whether the names that a docker-archive carries mean its content already."""
    names, content = _identity(archive)
    markers = _markers(state, names)
    return bool(markers) and all(marker.exists() and marker.read_text() == content for marker in markers)


def load(state: State, archive: Path) -> None:
    """Load a docker-archive under the names that it carries."""
    socket, space = f"--address={state.containerd_socket}", f"--namespace={KUBERNETES_NAMESPACE}"
    run("ctr", socket, space, "images", "import", archive)
    names, content = _identity(archive)
    for marker in _markers(state, names):
        marker.write_text(content)


def _markers(state: State, names: list[str]) -> list[Path]:
    return [state.images / sha256(name.encode()).hexdigest()[:16] for name in names]


def _identity(archive: Path) -> tuple[list[str], str]:
    """The names that a docker-archive carries, and the name of its configuration, a hash of it all."""
    with tarfile.open(archive) as tar:
        file = tar.extractfile("manifest.json")
        assert file is not None
        manifest = json.load(file)
    return [name for image in manifest for name in image["RepoTags"] or []], manifest[0]["Config"]
