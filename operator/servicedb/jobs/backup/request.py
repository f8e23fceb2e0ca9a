"""What is asked of a backup."""

from dataclasses import dataclass, field
from pathlib import Path

from servicedb.jobs.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One backup. `run` names who makes it: the UID of a Job, or host:pid.

    `level` is zstd's (0: not compressed), `recipients` those of age. It begins by up to `spread` seconds later, as
    `spread_key` has it, and waits up to `wait` seconds (None: as long as it takes) for other work on the database.
    `as_role` is the role to read as; None: the login reads itself. `programs` is the folder of pg_dump.
    """

    run: str
    level: int = 1
    parallel: int = 2
    recipients: tuple[str, ...] = ()
    spread: float = 0.0
    spread_key: str = ""
    wait: float | None = None
    as_role: str | None = None
    programs: Path | None = None


@dataclass(slots=True, kw_only=True)
class Result(Outcome):
    """What came of it: the essential of the manifest, where there is one. `seconds` is how long the dump took."""

    action: str = "backup"
    key: str | None = None
    database: str | None = None
    manifest_digest: str | None = None
    size_bytes: int | None = None
    raw_bytes: int | None = None
    rows: int | None = None
    server_version: int | None = None
    started_at: str | None = None
    completed_at: str | None = None
    seconds: float | None = None
    not_included: list[str] = field(default_factory=list)
