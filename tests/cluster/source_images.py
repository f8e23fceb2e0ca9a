"""Images with migrations, as a team would build them: with files, and with a cp or without."""

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.cluster.harness.archive import write_image
from tests.cluster.harness.cluster import Cluster

FOLDER: Final = "migrations"


def reference(name: str) -> str:
    """Of an image that nobody has under that name but the cluster that it was loaded into."""
    return f"localhost/{name}:1"


def build(
    cluster: Cluster,
    folder: Path,
    name: str,
    files: Mapping[str, str],
    *,
    with_copy: bool = True,
    links: Mapping[str, str] | None = None,
) -> str:
    """Load an image with `files` in /migrations into the cluster; gives its reference. `links` go to their targets."""
    content = {f"{FOLDER}/{path}": (text.encode(), 0o644) for path, text in files.items()}
    if with_copy:
        content |= _program("cp")
    archive = folder / f"{name}.tar"
    placed = {f"{FOLDER}/{path}": target for path, target in (links or {}).items()}
    write_image(content, reference(name), archive, {"Env": ["PATH=/usr/bin"]}, links=placed)
    cluster.load_image(archive)
    return reference(name)


def _program(name: str) -> dict[str, tuple[bytes, int]]:
    """This machine's program, with the libraries that it needs."""
    found = shutil.which(name)
    assert found is not None
    told = subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout
    libraries = {word for word in told.split() if word.startswith("/")}
    files = {f"usr/bin/{name}": found} | {library.lstrip("/"): library for library in sorted(libraries)}
    return {place: (Path(path).read_bytes(), 0o755) for place, path in files.items()}
