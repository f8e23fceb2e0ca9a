"""How a run of any Job ends: its class, its exit code, and the message that its pod leaves behind."""

import json
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic.alias_generators import to_camel

from servicedb.errors import NeedsDecision, Problem, Retryable

OutcomeName = Literal["Succeeded", "Retryable", "Terminal", "NeedsDecision"]

EXIT_CODES: dict[OutcomeName, int] = {"Succeeded": 0, "Terminal": 1, "NeedsDecision": 3, "Retryable": 75}
"""2 is a wrong command line. 75 is EX_TEMPFAIL: the same may go well later. Source: sysexits.h."""

TERMINATION_MESSAGE_BYTES = 4096
"""As much as Kubernetes keeps. Source: Kubernetes documentation, "Determine the Reason for Pod Failure"."""

LISTED = 20
"""So many of a list are in a message at most."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of `action`. `reason` is CamelCase and stable, `message` a sentence where there is something to say."""

    action: str
    outcome: OutcomeName = "Succeeded"
    reason: str = ""
    message: str = ""

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]

    def failed_with(self, error: Exception) -> None:
        """The run ends with `error`: a Problem says how, and any other is one that nobody foresaw."""
        problem = error if isinstance(error, Problem) else unforeseen(error)
        self.outcome = outcome_of(problem)
        self.reason, self.message = problem.reason, problem.message

    def as_json(self, listed: int | None = None) -> dict[str, Any]:
        """With names as in an API, and with at most `listed` of a list; None: all."""
        whole = {to_camel(name): value for name, value in asdict(self).items()}
        return {name: value[:listed] if isinstance(value, list) else value for name, value in whole.items()}

    def termination_message(self) -> str:
        """JSON in at most as many bytes as Kubernetes keeps."""
        return termination_message(self.as_json)


def outcome_of(problem: Problem) -> OutcomeName:
    """How a run ends that meets `problem`."""
    if isinstance(problem, NeedsDecision):
        return "NeedsDecision"
    return "Retryable" if isinstance(problem, Retryable) else "Terminal"


def unforeseen(error: Exception) -> Retryable:
    """What is said of an error that is no Problem: its type, and where it arose. Its own words may hold values.

    It counts as passing: no disk, no memory and no process to be had are what it mostly is.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else ""
    return Retryable(
        "Unforeseen",
        f"an error ended it that servicedb did not foresee: {type(error).__name__}{why}{where}; it is tried again, and "
        "worth a report where it comes again",
    )


def termination_message(whole: Callable[[int], dict[str, Any]]) -> str:
    """JSON in at most as many bytes as Kubernetes keeps. `whole` gives it with lists of at most so many: they are cut
    first, then words."""
    listed = LISTED
    while not _fits(text := _json(whole(listed))) and listed:
        listed //= 2
    longest = TERMINATION_MESSAGE_BYTES
    while not _fits(text):
        longest //= 2
        text = _json(_shortened(whole(0), longest))
    return text


def _json(whole: dict[str, Any]) -> str:
    """As UTF-8 can carry it: the name of a file may hold bytes that are none."""
    return json.dumps(whole, ensure_ascii=False).encode("utf-8", "replace").decode()


def _fits(text: str) -> bool:
    return len(text.encode()) <= TERMINATION_MESSAGE_BYTES


def _shortened(value: Any, longest: int) -> Any:
    """`value` with no word of more than `longest` characters. JSON that is cut itself is read by nobody."""
    if isinstance(value, str):
        return value if len(value) <= longest else value[:longest] + "…"
    if isinstance(value, dict):
        return {name: _shortened(part, longest) for name, part in value.items()}
    return value
