"""What is asked of a run of retention, and what came of it."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from pydantic.alias_generators import to_camel

from servicedb.jobs.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run. Another pod with the same `run` goes on with it, and counts ages from the same moment.

    `backup_digest` and `backup_time` prove that there is a backup, where the policy asks for one. `level` is zstd's (0:
    not compressed), `recipients` those of age. It waits up to `wait` seconds (None: as long as it takes) for other work
    on the database.
    """

    run: str
    backup_digest: str | None = None
    backup_time: datetime | None = None
    level: int = 3
    recipients: tuple[str, ...] = ()
    wait: float | None = None


@dataclass(slots=True, kw_only=True)
class RuleResult:
    """What came of one rule, in all pods of the run. `oldest` is the oldest time that is left, `problem` why not all of
    it was done."""

    table: str
    archived_rows: int = 0
    deleted_rows: int = 0
    archived_bytes: int = 0
    partitions_created: int = 0
    partitions_dropped: int = 0
    archives_dropped: int = 0
    oldest: str | None = None
    null_times: int = 0
    problem: str | None = None


@dataclass(slots=True, kw_only=True)
class Result(Outcome):
    """What came of a run. Ages are counted from `began_at`; `partitions_ahead` is whether all partitions are there that
    the rules ask for."""

    action: str = "retain"
    run: str = ""
    began_at: str | None = None
    partitions_ahead: bool = True
    rules: list[RuleResult] = field(default_factory=list)

    def as_json(self, listed: int | None = None) -> dict[str, Any]:
        """With names as in an API; the rules are named all, however few of a list are to be."""
        whole = Outcome.as_json(self, listed)
        whole["rules"] = [{to_camel(name): value for name, value in asdict(one).items()} for one in self.rules]
        return whole
