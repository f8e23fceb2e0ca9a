"""What is asked of a run of migrations."""

from dataclasses import dataclass
from enum import StrEnum

from servicedb.plan.migrations.adoption import Foreign
from servicedb.plan.migrations.failure import Detail
from servicedb.plan.migrations.history import Decision
from servicedb.plan.migrations.sections import Format
from servicedb.plan.migrations.versions import Version


class Action(StrEnum):
    """As in spec.action; Status is the command's alone."""

    UP = "Up"
    DOWN = "Down"
    VERIFY = "Verify"
    PLAN = "Plan"
    STATUS = "Status"
    SEED = "Seed"
    CLEAR_SEEDS = "ClearSeeds"

    @property
    def only_looks(self) -> bool:
        return self in (Action.VERIFY, Action.PLAN, Action.STATUS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenants:
    """The schemas that a set is applied to, each with a history of its own: all that any of the three names.

    `canary` of them go first and alone; then `parallel` at a time, until more than `max_failures` have failed. Where
    nothing is done all are looked at. `create`: going up makes those that are missing.
    """

    pattern: str | None = None
    names: tuple[str, ...] = ()
    query: str | None = None
    create: bool = False
    parallel: int = 4
    canary: int = 1
    max_failures: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One run. `target` None is the latest version; for Down it has to be one, and 0 is before all.

    `environment` is that of the seeds, which going up runs, too; None: none. `archives`: those among the files are read
    as what they hold. `identity` names who asks (namespace, name and hash of the spec): a one-way action that it was
    the last to ask for is not done again. `source_digest` is the one that was seen by who asks: another source is
    refused. Times are in milliseconds, 0 without a limit; `wait` is in seconds, None as long as it takes.
    """

    action: Action
    set_name: str = "default"
    format: Format = Format.AUTO
    target: Version | None = None
    allow_out_of_order: bool = False
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    environment: str | None = None
    archives: bool = False
    adopt: Foreign | None = None
    tenants: Tenants | None = None
    lock_timeout: int = 3000
    statement_timeout: int = 0
    retries: int = 5
    decisions: tuple[Decision, ...] = ()
    detail: Detail = "Code"
    identity: str | None = None
    source_digest: str | None = None
    wait: float | None = None
