"""SQL scripts cut into statements, as psql and the server would cut them.

Works on bytes: every byte below 128 stands for itself in UTF-8, so nothing has to be decoded, and a COPY block of any
size is found by its end and never looked into.

Sources: PostgreSQL documentation, "Lexical Structure"; PostgreSQL's source, src/fe_utils/psqlscan.l.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

_HEAD_WORDS = 4
"""As many as it takes to tell CREATE OR REPLACE FUNCTION, and CREATE UNIQUE INDEX CONCURRENTLY."""

_SPACES = b" \t\n\r\f\v"
_SPACE = rb"[ \t\n\r\f\v]"
_WORD = rb"[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*+"
_NUMBER = rb"[0-9][A-Za-z0-9_.\x80-\xff]*+"
_PLAIN = rb"'[^']*+(?:''[^']*+)*+'"
_ESCAPED_BODY = rb"'[^'\\]*+(?:(?:\\.|'')[^'\\]*+)*+'"
_CONTINUED = rb"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:[ \t\n\r\f\v]++|--[^\n\r]*+[\n\r])*+"
"""What may stand between the parts of one string constant: the second part of E'a' 'b' is still an E string."""

_TOKEN = re.compile(
    rb"""
      (?P<space>%(space)s++)
    | (?P<comment>--[^\n\r]*+)
    | (?P<block>/\*)
    | (?P<string>[eE]%(escaped)s(?:%(continued)s%(escaped)s)*+ | (?:[uU]&)?%(plain)s)
    | (?P<quoted>(?:[uU]&)?"[^"]*+(?:""[^"]*+)*+")
    | (?P<unended>[eE]?'|(?:[uU]&)?")
    | (?P<word>%(word)s)
    | (?P<dollar>\$(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*+)?\$)
    | (?P<number>%(number)s)
    | (?P<semicolon>;)
    | (?P<open>\()
    | (?P<close>\))
    | (?P<backslash>\\)
    | (?P<other>(?:[^ \t\n\r\f\v'"$;()\\A-Za-z0-9_\x80-\xff/-]|-(?!-)|/(?!\*))++)
    | (?P<parameter>\$[0-9]*+)
    """
    % {
        b"space": _SPACE,
        b"escaped": _ESCAPED_BODY,
        b"continued": _CONTINUED,
        b"plain": _PLAIN,
        b"word": _WORD,
        b"number": _NUMBER,
    },
    re.VERBOSE | re.DOTALL,
)
_DULL = re.compile(
    rb"""
    (?: [ \t\n\r\f\v,.=<>+*!@\#%%^&|~?`:\[\]{}] | -(?!-) | /(?!\*) | %(number)s | (?![eE]'|[uU]&['"])%(word)s )++
    """
    % {b"number": _NUMBER, b"word": _WORD},
    re.VERBOSE,
)
"""A run that can hold no boundary: taken in one go once a statement's first words are known."""

_COMMENT_EDGE = re.compile(rb"/\*|\*/")
_REST_OF_LINE = re.compile(rb"[ \t\f\v]*+(?:--[^\n\r]*+)?(?P<end>\r?\n|\Z)")
_END_OF_DATA = re.compile(rb"\n\\\.(?=\r?(?:\n|\Z))")
"""A line of its own, from the line feed before it on: so a search goes through data as fast as `find`."""

_ROUTINES = frozenset({"function", "procedure"})


class NotSql(Exception):
    """A script that can't be cut; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: its bytes from the first word on and without the semicolon, and the line that it begins on.

    `head` is its first words in lower case. `data` is what a COPY ... FROM stdin is fed with, a view into the script.
    """

    text: bytes
    line: int
    head: tuple[str, ...] = ()
    data: memoryview | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Comment:
    """A `--` comment outside statements or between their words, from its dashes to the end of its line.

    `ahead` is how many statements end before it.
    """

    text: str
    line: int
    ahead: int


@dataclass(frozen=True, slots=True)
class Cut:
    """A script as its statements and comments, in order."""

    statements: tuple[Statement, ...]
    comments: tuple[Comment, ...]


def cut(script: bytes, *, ends_statement: re.Pattern[str] | None = None) -> Cut:
    """`script` (UTF-8 without a byte order mark) in statements. A comment that `ends_statement` matches does so.

    Raises NotSql for a psql meta-command, an unended string or comment, and COPY data without its end.
    """
    return _Cutter(script, ends_statement).cut()


def tokens(text: bytes) -> Iterator[tuple[str, str]]:
    """The tokens of `text`, each with its kind, spaces too. Of a comment or a dollar string only the begin is one."""
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        end = position + 1 if token is None else token.end()
        yield (token.lastgroup or "" if token else "other"), text[position:end].decode("utf-8", "replace")
        position = end


class _Cutter:
    def __init__(self, script: bytes, ends_statement: re.Pattern[str] | None) -> None:
        self._script = script
        self._ends_statement = ends_statement
        self._statements: list[Statement] = []
        self._comments: list[Comment] = []
        self._position = 0
        self._counted_to, self._line = 0, 1
        self._reset()

    def _reset(self) -> None:
        self._start: int | None = None
        self._end = 0
        self._words: list[str] = []
        self._word_count = 0
        self._parentheses = 0
        self._blocks = 0
        self._last_word = ""
        self._stdin = False

    def cut(self) -> Cut:
        script, size = self._script, len(self._script)
        while self._position < size:
            if self._start is not None and not self._reads_words() and (dull := _DULL.match(script, self._position)):
                self._position = dull.end()
                if not dull.group().isspace():
                    self._end = self._position
                continue
            token = _TOKEN.match(script, self._position)
            if token is None:  # a lone byte that starts nothing: the server says what it thinks of it
                self._take(self._position + 1)
                continue
            self._on(token)
        self._finish(size)
        return Cut(tuple(self._statements), tuple(self._comments))

    def _on(self, token: re.Match[bytes]) -> None:
        match token.lastgroup:
            case "space":
                self._position = token.end()
            case "comment":
                self._on_comment(token)
            case "block":
                self._position = self._end_of_block()
            case "semicolon" if self._parentheses <= 0 and self._blocks == 0:
                self._position = token.end()
                self._finish(token.start())
            case "open" | "close":
                self._parentheses += 1 if token.lastgroup == "open" else -1
                self._take(token.end())
            case "word":
                self._on_word(token.group().decode("utf-8", "replace").lower(), token.start())
                self._take(token.end())
            case "dollar":
                self._take(self._end_of_dollar(token.group()))
            case "backslash":
                command = self._script[token.start() :].split(maxsplit=1)[0][:20].decode("utf-8", "replace")
                raise NotSql(
                    self._line_of(token.start()),
                    f"{command} is a command of psql, not SQL; remove it, or write what it does as SQL",
                )
            case "unended":
                what = "string" if token.group().endswith(b"'") else "quoted name"
                raise NotSql(self._line_of(token.start()), f"the {what} that begins here has no end")
            case _:
                self._take(token.end())

    def _reads_words(self) -> bool:
        """Whether the words of the statement still tell something: which it is, or where its body ends."""
        return self._word_count < _HEAD_WORDS or self._words[0] == "copy" or self._is_routine()

    def _is_routine(self) -> bool:
        words = self._words
        if not words or words[0] != "create":
            return False
        rest = words[3:] if words[1:3] == ["or", "replace"] else words[1:]
        return bool(rest) and rest[0] in _ROUTINES

    def _on_word(self, word: str, start: int) -> None:
        self._word_count += 1
        if self._words and self._words[0] == "copy" and self._parentheses == 0:
            self._stdin = self._stdin or (self._last_word == "from" and word in ("stdin", "stdout"))
        if len(self._words) < _HEAD_WORDS:
            self._words.append(word)
        is_label = self._last_word == "as" or self._script[start - 1 : start] == b"."
        if self._parentheses == 0 and self._is_routine() and not is_label:
            # BEGIN ATOMIC ... END holds statements of its own; CASE has an END, too.
            if (self._last_word, word) == ("begin", "atomic") or (word == "case" and self._blocks):
                self._blocks += 1
            elif word == "end" and self._blocks:
                self._blocks -= 1
        self._last_word = word

    def _on_comment(self, token: re.Match[bytes]) -> None:
        text = token.group().decode("utf-8", "replace")
        if self._ends_statement is not None and self._ends_statement.match(text):
            self._finish(token.start())
        self._comments.append(Comment(text, self._line_of(token.start()), len(self._statements)))
        self._position = token.end()

    def _take(self, end: int) -> None:
        if self._start is None:
            self._start = self._position
        self._position = self._end = end

    def _end_of_block(self) -> int:
        depth, position = 0, self._position
        while edge := _COMMENT_EDGE.search(self._script, position):
            depth += 1 if edge.group() == b"/*" else -1
            position = edge.end()
            if depth == 0:
                return position
        raise NotSql(self._line_of(self._position), "the comment that begins here has no end")

    def _end_of_dollar(self, tag: bytes) -> int:
        end = self._script.find(tag, self._position + len(tag))
        if end < 0:
            raise NotSql(self._line_of(self._position), f"the string that begins here with {tag.decode()} has no end")
        return end + len(tag)

    def _finish(self, end: int) -> None:
        if self._start is None:
            self._reset()
            return
        start, line = self._start, self._line_of(self._start)
        text, head, stdin = self._script[start : min(end, self._end)].rstrip(_SPACES), tuple(self._words), self._stdin
        self._reset()
        data = self._copy_data(line) if stdin else None
        self._statements.append(Statement(text, line, head, data))

    def _copy_data(self, line: int) -> memoryview:
        rest = _REST_OF_LINE.match(self._script, self._position)
        if rest is None:
            raise NotSql(line, "COPY ... FROM stdin has to be the last statement of its line: its data begin below it")
        begin = rest.end()
        if end := _END_OF_DATA.search(self._script, begin - 1):
            self._position = end.end()
            return memoryview(self._script)[begin : end.start() + 1]
        raise NotSql(line, "the data of COPY ... FROM stdin have no end; end them with a line that is only \\.")

    def _line_of(self, position: int) -> int:
        """The line of `position`, counted on from the last one that was asked for."""
        if position < self._counted_to:
            return self._line - self._script.count(b"\n", position, self._counted_to)
        self._line += self._script.count(b"\n", self._counted_to, position)
        self._counted_to = position
        return self._line
