"""What a statement is, as far as it matters for how it is run outside a transaction."""

import re
from dataclasses import dataclass
from enum import Enum, auto

from servicedb.plan.migrations.lexer import Statement

_NAME = r'(?:"(?:[^"]|"")+"|[A-Za-z_\u0080-\U0010ffff][\w$]*)'
_RELATION = rf'{_NAME}(?:\s*\.\s*{_NAME})?(?![\w$"&]|\s*\.)'
_CREATE = re.compile(
    rf"CREATE\s+(?:UNIQUE\s+)?INDEX\s+CONCURRENTLY\s+(?:(?:IF\s+NOT\s+EXISTS\s+)?(?P<name>{_NAME})\s+)?ON\b"
    rf"(?:\s+ONLY(?=[\s\"]))?\s*(?P<relation>{_RELATION})?+",
    re.IGNORECASE,
)
_REINDEX = re.compile(
    rf"REINDEX\s*(?:\([^)]*\)\s*)?(?:INDEX|TABLE)\s+(?:CONCURRENTLY\s+)?(?P<relation>{_RELATION})", re.IGNORECASE
)
_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_CONCURRENTLY = re.compile(r"\bCONCURRENTLY\b", re.IGNORECASE)
_ENDS_TRANSACTION = re.compile(r"\b(?:COMMIT|ROLLBACK)\b", re.IGNORECASE)
_ALONE = frozenset({"vacuum", "cluster", "reindex", "call", "analyze", "checkpoint", "discard"})
_REPEATABLE = frozenset({"vacuum", "cluster", "reindex", "analyze", "checkpoint", "discard"})
_ALONE_PAIRS = frozenset(
    {
        ("alter", "system"), ("create", "tablespace"), ("drop", "tablespace"), ("create", "subscription"),
        ("alter", "subscription"), ("drop", "subscription"),
    }
)  # fmt: skip


class Kind(Enum):
    """How a statement of a script outside a transaction is run, and what a kill in the middle leaves."""

    TOGETHER = auto()
    """In one transaction with the note that it was done: done whole, or not at all."""
    CREATES_INDEX = auto()
    """CREATE INDEX CONCURRENTLY: the catalogue shows how far it got."""
    DROPS_INDEX = auto()
    """DROP INDEX CONCURRENTLY: it can be repeated as long as the index is there."""
    REPEATABLE = auto()
    """VACUUM and the like: to run it again does no harm."""
    ALONE = auto()
    """Nobody but a person can say whether it was done."""


@dataclass(frozen=True, slots=True)
class Traits:
    """`waits`: it takes no lock that queues others, but waits for old transactions: lock_timeout has to be off.

    `index` is the name in CREATE INDEX CONCURRENTLY, unquoted, without its schema; None where it has none.
    `relation` is the table or index that CREATE INDEX CONCURRENTLY and REINDEX name, as they write it; None where that
    is a schema or more, or can't be read.
    """

    kind: Kind
    waits: bool = False
    index: str | None = None
    relation: str | None = None


def traits(statement: Statement) -> Traits:
    """Source: PostgreSQL documentation, "SQL Commands", each with the sentence "cannot be executed inside a
    transaction block"."""
    head = statement.head
    text = statement.text[:4096].decode("utf-8", "replace")
    if "concurrently" in head[:4] and "index" in head[:3] and head[0] in ("create", "drop"):
        if head[0] == "drop":
            return Traits(Kind.DROPS_INDEX, waits=True)
        if (found := _CREATE.match(_COMMENT.sub(" ", text))) is None:
            return Traits(Kind.CREATES_INDEX, waits=True)
        return Traits(Kind.CREATES_INDEX, waits=True, index=_plain(found["name"]), relation=found["relation"])
    concurrently = _CONCURRENTLY.search(text) is not None
    if head[:1] == ("alter",) and "detach" in text.lower() and concurrently:
        return Traits(Kind.ALONE, waits=True)
    if head[:1] and head[0] in _REPEATABLE:
        reindex = _REINDEX.match(_COMMENT.sub(" ", text))
        return Traits(Kind.REPEATABLE, waits=concurrently, relation=reindex["relation"] if reindex else None)
    if (head[:1] and head[0] in _ALONE) or head[:2] in _ALONE_PAIRS:
        return Traits(Kind.ALONE)
    if head[:1] == ("do",) and _ENDS_TRANSACTION.search(statement.text.decode("utf-8", "replace")):
        return Traits(Kind.ALONE)
    return Traits(Kind.TOGETHER)


def _plain(name: str | None) -> str | None:
    if name is None:
        return None
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
