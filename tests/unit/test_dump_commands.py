"""The command lines of a backup's pg_dumps: many names in few patterns, each taken as it is."""

from pathlib import Path

import pytest
from servicedb.jobs.backup.commands import Commands
from servicedb.plan.backups.relations import Relation
from servicedb.postgres.backups.programs import Programs


def commands(major: int) -> Commands:
    programs = Programs(Path("/bin"), major, f"{major}.1")
    return Commands(programs, "dbname=orders", snapshot="1", as_role=None)


def tables(*names: tuple[str, str]) -> list[Relation]:
    return [Relation(number, schema, name, "r", number) for number, (schema, name) in enumerate(names, start=1)]


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        pytest.param([("public", "a")], ['"public"."a"'], id="one"),
        pytest.param([("public", "a"), ("public", "b")], ['"public".("a"|"b")'], id="two of one schema"),
        pytest.param([("s", "a"), ("t", "a"), ("s", "b")], ['"s".("a"|"b")', '"t"."a"'], id="each schema by itself"),
        pytest.param([("s", 'a"b'), ("s", "c|d.*")], ['"s".("a""b"|"c|d.*")'], id="names that look like more"),
    ],
)
def test_tables_of_a_schema_share_a_pattern_and_every_name_is_in_quotes(given, lines):
    command = commands(18).data("data-1", tables(*given))
    assert command.input is not None
    assert command.input.decode() == "".join(f"include table {line}\n" for line in lines)
    arguments = commands(16).data("data-1", tables(*given)).arguments
    assert [one for one in arguments if one.startswith("--table=")] == [f"--table={line}" for line in lines]


def test_every_table_stands_in_one_pattern_and_none_is_too_long_to_be_read_fast():
    names = [f"t{number:03}" for number in range(107)]
    command = commands(18).rest(tables(*(("public", name) for name in names)))
    assert command.input is not None
    patterns = command.input.decode().splitlines()
    found = [name for pattern in patterns for name in pattern.split(".", 1)[1].strip("()").split("|")]
    assert found == [f'"{name}"' for name in names]
    assert max(pattern.count("|") for pattern in patterns) < 20
    assert len(patterns) == 6
