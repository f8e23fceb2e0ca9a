"""What pg_dump says when it fails, as a Problem: which is for a person, and which passes by itself."""

from collections.abc import Sequence

from servicedb.errors import Problem, Retryable, Terminal

_TERMINAL = {
    "permission denied": "NoPrivilege",
    "row-level security": "RowSecurity",
    "max_locks_per_transaction": "TooManyTables",
    "server version mismatch": "PgDumpTooOld",
    "unrecognized option": "PgDumpTooOld",
}
_RETRYABLE = {
    "lock timeout": "LockTimeout",
    "could not obtain lock": "LockTimeout",
    "connection": "ConnectionLost",
    "terminating": "ConnectionLost",
    "password authentication": "LoginRefused",
    "no space left": "ServerFull",
}
_WORDS = 400


def dump_failure(part: str, status: int, lines: Sequence[str]) -> Problem:
    """Why pg_dump ended with `status` (negative: by a signal), from the last `lines` that it wrote to stderr.

    What is not known counts as passing: a table that came or went in the middle has many faces.
    """
    said = " ".join(_bare(line) for line in lines if _bare(line))[:_WORDS]
    how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
    message = f"pg_dump of {part} {how}{f': {said}' if said else ''}"
    lowered = said.lower()
    for words, reason in _TERMINAL.items():
        if words in lowered:
            return Terminal(reason, message)
    for words, reason in _RETRYABLE.items():
        if words in lowered:
            return Retryable(reason, message)
    return Retryable("DumpFailed", message)


def _bare(line: str) -> str:
    """Without the program's name; the query that failed says nothing to who reads it."""
    text = line.strip().removeprefix("pg_dump: ")
    for prefix in ("error: ", "detail: "):
        text = text.removeprefix(prefix)
    return "" if text.lower().startswith(("query was:", "command was:")) else text
