"""What can go wrong with a cluster, worded for whoever ran the command."""

from pathlib import Path

LAST_LINES = 15


class HarnessError(Exception):
    """The cluster cannot do what was asked; the message says why and what to do."""


class NotAllowed(HarnessError):
    """The caller lacks a right; the message says what is needed. The command exits with 2."""


class ComponentFailed(HarnessError):
    """A component ended or was not ready in time: which one, its last words and where they are."""

    def __init__(self, component: str, what: str, log: Path) -> None:
        self.component = component
        self.log = log
        super().__init__(f"{component} {what}. The last lines of {log}:\n{last_lines(log)}")


def last_lines(log: Path) -> str:
    """The end of a log, indented; a log that is not there says so."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
    except FileNotFoundError:
        return "  (no log was written)"
    return "\n".join(f"  {line}" for line in lines) or "  (empty)"
