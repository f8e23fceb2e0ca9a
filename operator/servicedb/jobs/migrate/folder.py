"""A folder's files, as a source of migrations."""

import stat
from collections.abc import Iterator
from pathlib import Path

from servicedb.errors import Terminal
from servicedb.plan.migrations.bounds import Bounds


def read_folder(folder: Path, *, links: bool = True) -> dict[str, bytes]:
    """Paths below `folder` (with `/`) and contents. What is hidden is left out, as are the folders in which Kubernetes
    keeps a volume's versions.

    A link counts where it leads to a file or folder inside: in Kubernetes' volumes all names are links. Raises Terminal
    for one that leads out, and for a missing folder. Without `links` it raises Terminal for any, for what else is no
    plain file, and for more than a source may hold: so is read what somebody unknown has put there.
    """
    if not folder.is_dir():
        raise Terminal("MissingSource", f"{folder} is no folder; name the one that holds the migrations")
    root = folder.resolve()
    found = _files(folder, folder, root, {root}) if links else _plain_files(folder, folder, Bounds())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def _files(folder: Path, top: Path, root: Path, above: set[Path]) -> Iterator[Path]:
    """The files below `folder`. `above` are the folders on the way there: no link back to one is followed."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if stat.S_ISREG(path.lstat().st_mode):
            yield path
            continue
        target = path.resolve()
        if not target.is_relative_to(root):
            raise Terminal(
                "UnsafeSource",
                f"{path.relative_to(top)} is a link that leads out of the source; put the file itself there",
            )
        if target.is_file():
            yield path
        elif target.is_dir() and target not in above:
            yield from _files(path, top, root, above | {target})


def _plain_files(folder: Path, top: Path, bounds: Bounds) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        name, status = str(path.relative_to(top)), path.lstat()
        if stat.S_ISDIR(status.st_mode):
            yield from _plain_files(path, top, bounds)
        elif stat.S_ISREG(status.st_mode):
            bounds.take(status.st_size)
            yield path
        else:
            what = "a link" if stat.S_ISLNK(status.st_mode) else "no plain file"
            raise Terminal(
                "UnsafeSource", f"{name} is {what}, and only plain files are read; put the file itself there"
            )
