"""Which steps come in which course of events, in the order in which they first come: what a kill is tried at."""

from servicedb.plan.steps.backups import (
    BeginWork,
    ChangeCronJob,
    CreateCronJob,
    DeleteCronJob,
    DescribeBackup,
    EndWork,
    ForgetBackup,
    MarkGone,
    RecordBackup,
    RecordVerification,
)
from servicedb.plan.steps.base import Step
from servicedb.plan.steps.databases import (
    ChangeDatabaseOwner,
    ChangeSetting,
    CloseDatabase,
    CreateDatabase,
    DropDatabase,
    GrantOnDatabase,
    OpenDatabase,
    RenameDatabase,
    RevokeOnDatabase,
)
from servicedb.plan.steps.inside import (
    ChangeObjectOwner,
    ChangeSchemaOwner,
    CreateExtension,
    CreateSchema,
    GrantByDefault,
    GrantOnObjects,
    GrantOnSchema,
    NoteGranted,
    RevokeByDefault,
    RevokeOnObjects,
    RevokeOnSchema,
    UpdateExtension,
)
from servicedb.plan.steps.migrations import BeginRun, CreateJob, DeleteJob, NoteResult
from servicedb.plan.steps.roles import (
    AlterRole,
    CloseLogin,
    CommentOnRole,
    CreateRole,
    DropOwned,
    DropRole,
    EndSessions,
    Grant,
    NoteOnLogin,
    OpenLogin,
    RenameRole,
    ResetRoleSetting,
    Revoke,
    SetPassword,
)
from servicedb.plan.steps.secrets import ActivateSecret, DeleteSecret, PrepareSecret, ProveLogin

NEEDED: tuple[type[Step], ...] = (
    CreateRole,
    SetPassword,
    Grant,
    CreateDatabase,
    OpenDatabase,
    CreateSchema,
    CreateExtension,
    UpdateExtension,
)
"""Kinds of step that the spec can't do without. Any other that the server refuses leaves a difference behind, which is
listed, and the rest goes on."""

TAKES_BACK: tuple[type[Step], ...] = (AlterRole, Revoke, ResetRoleSetting)
"""Kinds of step that undo what somebody did to roles by hand: what a superuser did, the admin may not be able to."""

CREATION: tuple[type[Step], ...] = (
    CreateRole,
    Grant,
    CreateDatabase,
    RevokeOnDatabase,
    GrantOnDatabase,
    ChangeSetting,
    OpenDatabase,
    PrepareSecret,
    OpenLogin,
    SetPassword,
    RevokeByDefault,
    GrantByDefault,
    CreateSchema,
    GrantOnSchema,
    ChangeSchemaOwner,
    RevokeOnSchema,
    CreateExtension,
    ProveLogin,
    ActivateSecret,
)
"""Every kind of step that makes a database from nothing, in the order in which they first come."""

ADOPTION: tuple[type[Step], ...] = (
    CreateRole,
    Grant,
    ChangeDatabaseOwner,
    GrantOnDatabase,
    ChangeSetting,
    ChangeSchemaOwner,
    PrepareSecret,
    OpenLogin,
    SetPassword,
    GrantByDefault,
    RevokeByDefault,
    CreateSchema,
    GrantOnSchema,
    GrantOnObjects,
    ChangeObjectOwner,
    NoteGranted,
    ProveLogin,
    ActivateSecret,
)
"""Every kind of step by which a database that servicedb never made becomes one like all others, in the order in which
they first come."""

REPAIR: tuple[type[Step], ...] = (
    CommentOnRole,
    AlterRole,
    CreateRole,
    Grant,
    Revoke,
    ResetRoleSetting,
    ChangeDatabaseOwner,
    RevokeOnDatabase,
    GrantOnDatabase,
    ChangeSetting,
    OpenDatabase,
    RevokeByDefault,
    GrantByDefault,
    ChangeSchemaOwner,
    RevokeOnSchema,
    GrantOnSchema,
    CreateSchema,
    GrantOnObjects,
    ChangeObjectOwner,
    RevokeOnObjects,
    ProveLogin,
)
"""Every kind of step by which changes by hand are taken back, in the order in which they first come; those by which a
login gets another password are ROTATION's."""

DELETION: tuple[type[Step], ...] = (
    CommentOnRole,
    AlterRole,
    EndSessions,
    DeleteSecret,
    CloseDatabase,
    DropDatabase,
    DropOwned,
    DropRole,
)
"""Every kind of step from the moment at which an object with policy Delete is gone until nothing is left of its
database, in the order in which they first come. EndSessions comes where there are sessions, DropOwned where a role
holds something outside of the database."""

UNDO: tuple[type[Step], ...] = (CommentOnRole, PrepareSecret, OpenLogin, SetPassword, ProveLogin, ActivateSecret)
"""Every kind of step by which a deleted object that is made again within its grace gets its database back, in the order
in which they first come."""

ROTATION: tuple[type[Step], ...] = (
    PrepareSecret,
    OpenLogin,
    SetPassword,
    ProveLogin,
    ActivateSecret,
    NoteOnLogin,
    CloseLogin,
)
"""Every kind of step by which the other half of a login takes over, and the one of before leaves."""

BACKUP: tuple[type[Step], ...] = (
    CreateCronJob,
    BeginWork,
    EndWork,
    RecordBackup,
    DescribeBackup,
    RecordVerification,
    MarkGone,
    ForgetBackup,
    ChangeCronJob,
    DeleteCronJob,
)
"""Every kind of step that the operator takes for a BackupSchedule."""

RETENTION: tuple[type[Step], ...] = (BeginWork, EndWork)
"""Every kind of step that the operator takes for a RetentionPolicy."""

MIGRATION: tuple[type[Step], ...] = (BeginRun, CreateJob, NoteResult, DeleteJob)
"""Every kind of step that the operator takes for a MigrationRun, in the order in which they first come."""

DEPARTURE: tuple[type[Step], ...] = (NoteOnLogin, CloseLogin, RevokeOnDatabase, DeleteSecret, DropOwned, DropRole)
"""Every kind of step by which a login goes that the spec no longer names. DropOwned comes where it holds something."""

RESTORING: tuple[type[Step], ...] = (
    CreateRole,
    CloseLogin,
    Grant,
    GrantOnDatabase,
    ChangeSetting,
    EndSessions,
    PrepareSecret,
    OpenLogin,
    SetPassword,
    ProveLogin,
    ActivateSecret,
)
"""Every kind of step by which a restore gets a database to itself, in the order in which they first come. EndSessions
comes where there are sessions; without it and CloseLogin they are those by which a login for backups comes."""

SETTING_ASIDE: tuple[type[Step], ...] = (
    CloseLogin,
    EndSessions,
    RevokeOnDatabase,
    RenameDatabase,
    RenameRole,
    CommentOnRole,
    CloseDatabase,
)
"""Every kind of step by which a database leaves its name to the one that is restored, in the order in which they first
come. EndSessions comes where there are sessions."""

REOPENING: tuple[type[Step], ...] = (
    AlterRole,
    NoteOnLogin,
    CloseLogin,
    ProveLogin,
    RevokeOnDatabase,
    DeleteSecret,
    DropRole,
)
"""Every kind of step by which a restore that has ended gives the database back."""
