"""How the source lies: what may not be there, and how large a file may grow."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "operator"
FILES = sorted((SOURCE / "servicedb").rglob("*.py"))
LONGEST = 350
NO_NAMES = {"util", "utils", "helper", "helpers", "manager", "managers", "misc", "common_utils"}


def test_the_source_root_shadows_nothing_of_the_standard_library():
    assert not (SOURCE / "__init__.py").exists()


def test_there_are_files_to_look_at():
    assert len(FILES) > 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_is_one_idea(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= LONGEST, "past ~300 lines a file is usually two"
    assert path.stem not in NO_NAMES
    assert not set(path.parts[len(SOURCE.parts) : -1]) & NO_NAMES


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.read_text()], ids=lambda path: str(path.relative_to(SOURCE))
)
def test_a_file_says_what_it_is_for(path):
    first = path.read_text().splitlines()[0]
    assert path.name == "__main__.py" or re.match(r'""".+', first)


@pytest.mark.parametrize("directory", sorted({path.parent for path in FILES}), ids=lambda path: path.name)
def test_every_folder_of_the_package_is_a_package(directory):
    assert (directory / "__init__.py").exists()


def test_every_test_stands_where_make_test_runs_it():
    tests = ROOT / "tests"
    assert {file.relative_to(tests).parts[0] for file in tests.rglob("test_*.py")} == {
        "unit",
        "store",
        "postgres",
        "cluster",
    }
