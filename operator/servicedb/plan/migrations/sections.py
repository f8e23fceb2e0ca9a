"""Files that hold both ways: which of their statements go up and which down."""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from servicedb.plan.migrations.lexer import Comment, Cut
from servicedb.plan.migrations.problems import BadFile


class Format(StrEnum):
    """As in spec.format."""

    AUTO = "Auto"
    FLYWAY = "Flyway"
    GOLANG_MIGRATE = "GolangMigrate"
    GOOSE = "Goose"
    DBMATE = "Dbmate"
    PLAIN = "Plain"


Part = Literal["up", "down"]

SECTIONS = {
    Format.FLYWAY: re.compile(r"--\s*servicedb:\s*(?P<part>down)\s*$"),
    Format.PLAIN: re.compile(r"--\s*servicedb:\s*(?P<part>down)\s*$"),
    Format.GOOSE: re.compile(r"--\s*\+goose\s+(?P<part>up|down)\b(?P<rest>.*)", re.IGNORECASE),
    Format.DBMATE: re.compile(r"--\s*migrate:(?P<part>up|down)\b(?P<rest>.*)"),
}
"""The comments that begin a part, in the formats that have parts."""

_BEGIN_DOWN_ONLY = frozenset({Format.FLYWAY, Format.PLAIN})
_GOOSE_WITHOUT_TRANSACTION = re.compile(r"--\s*\+goose\s+no\s+transaction\b", re.IGNORECASE)
_DBMATE_WITHOUT_TRANSACTION = re.compile(r"\btransaction:\s*false\b")


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a file, and whether it runs in a transaction as far as the format's own words say."""

    cut: Cut
    in_transaction: bool = True


def section(whole: Cut, format: Format, part: Part, *, file: str) -> Section:  # noqa: A002 - its name in the spec
    """The part of `whole` that leads `part`; without statements where there is none. Raises BadFile."""
    if (begins := SECTIONS.get(format)) is None:
        return Section(whole)
    at: str | None = "up" if format in _BEGIN_DOWN_ONLY else None
    first, in_transaction = 0, True
    ranges: list[tuple[str | None, int, int]] = []
    comments: list[Comment] = []
    for comment in whole.comments:
        if format is Format.GOOSE and _GOOSE_WITHOUT_TRANSACTION.match(comment.text):
            in_transaction = False
        if found := begins.match(comment.text):
            ranges.append((at, first, comment.ahead))
            at, first = found["part"].lower(), comment.ahead
            if sum(1 for known, *_ in ranges if known == at):
                raise BadFile(f"has two parts that go {at}", file=file, line=comment.line)
            if format is Format.DBMATE and at == part and _DBMATE_WITHOUT_TRANSACTION.search(found["rest"]):
                in_transaction = False
        elif at in (part, None):  # what stands above the first part is said of the file
            comments.append(replace(comment, ahead=comment.ahead - first))
    ranges.append((at, first, len(whole.statements)))
    for known, begin, end in ranges:
        if known is None and end > begin:
            raise BadFile(
                f"has a statement before its first part ({format})", file=file, line=whole.statements[begin].line
            )
    statements = next((whole.statements[begin:end] for known, begin, end in ranges if known == part), ())
    return Section(Cut(tuple(statements), tuple(comments)), in_transaction)
