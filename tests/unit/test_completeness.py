"""A run that leaves tests out is red; each of these runs pytest on a project of its own."""

from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A project with the plugin, a folder that must hold two tests, and one allowed reason."""
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    # Each run would import the other plugins again: seconds.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makeini("[pytest]\naddopts = -p tests.completeness\ntestpaths = tests\n")
    for folder in ("unit", "other"):
        (pytester.path / "tests" / folder).mkdir(parents=True)
    (pytester.path / "tests" / "allowed_skips.txt").write_text("# why\nneeds a moon\n\n")
    (pytester.path / "tests" / "minimum_tests.toml").write_text('[minimum]\n"tests/unit" = 2\n')
    return pytester


def write(project: pytest.Pytester, name: str, text: str) -> None:
    (project.path / "tests" / name).write_text(text)


TWO_TESTS = "def test_one(): pass\ndef test_two(): pass\n"

SKIPPED = "import pytest\n@pytest.mark.skip(reason='{reason}')\ndef test_skipped(): pass\n"
SKIPPED_INSIDE = "import pytest\ndef test_skipped(): pytest.skip('{reason}')\n"
SKIPPED_BY_A_FIXTURE = (
    "import pytest\n@pytest.fixture\ndef moon(): pytest.skip('{reason}')\ndef test_skipped(moon): pass\n"
)
SKIPPED_MODULE = "import pytest\npytest.skip('{reason}', allow_module_level=True)\n"
SKIPPED_UNITTEST = (
    "import unittest\nclass Test(unittest.TestCase):\n"
    "    @unittest.skip('{reason}')\n    def test_skipped(self): pass\n"
)
XFAIL = "import pytest\n@pytest.mark.xfail(reason='{reason}')\ndef test_xfail(): assert False\n"
XFAIL_INSIDE = "import pytest\ndef test_xfail(): pytest.xfail('{reason}')\n"
XFAIL_PASSED = "import pytest\n@pytest.mark.xfail(reason='{reason}')\ndef test_xfail(): pass\n"

WAYS = pytest.mark.parametrize(
    "text",
    [
        pytest.param(SKIPPED, id="marker"),
        pytest.param(SKIPPED_INSIDE, id="call"),
        pytest.param(SKIPPED_BY_A_FIXTURE, id="fixture"),
        pytest.param(SKIPPED_MODULE, id="module"),
        pytest.param(SKIPPED_UNITTEST, id="unittest"),
        pytest.param(XFAIL, id="xfail"),
        pytest.param(XFAIL_INSIDE, id="xfail call"),
        pytest.param(XFAIL_PASSED, id="xfail that passed"),
    ],
)


@WAYS
def test_a_reason_that_is_not_listed_fails_the_run_and_is_named(project: pytest.Pytester, text: str) -> None:
    write(project, "unit/test_two.py", TWO_TESTS)
    write(project, "other/test_left_out.py", text.format(reason="needs a moon and more"))
    result = project.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["LEFT OUT tests/other/test_left_out.py*'needs a moon and more' is not listed*"])


@WAYS
def test_a_listed_reason_is_accepted(project: pytest.Pytester, text: str) -> None:
    write(project, "unit/test_two.py", TWO_TESTS)
    write(project, "other/test_left_out.py", text.format(reason="needs a moon"))
    result = project.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.OK
    result.stdout.no_fnmatch_line("*LEFT OUT*")


def test_a_comment_of_the_list_is_no_reason(project: pytest.Pytester) -> None:
    write(project, "unit/test_two.py", TWO_TESTS)
    write(project, "other/test_left_out.py", SKIPPED.format(reason="# why"))
    assert project.runpytest_inprocess().ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize("arguments", [[], ["tests"], ["tests/unit"], ["tests/other", "tests/unit"], ["."]])
def test_a_folder_with_fewer_tests_than_it_must_hold_fails_the_run(
    project: pytest.Pytester, arguments: list[str]
) -> None:
    write(project, "unit/test_one.py", "def test_one(): pass\n")
    write(project, "other/test_three.py", "def test_three(): pass\n")
    result = project.runpytest_inprocess(*arguments)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["LEFT OUT tests/unit collected 1 tests, *says at least 2*"])


def test_tests_that_a_conftest_drops_are_missed(project: pytest.Pytester) -> None:
    write(project, "unit/test_two.py", TWO_TESTS)
    write(project, "conftest.py", "def pytest_collection_modifyitems(items): del items[1:]\n")
    assert project.runpytest_inprocess().ret == pytest.ExitCode.TESTS_FAILED


def test_a_folder_that_is_ignored_is_missed(project: pytest.Pytester) -> None:
    write(project, "unit/test_two.py", TWO_TESTS)
    write(project, "other/test_three.py", "def test_three(): pass\n")
    assert project.runpytest_inprocess("--ignore=tests/unit").ret == pytest.ExitCode.TESTS_FAILED


@pytest.mark.parametrize(
    "arguments",
    [
        ["tests/other"],
        ["tests/unit/test_one.py"],
        ["tests/unit/test_one.py::test_one"],
        ["-k", "one"],
        ["-m", "not slow"],
        ["--deselect", "tests/other/test_three.py::test_three"],
        ["--last-failed"],
        ["--stepwise"],
    ],
)
def test_a_run_of_some_tests_only_may_hold_fewer(project: pytest.Pytester, arguments: list[str]) -> None:
    write(project, "unit/test_one.py", "def test_one(): pass\n")
    write(project, "other/test_three.py", "def test_three(): pass\n")
    assert project.runpytest_inprocess(*arguments).ret == pytest.ExitCode.OK


def test_a_complete_run_is_green_and_a_failed_one_stays_red(project: pytest.Pytester) -> None:
    write(project, "unit/test_two.py", TWO_TESTS)
    assert project.runpytest_subprocess().ret == pytest.ExitCode.OK
    write(project, "other/test_failing.py", "def test_failing(): assert False\n")
    assert project.runpytest_subprocess().ret == pytest.ExitCode.TESTS_FAILED
