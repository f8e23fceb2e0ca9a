"""The five ways to name migrations and to write their way back, read into one."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from servicedb.errors import Terminal
from servicedb.plan.migrations.checksum import checksum
from servicedb.plan.migrations.lexer import Cut
from servicedb.plan.migrations.problems import BadFile
from servicedb.plan.migrations.script import Script, pieces, script
from servicedb.plan.migrations.sections import SECTIONS, Format, Part, section
from servicedb.plan.migrations.versions import Version

_FLYWAY = re.compile(r"(?P<kind>[VU])(?P<version>[0-9][0-9._]*?)__(?P<name>.+)\.sql")
_REPEATABLE = re.compile(r"R__(?P<name>.+)\.sql")
_UP_AND_DOWN = re.compile(r"(?P<version>[0-9]+)_(?P<name>.+)\.(?P<kind>up|down)\.sql")
_NUMBERED = re.compile(r"(?P<version>[0-9]+(?:\.[0-9]+)*)[_-]+(?P<name>.+?)(?:\.(?P<kind>down))?\.sql")

_NO_TRANSACTION = re.compile(rb"^\s*executeInTransaction\s*=\s*false", re.MULTILINE)
_MARKER = re.compile(rb"--\s*(?:(?P<goose>\+(?i:goose\s+up))|migrate:up)\b")
"""The comment that begins the part upwards, by its format. It begins with letters that have no case: so a search goes
through data of any size as fast as `find`."""

_MARKED = (Format.GOOSE, Format.DBMATE)
_NAMES = {
    Format.FLYWAY: "V1__name.sql, U1__name.sql or R__name.sql",
    Format.GOLANG_MIGRATE: "001_name.up.sql or 001_name.down.sql",
    Format.GOOSE: "001_name.sql",
    Format.DBMATE: "001_name.sql",
    Format.PLAIN: "001_name.sql or 001_name.down.sql",
}


@dataclass(frozen=True)
class Migration:
    """One migration as its files say it. `version` is None where it is repeatable: run again when it changed.

    The scripts are read only when asked for: of those that were applied, the checksum is all that counts.
    """

    version: Version | None
    name: str
    file: str
    content: bytes
    format: Format
    down_file: str | None = None
    down_content: bytes | None = None
    in_transaction: bool = True

    @cached_property
    def key(self) -> str:
        """What it is called in the history."""
        return str(self.version) if self.version is not None else f"R:{self.name}"

    @cached_property
    def checksum(self) -> str:
        return checksum(self.content)

    @cached_property
    def _whole(self) -> Cut:
        """Both ways. Raises BadFile."""
        if not self.content or self.content.isspace():
            raise BadFile("is empty; was it copied whole?", file=self.file)
        return pieces(self.content, file=self.file, ends_statement=SECTIONS.get(self.format))

    @cached_property
    def up(self) -> Script:
        """Raises BadFile."""
        return self._part("up")

    @cached_property
    def down(self) -> Script | None:
        """The way back; None where there is none. Raises BadFile."""
        if self.down_content is not None and self.down_file is not None:
            return script(pieces(self.down_content, file=self.down_file), file=self.down_file)
        found = self._part("down") if self.format in SECTIONS else None
        return found if found and found.statements else None

    def _part(self, part: Part) -> Script:
        found = section(self._whole, self.format, part, file=self.file)
        return script(found.cut, file=self.file, in_transaction=self.in_transaction and found.in_transaction)


def migrations(files: Mapping[str, bytes], format: Format) -> list[Migration]:  # noqa: A002 - its name in the spec
    """The migrations that `files` (paths and contents) are, those with versions first, in order.

    Only files that end in .sql count. Raises BadFile for a name that can't be read and a way back without its way
    there, Terminal for two files of one version and where no file is a migration.
    """
    names = sorted(name for name in files if name.endswith(".sql"))
    if not names:
        raise Terminal("NoMigrations", "the source holds no file that ends in .sql; is its path right?")
    format = _format(names, files) if format is Format.AUTO else format  # noqa: A001
    ups: dict[str, Migration] = {}
    downs: dict[str, str] = {}
    for name in names:
        kind, version, title = _parsed(name, format)
        if kind in ("U", "down"):
            _claim(downs, str(version), name)
            continue
        if format in _MARKED and format not in _marks(files[name]):
            raise BadFile(f"has no part that goes up; is {format} the right format?", file=name)
        config = files.get(f"{name}.conf")
        in_transaction = config is None or _NO_TRANSACTION.search(config) is None
        migration = Migration(version, title, name, files[name], format, in_transaction=in_transaction)
        if (other := ups.get(migration.key)) is not None:
            raise _twice(migration.key, other.file, name)
        ups[migration.key] = migration
    for key, name in downs.items():
        if key not in ups:
            raise BadFile(f"leads back from version {key}, and no file leads there", file=name)
        ups[key] = replace(ups[key], down_file=name, down_content=files[name])
    return sorted(ups.values(), key=_order)


def format_of(files: Mapping[str, bytes]) -> Format:
    """The format that `files` are of; Plain where there are none. Raises Terminal for several."""
    return _format(sorted(name for name in files if name.endswith(".sql") and not name.startswith("seeds/")), files)


def _order(migration: Migration) -> tuple[bool, tuple[int, ...], str]:
    return migration.version is None, migration.version.numbers if migration.version else (), migration.name


def _claim(names: dict[str, str], key: str, name: str) -> None:
    if key in names:
        raise _twice(key, names[key], name)
    names[key] = name


def _twice(key: str, one: str, other: str) -> Terminal:
    return Terminal(
        "DuplicateVersion",
        f"{one} and {other} are both version {key}; give one of them another (1, 01 and 1.0 are one)",
    )


def _parsed(path: str, format: Format) -> tuple[str, Version | None, str]:  # noqa: A002
    """Kind, version and name that a file's name says. Raises BadFile."""
    name = path.rpartition("/")[2]
    found: re.Match[str] | None
    if format is Format.FLYWAY:
        if found := _REPEATABLE.fullmatch(name):
            return "R", None, found["name"]
        found = _FLYWAY.fullmatch(name)
    else:
        found = (_UP_AND_DOWN if format is Format.GOLANG_MIGRATE else _NUMBERED).fullmatch(name)
    if found is None:
        raise BadFile(f"is no name of a {format} migration: they are called {_NAMES[format]}", file=path)
    try:
        return found["kind"] or "up", Version.parse(found["version"]), found["name"]
    except ValueError as error:
        raise BadFile(str(error), file=path) from error


def _format(names: list[str], files: Mapping[str, bytes]) -> Format:
    """The one format that all files agree on. Raises Terminal where they don't."""
    found: dict[Format, str] = {}
    for path in names:
        if (voted := _voted(path.rpartition("/")[2], files[path])) is not None:
            found.setdefault(voted, path)
    if len(found) > 1:
        examples = ", ".join(f"{name} ({one})" for one, name in found.items())
        raise Terminal("MixedFormats", f"the files are of several formats: {examples}; keep one, or name it in format")
    return next(iter(found), Format.PLAIN)


def _voted(name: str, content: bytes) -> Format | None:
    if marks := _marks(content):
        return min(marks, key=_MARKED.index)
    if _FLYWAY.fullmatch(name) or _REPEATABLE.fullmatch(name):
        return Format.FLYWAY
    if found := _UP_AND_DOWN.fullmatch(name):
        return Format.GOLANG_MIGRATE if found["kind"] == "up" else None
    return Format.PLAIN


def _marks(content: bytes) -> set[Format]:
    """The formats whose part upwards begins somewhere, on a line of its own."""
    return {
        Format.GOOSE if found["goose"] else Format.DBMATE
        for found in _MARKER.finditer(content)
        if not content[content.rfind(b"\n", 0, found.start()) + 1 : found.start()].strip()
    }
