"""A folder's files, as a source of migrations."""

from pathlib import Path

from servicedb.errors import Terminal


def read_folder(folder: Path) -> dict[str, bytes]:
    """Paths below `folder` (with `/`) and contents. What is hidden is left out, as are the folders in which Kubernetes
    keeps a ConfigMap's versions.

    A link counts where it leads to a file inside. Raises Terminal for one that leads out, and for a missing folder.
    """
    if not folder.is_dir():
        raise Terminal("MissingSource", f"{folder} is no folder; name the one that holds the migrations")
    root = folder.resolve()
    files: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if any(part.startswith(".") for part in relative.parts):
            continue
        target = path.resolve()
        if not target.is_relative_to(root):
            raise Terminal(
                "UnsafeSource", f"{relative} is a link that leads out of the source; put the file itself there"
            )
        if target.is_file():
            files[relative.as_posix()] = target.read_bytes()
    return files
