"""What is asked of a restore, or of a verification."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from servicedb.jobs.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One restore of the backup whose manifest is `key`.

    `identity` is a file with age identities. `schemas` and `tables` (each as
    schema.table) are those to restore (none: all). `roles` are names of roles in
    the backup and here, besides those that follow from the databases' names. `as_role` is who everything belongs to;
    None: the login itself. `wait` is in seconds, None as long as it takes. `programs` is the folder of pg_restore.
    `run` is what the restore is called, the same when it is tried again: what it left unfinished itself is dropped.
    """

    key: str
    run: str = ""
    identity: Path | None = None
    schemas: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    parallel: int = 2
    roles: Mapping[str, str] = field(default_factory=dict)
    as_role: str | None = None
    wait: float | None = None
    programs: Path | None = None


@dataclass(slots=True, kw_only=True)
class Result(Outcome):
    """What came of it. `mismatches` are at most as many as are listed, `mismatch_count` is how many there are;
    `seconds` is how long it took until the database could be used."""

    key: str | None = None
    manifest_digest: str | None = None
    rows: int | None = None
    seconds: float | None = None
    mismatches: list[str] = field(default_factory=list)
    mismatch_count: int = 0
    not_included: list[str] = field(default_factory=list)
    assertions: list[dict[str, Any]] = field(default_factory=list)
