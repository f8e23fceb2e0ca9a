"""What is asked of a run of retention, and what came of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from pydantic.alias_generators import to_camel

from servicedb.jobs.outcome import Outcome

_LONGEST = 256
"""So many characters of what is said of a rule are in a pod's last message."""


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
class Totals:
    """What was done, in all pods of the run."""

    archived_rows: int = 0
    deleted_rows: int = 0
    archived_bytes: int = 0
    partitions_created: int = 0
    partitions_dropped: int = 0
    archives_dropped: int = 0


@dataclass(slots=True, kw_only=True)
class RuleResult(Totals):
    """What came of one rule. `oldest` is the oldest time that is left, `problem` why not all of it was done."""

    table: str
    oldest: str | None = None
    null_times: int = 0
    problem: str | None = None


@dataclass(slots=True, kw_only=True)
class Result(Outcome):
    """What came of a run. Ages are counted from `began_at`; `partitions_ahead` is whether all partitions are there that
    the rules ask for, None where that is not known. `totals` are of all rules, also of those that a message leaves out.
    """

    action: str = "retain"
    run: str = ""
    began_at: str | None = None
    partitions_ahead: bool | None = None
    totals: Totals = field(default_factory=Totals)
    rules: list[RuleResult] = field(default_factory=list)

    def as_json(self, listed: int | None = None) -> dict[str, Any]:
        """With names as in an API. In a pod's last message a rule takes little room: what is 0 or empty is left out."""
        totals = {to_camel(name): value for name, value in asdict(self.totals).items()}
        return Outcome.as_json(self, listed) | {"totals": totals, "rules": rules_as_json(self.rules, listed)}


def rules_as_json(rules: Sequence[Any], listed: int | None) -> list[dict[str, Any]]:
    """The rules, dataclasses each, with names as in an API: briefly, where only so many of a list are wanted."""
    each = [{to_camel(name): value for name, value in asdict(one).items()} for one in rules]
    if listed is None:
        return each
    each.sort(key=lambda one: one["problem"] is None)  # those come first: not all may be told
    return [
        {name: _short(value, listed) for name, value in one.items() if value or value is False}
        for one in each[: max(listed, 1)]
    ]


def _short(value: Any, listed: int) -> Any:
    if isinstance(value, list):
        return [_short(one, listed) for one in value[:listed]]
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]}…"
    return value
