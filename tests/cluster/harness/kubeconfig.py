"""The kubeconfig files that are handed out: marked as ours, and no other is ever written."""

from pathlib import Path

from tests.cluster.harness.errors import HarnessError
from tests.cluster.harness.pki import write_private


def mark(name: str) -> str:
    return f"# Written by tests.cluster.harness for cluster {name}; `down` removes it.\n"


def write(file: Path, name: str, content: str) -> None:
    """Write `content`; a file that we did not make stays as it is, and is an error."""
    file = file.absolute()
    if file.exists() and not file.read_text().startswith(mark(name)):
        raise HarnessError(
            f"{file} exists and is not a kubeconfig of cluster {name}; choose another --kubeconfig or move it away"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    wanted = mark(name) + content
    if not file.exists() or file.read_text() != wanted:
        temporary = file.with_name(f".{file.name}.new")
        write_private(temporary, wanted.encode())
        temporary.rename(file)


def remove(file: Path, name: str) -> None:
    """Remove it if it is still ours."""
    if file.exists() and file.read_text().startswith(mark(name)):
        file.unlink()
