"""A folder's files, as a source of migrations."""

import os
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
    found = _files(folder, "", root, {root}) if links else _plain_files(folder, "", Bounds())
    return {name: _content(path) for name, path in found}


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - of ten thousand files Path would take half the time
        return file.read()


def _shown(folder: Path | str) -> list[os.DirEntry[str]]:
    """What is in `folder` and not hidden, by name."""
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _files(folder: Path | str, above: str, root: Path, on_the_way: set[Path]) -> Iterator[tuple[str, str]]:
    """Names (with what is `above` them in the source) and paths of the files below `folder`.

    `on_the_way` are the folders that lead there: no link back to one is followed.
    """
    for entry in _shown(folder):
        name = above + entry.name
        if entry.is_file(follow_symlinks=False):
            yield name, entry.path
            continue
        target = Path(entry.path).resolve()
        if not target.is_relative_to(root):
            raise Terminal(
                "UnsafeSource",
                f"{name} is a link that leads out of the source; put the file itself there",
            )
        if target.is_file():
            yield name, entry.path
        elif target.is_dir() and target not in on_the_way:
            yield from _files(entry.path, f"{name}/", root, on_the_way | {target})


def _plain_files(folder: Path | str, above: str, bounds: Bounds) -> Iterator[tuple[str, str]]:
    for entry in _shown(folder):
        name = above + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _plain_files(entry.path, f"{name}/", bounds)
        elif entry.is_file(follow_symlinks=False):
            bounds.take(entry.stat(follow_symlinks=False).st_size)
            yield name, entry.path
        else:
            what = "a link" if entry.is_symlink() else "no plain file"
            raise Terminal(
                "UnsafeSource", f"{name} is {what}, and only plain files are read; put the file itself there"
            )
