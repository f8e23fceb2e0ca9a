"""What is wrong with a migration: where it stands, in its file and on the server."""

from dataclasses import dataclass

from servicedb.errors import Terminal


@dataclass(frozen=True, slots=True)
class Place:
    """Where a migration failed, as a status shows it. `line` counts from 1 in `file`."""

    version: str | None = None
    file: str | None = None
    line: int | None = None
    sqlstate: str | None = None
    constraint: str | None = None


class BadFile(Terminal):
    """A file that can't be run: nothing was done. The message begins with the file and the line."""

    def __init__(self, message: str, *, file: str, line: int | None = None) -> None:
        super().__init__("BadMigration", f"{file}{f', line {line}' if line else ''}: {message}")
        self.place = Place(file=file, line=line)
