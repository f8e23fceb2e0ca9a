"""BackupSchedule: which databases are backed up when, where to, and how long the backups are kept."""

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
    ServerReference,
)
from servicedb.api.migration_job import JobSettings, Quantity
from servicedb.api.schedule import CronSchedule, TimeZone
from servicedb.api.schema import AGE, MESSAGE, READY, STATUS, Column, Resource, Rule, list_map, validations
from servicedb.api.storage import Compression, Copy, Encryption, Storage
from servicedb.api.strings import Duration, LabelKeyed, LabelValue, ObjectName, Word

DeletionPolicy = Literal["Retain", "Delete"]

MOST_DATABASES = 200
"""Most databases of one schedule."""

_Key = Annotated[str, Field(min_length=1, max_length=1024)]
_Count = Annotated[int | None, Field(ge=1, le=10_000)]


class ScheduledDatabase(Part):
    """A database to back up."""

    name: Annotated[ObjectName, Field(description="Name of the ServiceDatabase, in this namespace.")]


class DatabaseSelector(Part):
    """Which labels a ServiceDatabase carries."""

    match_labels: Annotated[
        dict[str, LabelValue],
        LabelKeyed,
        Field(
            description="Labels of the ServiceDatabases in this namespace, all of which they have to carry.",
            min_length=1,
            max_length=32,
        ),
    ]


class Retention(Part):
    """Which backups are kept: those that any of these rules keeps. All others are pruned, the oldest first."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "has(self.keepLast) || has(self.keepWithin) || has(self.keepDaily) || has(self.keepWeekly) || "
                "has(self.keepMonthly)",
                "spec.retention without a rule would keep next to nothing: give keepLast, keepWithin, keepDaily, "
                "keepWeekly or keepMonthly, or leave spec.retention out to keep everything",
            )
        )
    )

    keep_last: Annotated[_Count, Field(description="So many of the newest.")] = None
    keep_within: Annotated[Duration | None, Field(description="All that are younger than this.")] = None
    keep_daily: Annotated[_Count, Field(description="The newest of each of so many days that have one.")] = None
    keep_weekly: Annotated[_Count, Field(description="The newest of each of so many weeks (ISO 8601).")] = None
    keep_monthly: Annotated[_Count, Field(description="The newest of each of so many months.")] = None
    minimum: Annotated[int, Field(description="Never fewer than so many are left.", ge=1, le=10_000)] = 1
    max_prunes_per_run: Annotated[
        int, Field(description="At most so many are pruned at once, and never more than 20.", ge=1, le=1000)
    ] = 10
    time_zone: Annotated[
        TimeZone | None, Field(description="Where days, weeks and months begin. Left out: spec.timeZone.")
    ] = None


class Assertion(Part):
    """A question to the restored database."""

    name: Annotated[Word, Field(description="Names it in messages.")]
    sql: Annotated[
        str,
        Field(
            description="A query that gives one value, read as text. Tables stand in it with their schema.",
            min_length=1,
            max_length=4096,
        ),
    ]
    expect: Annotated[str, Field(description="The value that it has to give.", max_length=1024)]


class Verification(Part):
    """When the newest backup is restored on trial."""

    schedule: Annotated[CronSchedule, Field(description="When, in spec.timeZone, as a line of cron.")]
    server_ref: Annotated[
        ServerReference, Field(description="The DatabaseServer on which a scratch database is made and dropped again.")
    ]
    allow_same_server: Annotated[
        bool,
        Field(description="true: it may be the server that the database itself is on, whose disk and load it shares."),
    ] = False
    max_size: Annotated[
        Quantity | None,
        Field(description="A backup that holds more than this, such as 50Gi, is not verified. Left out: any."),
    ] = None
    assertions: Annotated[
        tuple[Assertion, ...],
        Field(
            description="Questions to the restored database, besides what is compared anyway.",
            max_length=20,
            json_schema_extra=list_map("name"),
        ),
    ] = ()


class Objectives(Part):
    """What the backups have to be good for."""

    recovery_point: Annotated[
        Duration | None,
        Field(description="Every database has a backup that is younger than this, or RecoveryPointMet turns False."),
    ] = None
    recovery_time: Annotated[
        Duration | None,
        Field(description="A restore takes no longer than this, as a verification measures it."),
    ] = None


class BackupDeletion(Part):
    """What becomes of a backup whose DatabaseBackup is deleted."""

    policy: Annotated[
        DeletionPolicy,
        Field(
            description="Retain: the backup stays in the store, and the DatabaseBackup comes back. Delete: deleting "
            "the DatabaseBackup while the operator and this schedule are there deletes the backup."
        ),
    ] = "Retain"


class BackupScheduleSpec(Part):
    """Which databases are backed up, when, where to, and what is kept."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "(has(self.databaseRefs) && self.databaseRefs.size() > 0) != has(self.selector)",
                "spec takes exactly one of databaseRefs and selector: leave the other out",
            ),
            Rule(
                "!has(self.verify) || !has(self.encryption) || has(self.encryption.identitySecretRef)",
                "spec.verify needs spec.encryption.identitySecretRef: what is encrypted can't be restored without it",
            ),
        )
    )

    database_refs: Annotated[
        tuple[ScheduledDatabase, ...],
        Field(
            description="The ServiceDatabases by name.", max_length=MOST_DATABASES, json_schema_extra=list_map("name")
        ),
    ] = ()
    selector: Annotated[DatabaseSelector | None, Field(description="The ServiceDatabases by their labels.")] = None
    schedule: Annotated[CronSchedule, Field(description="When, as a line of cron, such as 0 2 * * *.")]
    time_zone: Annotated[TimeZone, Field(description="The time zone that the schedule is meant in.")] = "Etc/UTC"
    spread: Annotated[
        Duration,
        Field(
            description="Backups that are due together begin within this time of each other, each database always at "
            "the same moment of it."
        ),
    ] = Duration("10m")
    starting_deadline: Annotated[
        Duration, Field(description="A backup that could not begin so long after its time is left out.")
    ] = Duration("600s")
    deadline: Annotated[Duration, Field(description="After that time a backup is ended, and has failed.")] = Duration(
        "4h"
    )
    suspend: Annotated[bool, Field(description="true: nothing is begun by time. What runs may end.")] = False
    storage: Annotated[Storage, Field(description="Where the backups are kept.")]
    copies: Annotated[
        tuple[Copy, ...],
        Field(
            description="Further places, to which each backup is written as well.",
            max_length=3,
            json_schema_extra=list_map("name"),
        ),
    ] = ()
    encryption: Annotated[
        Encryption | None, Field(description="Who can read the backups. Left out: whoever can read the storage.")
    ] = None
    compression: Annotated[Compression, Field(description="How backups are compressed.")] = Compression()
    parallel: Annotated[int, Field(description="How many tables are read at once.", ge=1, le=16)] = 2
    retention: Annotated[Retention | None, Field(description="Which backups are kept. Left out: all of them.")] = None
    verify: Annotated[
        Verification | None, Field(description="When a backup is restored on trial. Left out: never.")
    ] = None
    objectives: Annotated[Objectives, Field(description="What the backups have to be good for.")] = Objectives()
    deletion: Annotated[
        BackupDeletion, Field(description="What becomes of a backup whose DatabaseBackup is deleted.")
    ] = BackupDeletion()
    job: Annotated[JobSettings, Field(description="The pods that the work is done in.")] = JobSettings()


class Failure(Part):
    """What went wrong last."""

    reason: Annotated[str, Field(description="Why, in one CamelCase word.", max_length=63)]
    message: Annotated[str, Field(description="What is wrong, where, and what to do.", max_length=2048)]
    at: Annotated[AwareDatetime, Field(description="When it went wrong.")]
    terminal: Annotated[bool, Field(description="true: only a person can go on.")] = False
    not_begun: Annotated[
        bool, Field(description="true: it could not be begun, and is as soon as what stands in its way is gone.")
    ] = False


class ScheduledDatabaseStatus(Part):
    """How a database of the schedule stands."""

    name: Annotated[ObjectName, Field(description="Name of the ServiceDatabase.")]
    added_at: Annotated[
        AwareDatetime | None,
        Field(description="When the schedule was first seen to have it. Left out: since the schedule was made."),
    ] = None
    last_success: Annotated[
        AwareDatetime | None, Field(description="The moment that the newest backup shows the database at.")
    ] = None
    last_key: Annotated[_Key | None, Field(description="Key of the newest backup in the store.")] = None
    last_verified: Annotated[
        AwareDatetime | None, Field(description="When a backup was last restored on trial and found whole.")
    ] = None
    backups: Annotated[int, Field(description="How many backups there are.", ge=0)] = 0
    failure: Annotated[
        Failure | None, Field(description="Why the latest backup failed; left out where it did not.")
    ] = None
    verify_failure: Annotated[
        Failure | None, Field(description="Why the latest verification failed; left out where it did not.")
    ] = None


class BackupScheduleHandled(Part):
    """The annotations that were acted on, and the work that was begun."""

    reconcile_at: Handled = None
    run_at: Handled = None
    pruned_after: Annotated[
        str | None, Field(description="Names the backups after which the store was last pruned.", max_length=80)
    ] = None
    verified_for: Annotated[
        AwareDatetime | None, Field(description="The time of spec.verify.schedule that was last verified for.")
    ] = None
    listed_at: Annotated[AwareDatetime | None, Field(description="When the store was last listed as a whole.")] = None
    listed_up_to: Annotated[
        _Key | None, Field(description="The key up to which the store has been listed, where it is not done.")
    ] = None


class BackupScheduleStatus(Part):
    """What the operator found and did."""

    observed_generation: ObservedGeneration = NEVER_OBSERVED
    conditions: Conditions = ()
    last_success: Annotated[
        AwareDatetime | None,
        Field(
            description="Every database has a backup that is at least as new as this; left out while one of them has "
            "none."
        ),
    ] = None
    last_verified: Annotated[
        AwareDatetime | None,
        Field(description="Of every database a backup was restored on trial since then; left out while one was not."),
    ] = None
    next_run: Annotated[
        str | None, Field(description="When the next backup is due, in the schedule's time zone.", max_length=40)
    ] = None
    backups: Annotated[int | None, Field(description="How many backups there are.", ge=0)] = None
    measured_recovery: Annotated[
        str | None, Field(description="How long the slowest of the latest verifications took.", max_length=16)
    ] = None
    databases: Annotated[
        tuple[ScheduledDatabaseStatus, ...],
        Field(
            description="How each database stands.",
            max_length=MOST_DATABASES,
            json_schema_extra=list_map("name"),
        ),
    ] = ()
    handled: Annotated[
        BackupScheduleHandled, Field(description="Annotations that were acted on, and work that was begun.")
    ] = BackupScheduleHandled()


class BackupSchedule(Object):
    metadata: NamespacedMetadata
    spec: BackupScheduleSpec
    status: BackupScheduleStatus = BackupScheduleStatus()


RESOURCE = Resource(
    kind="BackupSchedule",
    plural="backupschedules",
    short_name="bsched",
    namespaced=True,
    description="Which ServiceDatabases are backed up when, where to, how long backups are kept, and when one of them "
    "is restored on trial.",
    columns=(
        Column(
            "Last Success",
            ".status.lastSuccess",
            "Age of the newest backup, of the database where it is oldest",
            "date",
        ),
        Column("Last Verified", ".status.lastVerified", "Time since backups were last restored on trial", "date"),
        Column("Next", ".status.nextRun", "When the next backup is due"),
        Column("Backups", ".status.backups", "How many backups there are", "integer"),
        READY,
        STATUS,
        AGE,
        Column("Schedule", ".spec.schedule", "When, as a line of cron", wide=True),
        Column("Suspended", ".spec.suspend", "Whether nothing is begun by time", "boolean", wide=True),
        Column("Recovery", ".status.measuredRecovery", "How long a restore took", wide=True),
        MESSAGE,
    ),
)
