"""A migration's script: its statements, and what its directives say about how they are run."""

import codecs
import re
from dataclasses import dataclass, replace

from servicedb.plan.migrations.batch import Batch, batch_of
from servicedb.plan.migrations.checksum import BYTE_ORDER_MARK
from servicedb.plan.migrations.lexer import Comment, Cut, NotSql, Statement, cut
from servicedb.plan.migrations.problems import BadFile

_DIRECTIVE = re.compile(r"--\s*servicedb:\s*(?P<name>\S+)(?:\s+(?P<rest>.*))?")
_DIRECTIVES = "no-transaction, batch, remaining, requires and down"
_CHUNK = 1 << 20

_TRANSACTION_CONTROL = frozenset(
    [("begin",), ("commit",), ("end",), ("abort",), ("rollback",), ("start", "transaction"), ("prepare", "transaction")]
)


@dataclass(frozen=True, slots=True)
class Script:
    """Statements in order, each with its Batch or None. `requires` are versions, sets and `set/version`s.

    `directives` are the comments that say how it is run, each with the index of the statement that it stands above.
    """

    file: str
    statements: tuple[Statement, ...]
    batches: tuple[Batch | None, ...]
    in_transaction: bool
    requires: tuple[str, ...] = ()
    directives: tuple[tuple[int, str], ...] = ()

    @property
    def text(self) -> bytes:
        """The script as one can keep it: statements, the data of COPY, and the directives above them."""
        parts = []
        for index, statement in enumerate(self.statements):
            parts += [text.encode() + b"\n" for above, text in self.directives if above == index]
            parts.append(statement.text + b";\n")
            if statement.data is not None:
                parts += [bytes(statement.data), b"\\.\n"]
        return b"".join(parts)


def decoded(content: bytes, *, file: str) -> bytes:
    """`content` without a byte order mark. Raises BadFile where it is not UTF-8, or holds a zero byte."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise BadFile("is UTF-16; save it as UTF-8", file=file)
    plain = content.removeprefix(BYTE_ORDER_MARK)
    if (zero := plain.find(b"\0")) >= 0:
        raise BadFile(
            "holds a zero byte, which no PostgreSQL text can", file=file, line=plain.count(b"\n", 0, zero) + 1
        )
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(plain), _CHUNK):
        try:
            decoder.decode(plain[start : start + _CHUNK], final=start + _CHUNK >= len(plain))
        except UnicodeDecodeError as error:
            # An undecodable byte can be one that was kept back from the chunk before: the line is the nearest.
            line = plain.count(b"\n", 0, max(0, start + error.start)) + 1
            raise BadFile("is not UTF-8 (is it Latin-1?); save it as UTF-8", file=file, line=line) from error
    return plain


def pieces(content: bytes, *, file: str, ends_statement: re.Pattern[str] | None = None) -> Cut:
    """The statements and comments of a file. Raises BadFile where it can't be read as SQL."""
    try:
        return cut(decoded(content, file=file), ends_statement=ends_statement)
    except NotSql as problem:
        raise BadFile(problem.message, file=file, line=problem.line) from problem


def directive(comment: Comment) -> tuple[str, str] | None:
    """The name and the rest of a `-- servicedb:` comment, or None."""
    found = _DIRECTIVE.fullmatch(comment.text.rstrip())
    return (found["name"], (found["rest"] or "").strip()) if found else None


def script(cut: Cut, *, file: str, in_transaction: bool = True) -> Script:
    """The script that `cut` is. Raises BadFile for a directive that can't be followed, and for what no migration runs.

    A script with a batch commits after each, so it can't be one transaction.
    """
    batches: list[Batch | None] = [None] * len(cut.statements)
    requires: list[str] = []
    directives: list[tuple[int, str]] = []
    pending: Batch | None = None
    for comment in cut.comments:
        if (found := directive(comment)) is None:
            continue
        name, rest = found
        directives.append((comment.ahead, comment.text.rstrip()))
        if name == "no-transaction" and not rest:
            in_transaction = False
        elif name == "requires" and rest:
            requires += re.split(r"[,\s]+", rest)
        elif name == "batch":
            if comment.ahead >= len(batches):
                raise BadFile("batch has no statement below it", file=file, line=comment.line)
            pending = batch_of(rest, cut.statements[comment.ahead], file=file, line=comment.line)
            batches[comment.ahead] = pending
        elif name == "remaining" and rest:
            if pending is None or comment.ahead >= len(batches) or batches[comment.ahead] is not pending:
                raise BadFile("remaining has to stand between batch and its statement", file=file, line=comment.line)
            pending = replace(pending, remaining=rest.removesuffix(";"))
            batches[comment.ahead] = pending
        else:
            raise BadFile(
                f'"{comment.text.strip()}" can\'t be followed here; there are {_DIRECTIVES}',
                file=file,
                line=comment.line,
            )
    for statement in cut.statements:
        _check(statement, file)
    return Script(
        file,
        cut.statements,
        tuple(batches),
        in_transaction and not any(batches),
        tuple(requires),
        tuple(directives),
    )


def _check(statement: Statement, file: str) -> None:
    head = statement.head
    if _controls_transaction(head):
        raise BadFile(
            f"{' '.join(head[:2]).upper()} has no place here: servicedb begins and ends the transaction; remove it, "
            "or begin the file with `-- servicedb: no-transaction` where statements have to stand alone",
            file=file,
            line=statement.line,
        )
    if head[:2] in (("drop", "database"), ("create", "database")):
        raise BadFile(
            f"{' '.join(head[:2]).upper()} is no migration of the database that it runs in; remove it",
            file=file,
            line=statement.line,
        )


def _controls_transaction(head: tuple[str, ...]) -> bool:
    if head[:1] == ("rollback",) and "to" in head[1:3]:
        return False  # to a savepoint: the transaction goes on
    return head[:1] in _TRANSACTION_CONTROL or head[:2] in _TRANSACTION_CONTROL
