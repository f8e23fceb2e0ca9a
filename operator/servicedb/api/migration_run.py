"""MigrationRun: a standing order that a database's schema is what a set of files says."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from servicedb.api.common import (
    NEVER_OBSERVED,
    Conditions,
    Handled,
    NamespacedMetadata,
    Object,
    ObservedGeneration,
    Part,
)
from servicedb.api.migration_job import MigrationJob
from servicedb.api.migration_source import AdoptHistory, Hooks, MigrationFormat, MigrationSource
from servicedb.api.schema import (
    AGE,
    LIST_SET,
    MESSAGE,
    READY,
    STATUS,
    Column,
    Resource,
    Rule,
    immutable,
    list_map,
    validations,
)
from servicedb.api.strings import Duration, Identifier, ObjectName, Word

Action = Literal["Up", "Down", "Verify", "Plan", "Seed", "ClearSeeds"]
Choice = Literal["Retry", "Done", "Skip", "Accept"]

LATEST = "Latest"
LISTED_MIGRATIONS = 20
"""Most migrations that `applied` in the status holds: the last ones."""
LISTED_SEEDS = 50
"""Most files that `seeds` in the status holds."""

_Key = Annotated[str, Field(min_length=1, max_length=253)]
_Digest = Annotated[str, Field(max_length=80, pattern=r"^sha256:[0-9a-f]{64}$")]


class DatabaseReference(Part):
    name: Annotated[ObjectName, Field(description="Name of the ServiceDatabase, in this namespace.")]


class Seeds(Part):
    """Rows for one environment."""

    environment: Annotated[
        Word,
        Field(description="Which folder of seeds/ runs; the ServiceDatabase's spec.environment has to be the same."),
    ]


class Tenants(Part):
    """The same migrations over many schemas."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "(has(self.pattern) ? 1 : 0) + (has(self.list) ? 1 : 0) + (has(self.query) ? 1 : 0) == 1",
                "spec.tenants takes exactly one of pattern, list and query: leave the others out",
            )
        )
    )

    pattern: Annotated[Identifier | None, Field(description="Names of schemas, as for LIKE, such as tenant_%.")] = None
    list_: Annotated[
        tuple[Identifier, ...],
        Field(alias="list", description="The schemas by name.", max_length=1000, json_schema_extra=LIST_SET),
    ] = ()
    query: Annotated[
        str | None,
        Field(
            description="One SELECT that gives the schemas' names. The migrator runs it, before anything is done.",
            min_length=1,
            max_length=4096,
        ),
    ] = None
    create: Annotated[bool, Field(description="true: going up, schemas that are not there are made.")] = False
    parallel: Annotated[int, Field(description="How many schemas at once.", ge=1, le=32)] = 1
    canary: Annotated[int, Field(description="How many schemas go first, one by one.", ge=0, le=1000)] = 1
    max_failures: Annotated[
        int, Field(description="After more failed schemas than this no other is begun.", ge=0, le=100_000)
    ] = 0


class ScheduleReference(Part):
    name: Annotated[ObjectName, Field(description="Name of the BackupSchedule, in this namespace.")]


class RequireBackup(Part):
    """A backup that has to be there first."""

    schedule_ref: Annotated[ScheduleReference, Field(description="The schedule whose backup counts.")]
    max_age: Annotated[Duration, Field(description="How old the backup may be.")] = Duration("1h")


class Decision(Part):
    """A person's answer to a question that a condition's message asks."""

    version: Annotated[_Key, Field(description="The version that the message names.")]
    digest: Annotated[_Digest, Field(description="The digest that the message names: it answers no other question.")]
    choice: Annotated[
        Choice,
        Field(
            description="Retry: run it again. Done: it was done. Skip: it is left out. Accept: a changed file is fine."
        ),
    ]


class MigrationRunSpec(Part):
    """What is wanted of the database's schema."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            immutable(
                "databaseRef",
                "spec.databaseRef cannot be changed: make another MigrationRun for that database",
            ),
            immutable(
                "set",
                "spec.set cannot be changed, it names the history: make another MigrationRun for that set",
            ),
            Rule(
                f"!has(self.action) || self.action != 'Down' || (has(self.target) && self.target != '{LATEST}')",
                "spec.action Down needs a version as spec.target: name the one to go back to, or 0 for none",
            ),
            Rule(
                "!has(self.action) || !(self.action in ['Seed', 'ClearSeeds']) || has(self.seeds)",
                "spec.action Seed and ClearSeeds need spec.seeds: name the environment",
            ),
        )
    )

    database_ref: Annotated[
        DatabaseReference, Field(description="The ServiceDatabase to migrate. It cannot be changed.")
    ]
    set_: Annotated[
        str,
        Field(
            alias="set",
            description="Name of this history: several sets may live in one database. It cannot be changed.",
            min_length=1,
            max_length=63,
            pattern=r"^[a-z0-9]([-._a-z0-9]*[a-z0-9])?$",
        ),
    ] = "default"
    source: Annotated[MigrationSource, Field(description="Where the files are.")]
    format: Annotated[MigrationFormat, Field(description="How the files are named. Auto: found by their names.")] = (
        "Auto"
    )
    action: Annotated[
        Action,
        Field(
            description="Up: apply what is missing. Down: go back to target by the SQL in the history. Verify, Plan: "
            "only look. Seed, ClearSeeds: put the rows of an environment in, or take them out."
        ),
    ] = "Up"
    target: Annotated[
        str,
        Field(
            description="The version to reach, or Latest.",
            min_length=1,
            max_length=253,
            pattern=r"^(Latest|[0-9]+([._][0-9]+)*)$",
        ),
    ] = LATEST
    adopt_history: Annotated[AdoptHistory | None, Field(description="The history of another tool to take over.")] = None
    out_of_order: Annotated[
        Literal["Fail", "Allow"], Field(description="What becomes of a version older than one that was applied.")
    ] = "Fail"
    hooks: Annotated[Hooks, Field(description="Files of the source that run before and after.")] = Hooks()
    seeds: Annotated[Seeds | None, Field(description="Rows of an environment: seeds/ENVIRONMENT/*.sql.")] = None
    tenants: Annotated[Tenants | None, Field(description="Schemas that each have a history of their own.")] = None
    require_backup: Annotated[RequireBackup | None, Field(description="A backup that has to be there first.")] = None
    lock_timeout: Annotated[Duration, Field(description="How long a statement may wait for a lock.")] = Duration("3s")
    statement_timeout: Annotated[Duration, Field(description="How long a statement may take; 0s: any time.")] = (
        Duration("0s")
    )
    retries: Annotated[
        int, Field(description="How often a migration is tried again that did not get its locks.", ge=0, le=100)
    ] = 5
    decisions: Annotated[
        tuple[Decision, ...],
        Field(
            description="Answers to what only a person may decide.",
            max_length=20,
            json_schema_extra=list_map("version"),
        ),
    ] = ()
    failure_detail: Annotated[
        Literal["Code", "Full"],
        Field(description="Code: no value of a row is shown. Full: the server's own words, which may hold some."),
    ] = "Code"
    job: Annotated[MigrationJob, Field(description="The pod that the work is done in.")] = MigrationJob()


class AppliedMigration(Part):
    """One migration of the history."""

    version: Annotated[_Key, Field(description="Its version, or R: and a name where it is repeatable.")]
    name: Annotated[str | None, Field(description="Name of the migration.", max_length=253)] = None
    checksum: Annotated[str | None, Field(description="Checksum of the file as it was applied.", max_length=80)] = None
    milliseconds: Annotated[int | None, Field(description="How long it took.", ge=0)] = None


class FailedMigration(Part):
    """Where a run failed."""

    version: Annotated[str | None, Field(description="The migration's version.", max_length=253)] = None
    file: Annotated[str | None, Field(description="Name of the file.", max_length=1024)] = None
    line: Annotated[int | None, Field(description="The line in the file, from 1.", ge=1)] = None
    sqlstate: Annotated[str | None, Field(description="PostgreSQL's code for the error.", max_length=5)] = None
    constraint: Annotated[str | None, Field(description="The constraint that was violated.", max_length=63)] = None


class SeedStatus(Part):
    """Rows that a seed put in."""

    file: Annotated[str, Field(description="Name of the file.", max_length=1024)]
    rows: Annotated[int, Field(description="How many rows it put in.", ge=0)]


class TenantStatus(Part):
    """How far the schemas are."""

    total: Annotated[int, Field(description="How many schemas there are.", ge=0)] = 0
    succeeded: Annotated[int, Field(description="How many are as wanted.", ge=0)] = 0
    failed: Annotated[int, Field(description="How many failed.", ge=0)] = 0
    failing: Annotated[
        tuple[Identifier, ...],
        Field(description="Names of some that failed.", max_length=20, json_schema_extra=LIST_SET),
    ] = ()


class JobStatus(Part):
    """The Job of the latest run."""

    name: Annotated[str, Field(description="Name of the Job, in this namespace.", max_length=63)]


class MigrationRunHandled(Part):
    """The annotations that were acted on."""

    reconcile_at: Handled = None


class MigrationRunStatus(Part):
    """What the operator found and did."""

    observed_generation: ObservedGeneration = NEVER_OBSERVED
    conditions: Conditions = ()
    source_digest: Annotated[
        str | None, Field(description="Digest of the files that the latest run was made with.", max_length=80)
    ] = None
    source_image: Annotated[
        str | None, Field(description="ID of the image that the latest run's files came from.", max_length=1024)
    ] = None
    run_key: Annotated[
        str | None,
        Field(
            description="Names the latest run that came to its end: source, target, action, spec and database "
            "together. While it is the same there is nothing to do.",
            max_length=80,
        ),
    ] = None
    from_version: Annotated[str | None, Field(description="The version before the latest run.", max_length=253)] = None
    version: Annotated[
        str | None,
        Field(description="The latest version that is applied; with tenants, in each of them.", max_length=253),
    ] = None
    pending: Annotated[int | None, Field(description="How many migrations are not applied yet.", ge=0)] = None
    applied: Annotated[
        tuple[AppliedMigration, ...],
        Field(
            description="The last migrations that were applied.",
            max_length=LISTED_MIGRATIONS,
            json_schema_extra=list_map("version"),
        ),
    ] = ()
    failed: Annotated[FailedMigration | None, Field(description="Where the latest run failed.")] = None
    seeds: Annotated[
        tuple[SeedStatus, ...],
        Field(description="Rows that the seeds put in.", max_length=LISTED_SEEDS, json_schema_extra=list_map("file")),
    ] = ()
    tenants: Annotated[TenantStatus | None, Field(description="How far the tenants' schemas are.")] = None
    job: Annotated[JobStatus | None, Field(description="The Job of the latest run.")] = None
    started_at: Annotated[AwareDatetime | None, Field(description="When the latest run began.")] = None
    completed_at: Annotated[AwareDatetime | None, Field(description="When the latest run ended.")] = None
    handled: Annotated[MigrationRunHandled, Field(description="Annotations that were acted on, by their values.")] = (
        MigrationRunHandled()
    )


class MigrationRun(Object):
    metadata: NamespacedMetadata
    spec: MigrationRunSpec
    status: MigrationRunStatus = MigrationRunStatus()


RESOURCE = Resource(
    kind="MigrationRun",
    plural="migrationruns",
    short_name="mrun",
    namespaced=True,
    description="A standing order that the schema of a ServiceDatabase is what a set of migrations says.",
    columns=(
        Column("Version", ".status.version", "The latest version that is applied"),
        Column("Pending", ".status.pending", "How many migrations are not applied yet", "integer"),
        STATUS,
        READY,
        AGE,
        Column("Tenants", ".status.tenants.total", "How many schemas there are", "integer", wide=True),
        Column("Failed", ".status.tenants.failed", "How many schemas failed", "integer", wide=True),
        Column("Database", ".spec.databaseRef.name", "The ServiceDatabase", wide=True),
        Column("Set", ".spec.set", "Name of the history", wide=True),
        Column("Job", ".status.job.name", "The Job of the latest run", wide=True),
        MESSAGE,
    ),
    selectable_fields=(".spec.databaseRef.name",),
)
