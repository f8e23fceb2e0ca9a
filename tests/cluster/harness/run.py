"""Commands of the host: run to their end, with a clean environment, their words kept on failure."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.harness.errors import HarnessError

# Debian keeps what only root runs in sbin, which a user's PATH may leave out.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CALLERS_OWN = {"KUBECONFIG", "DOCKER_CONFIG"}


def run(
    *argv: str | Path,
    text: str | None = None,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> str:
    """The command's standard output; HarnessError with its last words when it fails."""
    done = attempt(*argv, text=text, environment=environment, folder=folder)
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip())[-4000:]
        raise HarnessError(f"{_shown(argv)} ended with {done.returncode}: {words}")
    return done.stdout


def attempt(
    *argv: str | Path,
    text: str | None = None,
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run it and look at the outcome oneself; a program that is missing is a HarnessError."""
    try:
        return subprocess.run(
            [str(part) for part in argv],
            input=text,
            stdin=None if text is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=environment if environment is not None else callers_environment(),
            cwd=folder,
            check=False,
        )
    except FileNotFoundError as error:
        raise HarnessError(f"{argv[0]} is not installed, or not on PATH") from error


def callers_environment() -> dict[str, str]:
    """The caller's environment (proxies, caches) without what would point at another cluster."""
    kept = {key: value for key, value in os.environ.items() if key not in CALLERS_OWN}
    kept["PATH"] = f"{os.environ.get('PATH', '')}:{SEARCH_PATH}"
    kept["LC_ALL"] = "C.UTF-8"
    return kept


def _shown(argv: Sequence[str | Path]) -> str:
    words = [str(part) for part in argv[:6]]
    return " ".join(words) + (" ..." if len(argv) > len(words) else "")
