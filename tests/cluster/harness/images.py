"""The images that the project's pods run, built once for a content.

Each function gives an archive in the cache that carries the hash of what it was made from.
"""

import hashlib
import shutil
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from tests.cluster.harness import buildah, docker, packages, paths
from tests.cluster.harness.lock import exclusive
from tests.cluster.harness.progress import step
from tests.cluster.harness.run import run

BASE = "localhost/servicedb-base"
POSTGRES = "localhost/servicedb-postgres:17"
OPERATOR = "servicedb:dev"

DEBIAN = "trixie"
BASE_PYTHON = "3.13"
BASE_PACKAGES = ["python3", "python3-venv", "ca-certificates", "postgresql-client", "zstd"]
# Nobody reads there, and each cluster that loads the image would unpack it.
NOT_NEEDED = ["usr/share/doc", "usr/share/locale", "usr/share/man"]
DOCKERFILES = paths.HARNESS / "images"
# What the project's Dockerfile copies.
OPERATOR_SOURCES = ["Dockerfile", "LICENSE", "README.md", "operator", "pyproject.toml", "requirements.lock"]


def postgres() -> Path:
    """PostgreSQL 17, for pods under Pod Security "restricted"."""
    dockerfile = DOCKERFILES / "postgres" / "Dockerfile"
    if docker.usable():
        return _by_docker("postgres", dockerfile, dockerfile.parent, POSTGRES, [dockerfile])
    with _building("postgres"):
        base = _base()
        archive = _archive("postgres", hash_of([dockerfile], base))
        if not archive.exists():
            with step("building the image of PostgreSQL"):
                buildah.build(dockerfile, dockerfile.parent, "localhost/postgres", {"BASE_IMAGE": base})
                _export("localhost/postgres", archive, POSTGRES)
        return archive


def operator(repository: Path = paths.REPOSITORY) -> Path:
    """The operator, from the project's own Dockerfile and the sources as they are now."""
    sources = [repository / name for name in OPERATOR_SOURCES]
    if docker.usable():
        return _by_docker("operator", repository / "Dockerfile", repository, OPERATOR, sources)
    with _building("operator"):
        base = _base()
        archive = _archive("operator", hash_of(sources, base))
        if not archive.exists():
            wheels = _wheels(repository)
            with step("building the operator's image"):
                buildah.build(
                    repository / "Dockerfile",
                    repository,
                    "localhost/operator",
                    {"BASE_IMAGE": base, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"},
                    {wheels: "/wheels"},
                )
                _export("localhost/operator", archive, OPERATOR)
        return archive


def _base() -> str:
    """The name of the base image in buildah's storage."""
    dockerfile = DOCKERFILES / "base" / "Dockerfile"
    content = hash_of([dockerfile], " ".join([DEBIAN, *BASE_PACKAGES, *NOT_NEEDED]))
    image = f"{BASE}:{content}"
    if buildah.has(image):
        return image
    folder = paths.cache() / "debian"
    with step("building the base image from Debian's packages (about two minutes the first time)"):
        shutil.rmtree(folder, ignore_errors=True)
        tree = folder / "tree"
        tree.mkdir(parents=True)
        included = f"--include={','.join(BASE_PACKAGES)}"
        # In a mount namespace: it mounts /proc in the tree.
        run("unshare", "--mount", "debootstrap", "--variant=minbase", included, DEBIAN, tree)
        excluded = "".join(f"path-exclude=/{folder}/*\n" for folder in NOT_NEEDED)
        (tree / "etc" / "dpkg" / "dpkg.cfg.d" / "small").write_text(excluded)
        for emptied in [*NOT_NEEDED, "var/cache/apt", "var/lib/apt/lists"]:
            shutil.rmtree(tree / emptied)
        run("tar", "--create", "--numeric-owner", f"--file={folder / 'debian.tar'}", f"--directory={tree}", ".")
        shutil.rmtree(tree)
        buildah.build(dockerfile, folder, image)
        shutil.rmtree(folder)
    return image


def _wheels(repository: Path) -> Path:
    """A folder with what requirements.lock names, and what builds the package, for the image's Python."""
    lock = repository / "requirements.lock"
    folder = paths.cache() / "wheels" / hash_of([lock], BASE_PYTHON)
    if folder.exists():
        return folder
    temporary = folder.with_name(f".{folder.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    download = [sys.executable, "-m", "pip", "download", "--quiet", f"--dest={temporary}"]
    for_the_image = ["--only-binary=:all:", f"--python-version={BASE_PYTHON}", "--implementation=cp"]
    with step("downloading wheels for the operator's image"):
        run(*download, *for_the_image, "--no-deps", "--require-hashes", f"--requirement={lock}")
        run(*download, *for_the_image, "--no-deps", "setuptools>=77")
        temporary.rename(folder)
    return folder


def _by_docker(kind: str, dockerfile: Path, context: Path, image: str, sources: Sequence[Path]) -> Path:
    """Build with a Docker engine, which has a network and the Dockerfile's own base image."""
    archive = _archive(kind, hash_of(sources, "docker"))
    with exclusive(paths.cache() / "images.lock", "it builds an image"):
        if not archive.exists():
            with step(f"building the image {image}"):
                docker.build(dockerfile, context, image, archive)
            _remove_older(archive)
    return archive


def _export(image: str, archive: Path, name: str) -> None:
    buildah.export(image, archive, name)
    _remove_older(archive)


def _remove_older(archive: Path) -> None:
    for older in archive.parent.iterdir():
        if older != archive:
            older.unlink()


def _archive(kind: str, content: str) -> Path:
    return paths.cache() / "images" / kind / f"{content}.tar"


def _building(kind: str) -> AbstractContextManager[None]:
    packages.require(packages.FOR_IMAGES)
    # One lock for all: they share the base image and buildah's storage.
    return exclusive(paths.cache() / "images.lock", f"it builds an image before {kind}")


def hash_of(files: Sequence[Path], *more: str) -> str:
    """A hash of files and of whole folders, by their names and content, wherever they lie."""
    content = hashlib.sha256("\0".join(more).encode())
    for path in files:
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            generated = any(part == "__pycache__" or part.endswith(".egg-info") for part in file.parts)
            if file.is_file() and not generated:
                content.update(f"\0{file.relative_to(path.parent)}\0".encode())
                content.update(file.read_bytes())
    return content.hexdigest()[:16]
