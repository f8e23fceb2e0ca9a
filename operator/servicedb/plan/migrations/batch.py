"""Statements that are run in pieces, each in a transaction of its own with the place that it got to."""

import re
from dataclasses import dataclass

from servicedb.plan.migrations.lexer import Statement
from servicedb.plan.migrations.problems import BadFile

_OPTIONS = re.compile(
    r'key=(?P<key>[A-Za-z_][\w$]*|"[^"]+")\s+size=(?P<size>[1-9][0-9]{0,8})(?:\s+table=(?P<table>\S+))?'
)
_NAME = r'(?:"[^"]+"|[A-Za-z_][\w$]*)'
_QUALIFIED = rf"(?:(?P<schema>{_NAME})\s*\.\s*)?(?P<table>{_NAME})"
_TABLE = re.compile(rf"\s*(?:UPDATE|DELETE\s+FROM)\s+(?:ONLY\s+)?{_QUALIFIED}", re.IGNORECASE)
_BOUND = re.compile(r"(?<![:\w]):(from|to)\b")
_OUTSIDE = re.compile(r">\s*:from\b|<\s*:to\b|(?<![:\w]):from\s*<(?!=)|(?<![:\w]):to\s*>(?!=)")


@dataclass(frozen=True, slots=True)
class Batch:
    """A statement whose `:from` and `:to` are the first and the last `key` of a piece of about `size` rows of `table`.

    `schema` is None where the search_path decides. `remaining` is a query for how many rows are left over; where it
    does not give 0 in the end, one more sweep is made.
    """

    schema: str | None
    table: str
    key: str
    size: int
    remaining: str | None = None


def batch_of(options: str, statement: Statement, *, file: str, line: int) -> Batch:
    """What `-- servicedb: batch key=id size=5000`, on `line`, makes of `statement`. Raises BadFile."""
    if not (found := _OPTIONS.fullmatch(options)):
        raise BadFile(
            "batch is written as `-- servicedb: batch key=id size=5000`, with table=... where the statement is neither "
            "UPDATE nor DELETE",
            file=file,
            line=line,
        )
    text = statement.text.decode()
    if {bound.group(1) for bound in _BOUND.finditer(text)} != {"from", "to"} or _OUTSIDE.search(text):
        raise BadFile(
            "a statement in batches takes the rows from :from to :to, both of them among the rows: write "
            f"`WHERE {found['key']} BETWEEN :from AND :to`",
            file=file,
            line=statement.line,
        )
    key = _plain(found["key"])
    if re.search(rf'(?:\bset|,)\s*"?{re.escape(key)}"?\s*=', text, re.IGNORECASE):
        raise BadFile(f'the key "{key}" of a batch must not be updated by it', file=file, line=statement.line)
    table = re.fullmatch(_QUALIFIED, found["table"]) if found["table"] else _TABLE.match(text)
    if not table:
        raise BadFile("name the table that the key is of: `batch key=... size=... table=...`", file=file, line=line)
    schema = _plain(table["schema"]) if table["schema"] else None
    return Batch(schema, _plain(table["table"]), key, int(found["size"]))


def bounded(statement: bytes, first: str, last: str) -> str:
    """`statement` with `:from` and `:to` as the SQL that `first` and `last` are."""
    return _BOUND.sub(lambda found: first if found.group(1) == "from" else last, statement.decode())


def _plain(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
