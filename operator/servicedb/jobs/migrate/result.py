"""What came of a run: for a status, an exit code, and the message that a pod leaves behind."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from servicedb.errors import NeedsDecision, Problem, Retryable
from servicedb.plan.migrations.problems import Place

Outcome = Literal["Succeeded", "Retryable", "Terminal", "NeedsDecision"]

EXIT_CODES: dict[Outcome, int] = {"Succeeded": 0, "Terminal": 1, "NeedsDecision": 3, "Retryable": 75}
"""2 is a wrong command line. 75 is EX_TEMPFAIL: the same may go well later. Source: sysexits.h."""

_LISTED = 20
TERMINATION_MESSAGE_BYTES = 4096
"""As much as Kubernetes keeps. Source: Kubernetes documentation, "Determine the Reason for Pod Failure"."""


@dataclass(frozen=True, slots=True)
class Done:
    """A migration, or its way back, that this run carried out."""

    version: str
    name: str
    checksum: str | None
    milliseconds: int


@dataclass(frozen=True, slots=True)
class Row:
    """A migration as a table shows it. `state` is applied, pending, begun, leaving, changed or missing."""

    version: str
    name: str
    state: str
    milliseconds: int | None = None


@dataclass(frozen=True, slots=True)
class Seeded:
    """A file of seeds that this run carried out, and how many rows it inserted."""

    file: str
    rows: int


@dataclass(slots=True)
class TenantResults:
    """How a run over many schemas went; `failing` are the names of those that failed."""

    total: int
    succeeded: int = 0
    failed: int = 0
    failing: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Result:
    """Filled in as the run goes on, so that it is true wherever that ends."""

    action: str
    set: str
    outcome: Outcome = "Succeeded"
    reason: str = ""
    message: str = ""
    source_digest: str | None = None
    from_version: str | None = None
    version: str | None = None
    pending: list[str] = field(default_factory=list)
    applied: list[Done] = field(default_factory=list)
    failed: Place | None = None
    rows: list[Row] = field(default_factory=list)
    tenants: TenantResults | None = None
    seeds: list[Seeded] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        return EXIT_CODES[self.outcome]

    def add_seeded(self, one: Seeded) -> None:
        """A file that ran in one of several schemas: its rows are counted together."""
        rows = next((known.rows for known in self.seeds if known.file == one.file), 0)
        others = [known for known in self.seeds if known.file != one.file]
        self.seeds = [*others, Seeded(one.file, rows + one.rows)]

    def failed_with(self, problem: Problem, place: Place | None = None) -> None:
        """The run ends with `problem`."""
        self.outcome = (
            "NeedsDecision"
            if isinstance(problem, NeedsDecision)
            else "Retryable"
            if isinstance(problem, Retryable)
            else "Terminal"
        )
        self.reason, self.message = problem.reason, problem.message
        self.failed = place or getattr(problem, "place", None)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def termination_message(self) -> str:
        """JSON of the essential, in at most as many bytes as Kubernetes keeps: lists are cut first, then words."""
        whole = self.as_json()
        del whole["rows"]
        whole["pending_count"], whole["applied_count"] = len(self.pending), len(self.applied)
        listed = _LISTED
        while True:
            whole["pending"] = self.pending[:listed]
            whole["seeds"] = [asdict(one) for one in self.seeds[:listed]]
            if self.tenants is not None:
                whole["tenants"]["failing"] = self.tenants.failing[:listed]
            whole["applied"] = [asdict(one) for one in self.applied[-listed:]] if listed else []
            text = _json(whole)
            if _fits(text):
                return text
            if not listed:
                break
            listed //= 2
        longest = TERMINATION_MESSAGE_BYTES
        while not _fits(text):
            longest //= 2
            text = _json(_shortened(whole, longest))
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
