"""What the server's answer to a statement means for a migration."""

import re
from dataclasses import dataclass
from typing import Literal

from servicedb.errors import Problem, Retryable, Terminal
from servicedb.plan.migrations.problems import Place

Detail = Literal["Code", "Full"]
"""As in spec.failureDetail: the server's own words may hold values of rows."""

AGAIN = frozenset({"55P03", "40P01", "40001"})
"""A lock that was not to be had, a deadlock, a serialization failure: the same may go well in a moment."""

_RETRYABLE = ("08", "40", "53", "57P", "58", "55P03", "55006", "25006", "XX000")
_WORDS_ABOUT_THE_FILE = ("42", "0A", "25", "26", "34", "3B", "3D", "3F", "55", "40", "53", "57", "08", "28")
"""Classes of SQLSTATE whose messages name objects and syntax, never what is in a row."""

_HINTS = {
    "25001": "begin the file with `-- servicedb: no-transaction`",
    "55P04": "a new value of an enum can be used after its commit only: put it into a file of its own, or begin this "
    "one with `-- servicedb: no-transaction`",
    "55P03": "another session holds a lock that it needs; it was tried again and again, each time only for the lock "
    "timeout, so that nobody had to queue behind it",
    "57014": "the statement timeout was over",
    "25006": "the server takes no changes: is it a standby?",
    "2D000": "a routine that ends transactions has to be called from a file with `-- servicedb: no-transaction`",
}


class StatementFailed(Exception):
    """The server refused a statement, or went away over it (`sqlstate` None)."""

    def __init__(
        self,
        message: str,
        *,
        sqlstate: str | None,
        name: str = "",
        schema: str | None = None,
        constraint: str | None = None,
        detail: str | None = None,
        line: int | None = None,
    ) -> None:
        super().__init__(sqlstate or "connection lost")  # never its words: a traceback is a log, too
        self.message = message
        self.sqlstate = sqlstate
        self.name = name
        self.schema = schema
        self.constraint = constraint
        self.detail = detail
        self.line = line
        self.way_out = ""
        """What a person can do about it, where that is not to change the file."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed, where, and what it means."""

    problem: Problem
    place: Place


def failure(failed: StatementFailed, *, version: str | None, file: str, detail: Detail) -> Failure:
    """`failed` in words for a person; with `Code` without any that may hold values of rows."""
    place = Place(version, file, failed.line, failed.sqlstate, failed.constraint)
    where = f"{file}{f', line {failed.line}' if failed.line else ''}"
    message = f"{where}: {_words(failed, detail)}"
    if hint := _HINTS.get(failed.sqlstate or ""):
        message += f"; {hint}"
    if failed.sqlstate is None:
        return Failure(Retryable("ConnectionLost", message), place)
    if failed.sqlstate.startswith(_RETRYABLE):
        return Failure(Retryable("TryAgain", message), place)
    if failed.way_out:
        message += f"; {failed.way_out}"
    return Failure(Terminal("MigrationFailed", message), place)


def _words(failed: StatementFailed, detail: Detail) -> str:
    if failed.sqlstate is None:
        return "the connection was lost"
    words = f"SQLSTATE {failed.sqlstate} ({re.sub(r'(?<=[a-z])(?=[A-Z])', ' ', failed.name).lower()})"
    if failed.constraint:
        words += f", constraint {failed.constraint}"
    if detail == "Full" or failed.sqlstate.startswith(_WORDS_ABOUT_THE_FILE):
        words += f": {failed.message}"
    if detail == "Full" and failed.detail:
        words += f" ({failed.detail})"
    return words
