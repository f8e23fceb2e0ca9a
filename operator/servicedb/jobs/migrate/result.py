"""What came of a run: for a status, an exit code, and the message that a pod leaves behind."""

from dataclasses import asdict, dataclass, field
from typing import Any

from servicedb.errors import Problem
from servicedb.jobs.outcome import EXIT_CODES, OutcomeName, outcome_of, termination_message, unforeseen
from servicedb.plan.migrations.problems import Place


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
    outcome: OutcomeName = "Succeeded"
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

    def failed_with(self, error: Problem | OSError, place: Place | None = None) -> None:
        """The run ends with `error`: a Problem says how, and any other is one that nobody foresaw."""
        problem = error if isinstance(error, Problem) else unforeseen(error)
        self.outcome = outcome_of(problem)
        self.reason, self.message = problem.reason, problem.message
        self.failed = place or getattr(problem, "place", None)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def termination_message(self) -> str:
        """JSON of the essential, in at most as many bytes as Kubernetes keeps."""
        return termination_message(self._essential)

    def _essential(self, listed: int) -> dict[str, Any]:
        """Without rows, and with at most `listed` of a list."""
        whole = self.as_json()
        del whole["rows"]
        whole["pending_count"], whole["applied_count"] = len(self.pending), len(self.applied)
        whole["pending"] = self.pending[:listed]
        whole["seeds"] = [asdict(one) for one in self.seeds[:listed]]
        if self.tenants is not None:
            whole["tenants"]["failing"] = self.tenants.failing[:listed]
        whole["applied"] = [asdict(one) for one in self.applied[-listed:]] if listed else []
        return whole
