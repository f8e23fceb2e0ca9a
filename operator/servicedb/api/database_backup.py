"""DatabaseBackup: one backup as it stands in a store, or an order for one."""

from typing import Annotated

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
from servicedb.api.migration_run import DatabaseReference, ScheduleReference
from servicedb.api.schema import (
    AGE,
    LIST_ATOMIC,
    MESSAGE,
    READY,
    STATUS,
    Column,
    Resource,
    Rule,
    immutable,
    validations,
)
from servicedb.api.storage import Encryption, Storage
from servicedb.api.strings import Line

StoreKey = Annotated[
    str,
    Field(
        min_length=1,
        max_length=512,
        pattern=r"^[0-9]{1,20}-[0-9]{1,10}/[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}/manifest\.json$",
    ),
]
"""Where a backup's manifest stands below the store's prefix."""

LISTED_NOT_INCLUDED = 50
"""Most lines of what a backup does not hold."""


class DatabaseBackupSpec(Part):
    """Which backup this is, or what is to be backed up."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "has(self.key) || has(self.databaseRef)",
                "spec needs a databaseRef to back up, or the key of a backup that there is: add one of them",
            ),
            Rule(
                "has(self.scheduleRef) || has(self.storage)",
                "spec needs a storage, or a scheduleRef that has one: add one of them",
            ),
            Rule(
                "!has(self.encryption) || has(self.storage)",
                "spec.encryption belongs to spec.storage: leave it out, the schedule says how it encrypts",
            ),
            immutable("key", "spec.key cannot be changed: it says which backup this is"),
            immutable(
                "databaseRef", "spec.databaseRef cannot be changed: make another DatabaseBackup for that database"
            ),
            immutable("scheduleRef", "spec.scheduleRef cannot be changed: make another DatabaseBackup"),
            immutable("storage", "spec.storage cannot be changed: make another DatabaseBackup for that place"),
            immutable("encryption", "spec.encryption cannot be changed: make another DatabaseBackup"),
        )
    )

    key: Annotated[
        StoreKey | None,
        Field(
            description="The backup's key in the store. servicedb sets it in the objects that it makes for backups "
            "that it finds: such an object runs nothing."
        ),
    ] = None
    database_ref: Annotated[
        DatabaseReference | None, Field(description="The ServiceDatabase that is backed up. It cannot be changed.")
    ] = None
    schedule_ref: Annotated[
        ScheduleReference | None,
        Field(description="The schedule in whose storage the backup is, and by whose settings it is made."),
    ] = None
    storage: Annotated[
        Storage | None, Field(description="Where the backup is, in place of the schedule's storage.")
    ] = None
    encryption: Annotated[
        Encryption | None,
        Field(description="With storage: who can read the backup. Left out: all that can read there."),
    ] = None
    pinned: Annotated[bool, Field(description="true: it is never pruned. It may be changed at any time.")] = False


class DatabaseBackupHandled(Part):
    """The annotations that were acted on."""

    reconcile_at: Handled = None


class DatabaseBackupStatus(Part):
    """What is known of the backup."""

    observed_generation: ObservedGeneration = NEVER_OBSERVED
    conditions: Conditions = ()
    key: Annotated[str | None, Field(description="The backup's key in the store.", max_length=512)] = None
    database_name: Annotated[
        str | None, Field(description="How the database is called on its server.", max_length=63)
    ] = None
    manifest_digest: Annotated[
        str | None, Field(description="Digest of the manifest: it names this very backup.", max_length=80)
    ] = None
    size: Annotated[str | None, Field(description="What the backup takes in the store, for people.", max_length=16)] = (
        None
    )
    size_bytes: Annotated[int | None, Field(description="What the backup takes in the store, in bytes.", ge=0)] = None
    raw_bytes: Annotated[int | None, Field(description="What it was before it was compressed, in bytes.", ge=0)] = None
    rows: Annotated[int | None, Field(description="How many rows it holds, of all tables together.", ge=0)] = None
    duration: Annotated[str | None, Field(description="How long it took.", max_length=16)] = None
    server_version: Annotated[
        str | None, Field(description="The version of PostgreSQL that it was made from, such as 17.5.", max_length=63)
    ] = None
    not_included: Annotated[
        tuple[Line, ...],
        Field(
            description="What the database holds and the backup does not.",
            max_length=LISTED_NOT_INCLUDED,
            json_schema_extra=LIST_ATOMIC,
        ),
    ] = ()
    started_at: Annotated[
        AwareDatetime | None, Field(description="The moment that the backup shows the database at, by its own clock.")
    ] = None
    completed_at: Annotated[
        AwareDatetime | None, Field(description="When it was complete, by the database's clock.")
    ] = None
    verified_at: Annotated[
        AwareDatetime | None, Field(description="When it was last restored on trial and found whole.")
    ] = None
    job: Annotated[str | None, Field(description="Name of the Job that makes or made it.", max_length=63)] = None
    gone: Annotated[bool | None, Field(description="true: the backup is no longer in the store.")] = None
    handled: Annotated[DatabaseBackupHandled, Field(description="Annotations that were acted on, by their values.")] = (
        DatabaseBackupHandled()
    )


class DatabaseBackup(Object):
    metadata: NamespacedMetadata
    spec: DatabaseBackupSpec
    status: DatabaseBackupStatus = DatabaseBackupStatus()


RESOURCE = Resource(
    kind="DatabaseBackup",
    plural="databasebackups",
    short_name="dbbackup",
    namespaced=True,
    description="A backup of a ServiceDatabase: one that servicedb found in a store, or a person's order for one.",
    columns=(
        Column("Database", ".spec.databaseRef.name", "The ServiceDatabase"),
        Column("Taken", ".status.startedAt", "Age of what it holds", "date"),
        Column("Size", ".status.size", "What it takes in the store"),
        Column("Rows", ".status.rows", "How many rows it holds", "integer"),
        Column("Verified", '.status.conditions[?(@.type=="Verified")].status', "Whether it was restored on trial"),
        READY,
        STATUS,
        AGE,
        Column("Pinned", ".spec.pinned", "Whether it is never pruned", "boolean", wide=True),
        Column("Schedule", ".spec.scheduleRef.name", "The BackupSchedule", wide=True),
        Column("Database Name", ".status.databaseName", "How the database is called on its server", wide=True),
        Column("Key", ".status.key", "Where it stands in the store", wide=True),
        MESSAGE,
    ),
    selectable_fields=(".spec.databaseRef.name", ".spec.scheduleRef.name"),
)
