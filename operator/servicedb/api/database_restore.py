"""DatabaseRestore: a backup is to be restored into a database, once."""

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
from servicedb.api.database_backup import LISTED_NOT_INCLUDED, StoreKey
from servicedb.api.migration_job import JobSettings
from servicedb.api.migration_run import DatabaseReference, JobStatus
from servicedb.api.schema import (
    AGE,
    LIST_ATOMIC,
    LIST_SET,
    MESSAGE,
    READY,
    STATUS,
    Column,
    Resource,
    Rule,
    validations,
)
from servicedb.api.storage import IdentityReference, Storage
from servicedb.api.strings import NO_CONTROL_CHARACTERS, Duration, Identifier, Line, ObjectName

Overwrite = Literal["Never", "RenameOld"]

LISTED_MISMATCHES = 20
"""Most lines that `mismatches` holds."""

TableName = Annotated[str, Field(min_length=1, max_length=131, pattern=NO_CONTROL_CHARACTERS)]


class BackupReference(Part):
    name: Annotated[ObjectName, Field(description="Name of the DatabaseBackup, in this namespace.")]


class RestoreSource(Part):
    """The backup."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "has(self.backupRef) ? !has(self.key) && !has(self.storage) : has(self.key) && has(self.storage)",
                "spec.source takes either a backupRef, or a key with its storage: leave the other out",
            )
        )
    )

    backup_ref: Annotated[BackupReference | None, Field(description="The DatabaseBackup to restore.")] = None
    key: Annotated[StoreKey | None, Field(description="The backup's key in storage.")] = None
    storage: Annotated[Storage | None, Field(description="Where the backup is.")] = None


class RestoreTarget(Part):
    """Where it goes."""

    database_ref: Annotated[
        DatabaseReference,
        Field(description="The ServiceDatabase that is filled: a new or empty one, unless overwrite says otherwise."),
    ]


class DatabaseRestoreSpec(Part):
    """What is restored, and where to."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "self == oldSelf",
                "spec cannot be changed, a restore is made once: make another DatabaseRestore",
            )
        )
    )

    source: Annotated[RestoreSource, Field(description="The backup.")]
    target: Annotated[RestoreTarget, Field(description="The database that it is restored into.")]
    overwrite: Annotated[
        Overwrite,
        Field(
            description="Never: a database that holds tables is not touched. RenameOld: such a database is kept, "
            "closed, under another name, and a new one takes its place."
        ),
    ] = "Never"
    schemas: Annotated[
        tuple[Identifier, ...],
        Field(description="Only these schemas. Left out: all.", max_length=100, json_schema_extra=LIST_SET),
    ] = ()
    tables: Annotated[
        tuple[TableName, ...],
        Field(
            description="Only these tables, each as schema.table, with what they need, their own indexes, keys, "
            "triggers and policies. Left out: all.",
            max_length=200,
            json_schema_extra=LIST_SET,
        ),
    ] = ()
    parallel: Annotated[int, Field(description="How many tables are written at once.", ge=1, le=16)] = 2
    identity_secret_ref: Annotated[
        IdentityReference | None,
        Field(description="The private key of age. Left out: that of the backup's schedule, where it has one."),
    ] = None
    deadline: Annotated[Duration, Field(description="After that time the restore is ended, and has failed.")] = (
        Duration("12h")
    )
    job: Annotated[JobSettings, Field(description="The pod that the work is done in.")] = JobSettings()


class DatabaseRestoreHandled(Part):
    """The annotations that were acted on."""

    reconcile_at: Handled = None


class DatabaseRestoreStatus(Part):
    """What the operator found and did."""

    observed_generation: ObservedGeneration = NEVER_OBSERVED
    conditions: Conditions = ()
    key: Annotated[str | None, Field(description="Key of the backup that is restored.", max_length=512)] = None
    manifest_digest: Annotated[str | None, Field(description="Digest of the backup's manifest.", max_length=80)] = None
    rows: Annotated[int | None, Field(description="How many rows were restored.", ge=0)] = None
    duration: Annotated[str | None, Field(description="How long it took.", max_length=16)] = None
    mismatches: Annotated[
        tuple[Line, ...],
        Field(
            description="Where the database is not what the backup says.",
            max_length=LISTED_MISMATCHES,
            json_schema_extra=LIST_ATOMIC,
        ),
    ] = ()
    mismatch_count: Annotated[int | None, Field(description="How many mismatches there are.", ge=0)] = None
    not_included: Annotated[
        tuple[Line, ...],
        Field(
            description="What the database held and the backup does not.",
            max_length=LISTED_NOT_INCLUDED,
            json_schema_extra=LIST_ATOMIC,
        ),
    ] = ()
    job: Annotated[JobStatus | None, Field(description="The Job of the restore.")] = None
    started_at: Annotated[AwareDatetime | None, Field(description="When the restore began.")] = None
    completed_at: Annotated[AwareDatetime | None, Field(description="When the restore ended.")] = None
    handled: Annotated[
        DatabaseRestoreHandled, Field(description="Annotations that were acted on, by their values.")
    ] = DatabaseRestoreHandled()


class DatabaseRestore(Object):
    metadata: NamespacedMetadata
    spec: DatabaseRestoreSpec
    status: DatabaseRestoreStatus = DatabaseRestoreStatus()


RESOURCE = Resource(
    kind="DatabaseRestore",
    plural="databaserestores",
    short_name="dbrestore",
    namespaced=True,
    description="An order to restore a backup into a ServiceDatabase, carried out once.",
    columns=(
        Column("Database", ".spec.target.databaseRef.name", "The ServiceDatabase that is filled"),
        Column("Rows", ".status.rows", "How many rows were restored", "integer"),
        Column("Mismatches", ".status.mismatchCount", "Where the database is not what the backup says", "integer"),
        STATUS,
        READY,
        AGE,
        Column("Backup", ".status.key", "Key of the backup", wide=True),
        Column("Took", ".status.duration", "How long it took", wide=True),
        MESSAGE,
    ),
    selectable_fields=(".spec.target.databaseRef.name",),
)
