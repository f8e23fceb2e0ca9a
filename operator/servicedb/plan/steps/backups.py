"""Steps of BackupSchedules, orders and restores, whose work is that of Jobs: what the operator itself writes for it."""

from dataclasses import dataclass

from servicedb.plan.steps.base import Step


@dataclass(frozen=True, slots=True)
class BackupStep(Step):
    """Something that is written at the API server for backups. `name` is that of the object that is written."""

    name: str


@dataclass(frozen=True, slots=True)
class CreateCronJob(BackupStep):
    """Make the CronJob of a database. Its name follows from the schedule and the database, so that there is one."""


@dataclass(frozen=True, slots=True)
class ChangeCronJob(BackupStep):
    """Have a CronJob be what the spec says by now."""


@dataclass(frozen=True, slots=True)
class DeleteCronJob(BackupStep):
    """Delete the CronJob of a database that the schedule does not have any more."""


@dataclass(frozen=True, slots=True)
class BeginWork(BackupStep):
    """Make a Job. Its name follows from what it is for, so that there is one."""


@dataclass(frozen=True, slots=True)
class EndWork(BackupStep):
    """Delete a Job that was read."""


@dataclass(frozen=True, slots=True)
class RecordBackup(BackupStep):
    """Make the object of a backup that stands in a store."""


@dataclass(frozen=True, slots=True)
class DescribeBackup(BackupStep):
    """Write into its status what is known of it."""


@dataclass(frozen=True, slots=True)
class RecordVerification(BackupStep):
    """Write into a backup's status how it was found when it was restored on trial."""


@dataclass(frozen=True, slots=True)
class MarkGone(BackupStep):
    """Say that a backup is in the store no more: the deletion of its object is then nobody's wish to delete it."""


@dataclass(frozen=True, slots=True)
class ForgetBackup(BackupStep):
    """Delete the object of a backup that is in the store no more."""
