"""The pg_dumps of one backup: which reads what.

schema      what comes before and after the rows, and the database's own settings and privileges
rest        large objects, sequences, and rows of extensions' tables that are not the extension's own
data-1 ...  the rows of some tables each

Source: PostgreSQL documentation, pg_dump.
"""

from collections.abc import Sequence
from itertools import groupby

from servicedb.jobs.backup.stream import Command
from servicedb.plan.backups.relations import Relation
from servicedb.postgres.backups.programs import Programs, access

_COMMON = ("--format=custom", "--compress=0", "--no-sync", "--no-password", "--lock-wait-timeout=10s")
_FILTER_SINCE = 17
_NAMES_AT_ONCE = 20
"""More make a pattern that the server takes longer to read than it takes to ask again."""


class Commands:
    """Those that read `snapshot` from the database that `dsn` leads to, as `as_role`."""

    def __init__(self, programs: Programs, dsn: str, *, snapshot: str, as_role: str | None) -> None:
        self._programs = programs
        self._dsn = dsn
        self._arguments = [*_COMMON, f"--snapshot={snapshot}", *([f"--role={as_role}"] if as_role else [])]

    def schema(self) -> Command:
        return self._command("schema", ["--section=pre-data", "--section=post-data", "--create"])

    def rest(self, tables: Sequence[Relation]) -> Command:
        """All rows but those of `tables`, which the others read."""
        return self._selected("rest", "exclude table_data", "--exclude-table-data", tables)

    def data(self, name: str, tables: Sequence[Relation]) -> Command:
        """The rows of `tables`: of none, pg_dump would take all for asked."""
        assert tables
        return self._selected(name, "include table", "--table", tables, "--strict-names")

    def _selected(self, name: str, verb: str, option: str, tables: Sequence[Relation], *more: str) -> Command:
        """Since 17 the names come by standard input: the arguments of a process hold some thousands of them only."""
        patterns = _patterns(tables)
        if self._programs.major >= _FILTER_SINCE and patterns:
            lines = "".join(f"{verb} {pattern}\n" for pattern in patterns)
            return self._command(name, ["--section=data", *more, "--filter=-"], lines.encode())
        return self._command(name, ["--section=data", *more, *(f"{option}={pattern}" for pattern in patterns)])

    def _command(self, name: str, arguments: Sequence[str], given: bytes | None = None) -> Command:
        way = access(self._dsn, application=f"servicedb-backup-{name}")
        whole = [self._programs.pg_dump, *self._arguments, *arguments, f"--dbname={way.dsn}"]
        return Command(arguments=whole, environment=way.environment, input=given)


def _patterns(tables: Sequence[Relation]) -> list[str]:
    """Some tables of one schema each: pg_dump reads all of the catalogue for every pattern.

    In quotes a name is taken as it is, whatever it holds; outside of them this is a regular expression. Source:
    PostgreSQL documentation, psql, "Patterns".
    """
    found = []
    for schema, ours in groupby(sorted(tables, key=lambda one: one.schema), key=lambda one: one.schema):
        names = [_quoted(one.name) for one in ours]
        for start in range(0, len(names), _NAMES_AT_ONCE):
            some = names[start : start + _NAMES_AT_ONCE]
            found.append(f"{_quoted(schema)}.({'|'.join(some)})" if some[1:] else f"{_quoted(schema)}.{some[0]}")
    return found


def _quoted(name: str) -> str:
    return f'"{name.replace(chr(34), chr(34) * 2)}"'
