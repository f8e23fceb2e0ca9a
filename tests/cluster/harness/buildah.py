"""Images from Dockerfiles without a Docker engine."""

from collections.abc import Mapping
from pathlib import Path

from tests.cluster.harness import packages, paths
from tests.cluster.harness.run import run


def build(
    dockerfile: Path,
    context: Path,
    image: str,
    arguments: Mapping[str, str] | None = None,
    volumes: Mapping[Path, str] | None = None,
) -> None:
    """Build `image` into buildah's storage; steps that did not change come from its cache."""
    flags = [f"--build-arg={key}={value}" for key, value in (arguments or {}).items()]
    flags += [f"--volume={folder}:{inside}:ro" for folder, inside in (volumes or {}).items()]
    _buildah(
        "bud",
        "--isolation=chroot",
        "--layers",
        "--pull-never",
        "--quiet",
        *flags,
        f"--file={dockerfile}",
        f"--tag={image}",
        str(context),
    )


def export(image: str, archive: Path, name: str) -> None:
    """Write `image` as a docker-archive that loads as `name`."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    temporary = archive.with_name(f".{archive.name}")
    temporary.unlink(missing_ok=True)
    _buildah("push", "--quiet", image, f"docker-archive:{temporary}:{name}")
    temporary.rename(archive)


def has(image: str) -> bool:
    return bool(_buildah("images", "--quiet", "--filter", f"reference={image}").strip())


def _buildah(*arguments: str) -> str:
    packages.require(packages.FOR_IMAGES)
    storage = paths.cache() / "buildah"
    # Its overlay mounts stay when it ends: in a mount namespace of its own they go with it.
    return run(
        *("unshare", "--mount", "buildah", f"--root={storage / 'root'}", f"--runroot={storage / 'run'}"),
        "--storage-driver=overlay",
        *arguments,
        folder=storage.parent,
    )
