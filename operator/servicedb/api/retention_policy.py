"""RetentionPolicy: which rows of a database are archived and deleted when, by rules for its tables."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from servicedb.api.common import (
    NamespacedMetadata,
    Object,
    Part,
)
from servicedb.api.migration_job import JobSettings
from servicedb.api.migration_run import DatabaseReference, ScheduleReference
from servicedb.api.retention_status import RetentionPolicyStatus
from servicedb.api.schedule import CronSchedule, TimeZone
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
from servicedb.api.storage import Copy, Encryption, Storage
from servicedb.api.strings import NO_CONTROL_CHARACTERS, Duration, Identifier

Mode = Literal["Apply", "Plan"]
Interval = Literal["Day", "Week", "Month", "Year"]

MOST_RULES = 32
"""Most rules of one policy."""

TableName = Annotated[str, Field(min_length=3, max_length=127, pattern=NO_CONTROL_CHARACTERS)]

_OLDEST = "has(self.deleteAfter) ? self.deleteAfter : self.archiveAfter"


class Archive(Part):
    """Where rows are archived before they are deleted."""

    storage: Annotated[Storage, Field(description="Where the archives are kept.")]
    copies: Annotated[
        tuple[Copy, ...],
        Field(
            description="Further places, to which each archive is written as well.",
            max_length=3,
            json_schema_extra=list_map("name"),
        ),
    ] = ()
    encryption: Annotated[
        Encryption | None, Field(description="Who can read the archives. Left out: whoever can read the storage.")
    ] = None


class Partitioning(Part):
    """How the table is partitioned: by ranges of the column, each bounded in UTC."""

    interval: Annotated[Interval, Field(description="How much time a partition holds.")]
    premake: Annotated[
        int | None, Field(description="So many partitions are made ahead. Left out: 3.", ge=1, le=100)
    ] = None


class RetentionRule(Part):
    """Which rows of one table are archived and deleted."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "has(self.archiveAfter) || has(self.deleteAfter)",
                "a rule without archiveAfter and deleteAfter keeps every row: give one of them, or leave the rule out",
            ),
            Rule(
                "!has(self.archiveAfter) || !has(self.deleteAfter) || "
                f"{Duration.cel_milliseconds('self.archiveAfter')} <= {Duration.cel_milliseconds('self.deleteAfter')}",
                "archiveAfter must not be longer than deleteAfter: rows are archived before they are deleted",
            ),
            Rule(
                "!has(self.dropArchiveAfter) || !(has(self.archiveAfter) || has(self.deleteAfter)) || "
                f"{Duration.cel_milliseconds('self.dropArchiveAfter')} > "
                f"{Duration.cel_milliseconds(f'({_OLDEST})')}",
                "dropArchiveAfter must be longer than deleteAfter (archiveAfter where that is left out): both count "
                "from the row's time",
            ),
            Rule(
                "!has(self.archive) || self.archive || !has(self.archiveAfter) && !has(self.dropArchiveAfter)",
                "a rule with archive: false takes neither archiveAfter nor dropArchiveAfter: leave them out, or "
                "archive: false",
            ),
            Rule(
                "!has(self.where) || !self.where.contains(';')",
                "where is one condition: leave the semicolon out",
            ),
            Rule(
                "!has(self.where) || !has(self.partition)",
                "partitions go as a whole: leave where out, or partition",
            ),
        )
    )

    table: Annotated[TableName, Field(description="The table, with its schema, as in public.sessions.")]
    column: Annotated[
        Identifier, Field(description="The column with the row's time: a timestamptz, timestamp or date.")
    ]
    archive_after: Annotated[
        Duration | None,
        Field(description="Rows older than this are archived. Left out: when they are deleted."),
    ] = None
    delete_after: Annotated[
        Duration | None,
        Field(description="Rows older than this are deleted. Left out: as soon as they are archived."),
    ] = None
    drop_archive_after: Annotated[
        Duration | None,
        Field(description="What holds only rows older than this leaves the archive, too. Left out: never."),
    ] = None
    archive: Annotated[
        bool | None, Field(description="false: rows are deleted and kept nowhere. Left out: they are archived first.")
    ] = None
    where: Annotated[
        str | None,
        Field(
            description="A condition that rows have to meet besides, without a semicolon or a sub-select.",
            min_length=1,
            max_length=2048,
        ),
    ] = None
    partition: Annotated[
        Partitioning | None,
        Field(description="The table is partitioned: partitions are made ahead, and dropped as a whole."),
    ] = None
    batch_rows: Annotated[
        int | None,
        Field(description="A batch begins with so many rows. Left out: 5000.", ge=1, le=1_000_000),
    ] = None
    allow: Annotated[
        tuple[Identifier, ...],
        Field(
            description="Names of foreign keys, rules, triggers and inheriting tables that would have a deletion "
            "change other rows, which are not archived. One that is not listed stops the rule.",
            max_length=32,
            json_schema_extra=LIST_SET,
        ),
    ] = ()


class Limits(Part):
    """How much a run may do, and how hard."""

    max_rows_per_run: Annotated[
        int | None,
        Field(
            description="A rule that would delete more rows in a run is refused. Left out: any number.", ge=1, le=10**12
        ),
    ] = None
    max_duration: Annotated[
        Duration, Field(description="After that time a run begins no other batch; the next run goes on.")
    ] = Duration("1h")
    max_replica_lag: Annotated[
        Duration, Field(description="While a replica is further behind than this a run waits.")
    ] = Duration("10s")
    batch_target: Annotated[
        Duration, Field(description="Batches grow and shrink so that each takes about this long.")
    ] = Duration("200ms")


class RequireRecentBackup(Part):
    """A backup without which nothing is deleted."""

    schedule_ref: Annotated[ScheduleReference, Field(description="The schedule whose backup counts.")]
    max_age: Annotated[Duration, Field(description="How old the backup may be.")] = Duration("26h")
    verified: Annotated[bool, Field(description="true: only a backup that was restored on trial counts.")] = False


class RetentionPolicySpec(Part):
    """Which rows of the database are archived and deleted, and when."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            immutable(
                "databaseRef",
                "spec.databaseRef cannot be changed: make another RetentionPolicy for that database",
            ),
            Rule(
                "has(self.archive) || self.rules.all(rule, has(rule.archive) && !rule.archive)",
                "spec.archive is needed by every rule without archive: false: say where rows are archived, or that "
                "they are not",
            ),
        )
    )

    database_ref: Annotated[
        DatabaseReference, Field(description="The ServiceDatabase whose rows are meant. It cannot be changed.")
    ]
    schedule: Annotated[CronSchedule, Field(description="When, as a line of cron, such as 0 2 * * *.")]
    time_zone: Annotated[TimeZone, Field(description="The time zone that the schedule is meant in.")] = "Etc/UTC"
    starting_deadline: Annotated[
        Duration,
        Field(
            description="A run that could not begin so long after its time, for want of a backup for instance, is left "
            "out."
        ),
    ] = Duration("6h")
    suspend: Annotated[bool, Field(description="true: nothing is begun. What runs may end.")] = False
    mode: Annotated[Mode, Field(description="Plan: a run only looks, and writes to the status what it would do.")] = (
        "Apply"
    )
    archive: Annotated[Archive | None, Field(description="Where rows are archived before they are deleted.")] = None
    rules: Annotated[
        tuple[RetentionRule, ...],
        Field(
            description="One rule for a table.",
            min_length=1,
            max_length=MOST_RULES,
            json_schema_extra=list_map("table"),
        ),
    ]
    limits: Annotated[Limits, Field(description="How much a run may do, and how hard.")] = Limits()
    require_backup: Annotated[
        RequireRecentBackup | None,
        Field(description="A backup without which nothing is deleted. Left out: none is asked for."),
    ] = None
    job: Annotated[JobSettings, Field(description="The pods that the work is done in.")] = JobSettings()


class RetentionPolicy(Object):
    metadata: NamespacedMetadata
    spec: RetentionPolicySpec
    status: RetentionPolicyStatus = RetentionPolicyStatus()


RESOURCE = Resource(
    kind="RetentionPolicy",
    plural="retentionpolicies",
    short_name="rpol",
    namespaced=True,
    description="Which rows of a ServiceDatabase are archived and deleted when, by rules for its tables.",
    columns=(
        Column("Last Run", ".status.lastRun.completed", "Time since the last run ended", "date"),
        Column("Archived", ".status.lastRun.archivedRows", "How many rows the last run archived", "integer"),
        Column("Deleted", ".status.lastRun.deletedRows", "How many rows the last run deleted", "integer"),
        Column("Next", ".status.nextRun", "When the next run is due"),
        READY,
        STATUS,
        AGE,
        Column("Database", ".spec.databaseRef.name", "The ServiceDatabase", wide=True),
        Column("Schedule", ".spec.schedule", "When, as a line of cron", wide=True),
        Column("Mode", ".spec.mode", "Whether a run only looks", wide=True),
        Column("Suspended", ".spec.suspend", "Whether nothing is begun by time", "boolean", wide=True),
        MESSAGE,
    ),
    selectable_fields=(".spec.databaseRef.name",),
)
