"""A Docker engine, where there is one."""

import shutil
from functools import cache
from pathlib import Path

from tests.cluster.harness.run import attempt, run


@cache
def usable() -> bool:
    """Whether kind and a Docker engine that answers are at hand."""
    programs = shutil.which("kind") and shutil.which("docker")
    return bool(programs) and attempt("docker", "info").returncode == 0


def build(dockerfile: Path, context: Path, image: str, archive: Path) -> None:
    """Build `image` on the Dockerfile's own base image, and save it."""
    run("docker", "build", "--quiet", f"--file={dockerfile}", f"--tag={image}", context)
    archive.parent.mkdir(parents=True, exist_ok=True)
    temporary = archive.with_name(f".{archive.name}")
    run("docker", "save", f"--output={temporary}", image)
    temporary.rename(archive)
