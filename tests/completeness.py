"""A pytest plugin: a run that leaves tests out fails, and says which.

- A test that was skipped, or failed as expected, fails the run unless tests/allowed_skips.txt lists its exact reason.
- A folder that is collected as a whole and holds fewer tests than tests/minimum_tests.toml says fails the run.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ALLOWED_SKIPS = Path("tests/allowed_skips.txt")
MINIMUM_TESTS = Path("tests/minimum_tests.toml")

# Options by which a run asks for some of the tests only, with what they are when not given.
_SELECTIONS: Mapping[str, object] = {
    "keyword": "",
    "markexpr": "",
    "deselect": None,
    "lf": False,
    "stepwise": False,
}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A test, or a module, that did not run as a test should, and the reason that it gave."""

    where: str
    how: str
    reason: str


def allowed_reasons(text: str) -> frozenset[str]:
    """The reasons that `text`, an allow-list, holds: one a line; empty lines and lines with # in front say why."""
    lines = (line.strip() for line in text.splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


def skip_faults(left_out: Sequence[LeftOut], allowed: frozenset[str]) -> Iterator[str]:
    """Yield a sentence for each of `left_out` whose reason is not `allowed`."""
    for one in left_out:
        if one.reason not in allowed:
            yield (
                f"{one.where} {one.how}: {one.reason!r} is not listed in {ALLOWED_SKIPS}; "
                "make it run, or list the reason"
            )


def minimum_faults(minimum: Mapping[str, int], collected: Mapping[str, int]) -> Iterator[str]:
    """Yield a sentence for each folder of `collected` (folder to number of tests) below its `minimum`."""
    for folder, least in minimum.items():
        if folder in collected and collected[folder] < least:
            yield (
                f"{folder} collected {collected[folder]} tests, {MINIMUM_TESTS} says at least {least}; "
                "find out which are missing, or lower the number where tests were removed on purpose"
            )


class Completeness:
    """What a run leaves out, gathered while it runs."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._allowed = allowed_reasons((config.rootpath / ALLOWED_SKIPS).read_text())
        self._minimum: dict[str, int] = tomllib.loads((config.rootpath / MINIMUM_TESTS).read_text())["minimum"]
        self._left_out: list[LeftOut] = []
        self._collected: dict[str, int] = {}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.skipped:
            self._left_out.append(LeftOut(report.nodeid, "was skipped as a whole", _skip_reason(report)))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        # Set by pytest for a test marked xfail, whether it failed or not.
        expected: str | None = getattr(report, "wasxfail", None)
        if expected is not None and (report.skipped or report.passed):
            how = "failed as expected" if report.skipped else "passed in spite of xfail"
            self._left_out.append(LeftOut(report.nodeid, how, expected.removeprefix("reason: ")))
        elif report.skipped:
            self._left_out.append(LeftOut(report.nodeid, "was skipped", _skip_reason(report)))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        for folder in self._minimum:
            directory = self._config.rootpath / folder
            if self._is_collected_as_a_whole(directory):
                self._collected[folder] = sum(directory in item.path.parents for item in session.items)

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus == pytest.ExitCode.OK and self._faults():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        faults = self._faults()
        if faults:
            terminalreporter.section("left out", red=True, bold=True)
            for fault in faults:
                terminalreporter.line(f"LEFT OUT {fault}", red=True)

    def _faults(self) -> list[str]:
        return [*skip_faults(self._left_out, self._allowed), *minimum_faults(self._minimum, self._collected)]

    def _is_collected_as_a_whole(self, directory: Path) -> bool:
        # --ignore is no such selection: a folder that must hold tests is not to be ignored in silence.
        if any(self._config.getoption(name, default) != default for name, default in _SELECTIONS.items()):
            return False
        asked = [(self._config.invocation_params.dir / argument).resolve() for argument in self._config.args]
        return any(path == directory or path in directory.parents for path in asked)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Completeness(config), "completeness-of-the-run")


def _skip_reason(report: pytest.CollectReport | pytest.TestReport) -> str:
    # (path, line, "Skipped: reason")
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(report.longrepr)
